"""Small models as loaded from folders, and duels put together from bare numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mrl4rec.evaluation.slices import POPULARITY
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.model_folder import Ids, Loaded
from mrl4rec.serving.promotion.per_user import Duel, Recipe, Side
from tests.mrl4rec.models.model_samples import card, ids


def loaded(model: Any, seen: Csr, **options: Any) -> Loaded:
    """The model as ``model_folder.load`` answers it."""
    return Loaded(model, card(**options), Ids(*ids(model.n_users, model.n_items)), seen, seen)


def recipe(n_models: int, *, drawn: bool = True, method: str = "MRL-M") -> Recipe:
    seeds = tuple(range(n_models)) if drawn else (None,) * n_models
    kind = "factors" if drawn else "item_item"
    return Recipe(method, (4, 8) if drawn else None, kind, tuple("ab" * n_models)[:n_models], seeds)


def side(ndcg: Any, sliced: Any = None, **options: Any) -> Side:
    """NDCG (E,), (E, S) or (E, S, W); slices of items (E, G), else all items are in the head."""
    values = np.asarray(ndcg, dtype=float)
    values = values.reshape(values.shape + (1,) * (3 - values.ndim))
    n_users, n_models, _ = values.shape
    parts = np.full((n_users, n_models, len(POPULARITY)), np.nan)
    if sliced is None:
        parts[:, :, 0] = values[:, :, 0]
    else:
        parts[:] = np.asarray(sliced, dtype=float)[:, None, :]
    return Side(recipe(n_models, **options), values, values / 2, parts)


def duel_of(
    champion: Side,
    challenger: Side,
    *,
    history: Sequence[int] | np.ndarray | None = None,
    widths: tuple[int | None, ...] | None = None,
) -> Duel:
    """A duel of two sides; by default every user has three training pairs."""
    n_users, _, n_widths = champion.ndcg_ESW.shape
    pairs = np.full(n_users, 3) if history is None else np.asarray(history)
    widths = widths or (None, *(4 << w for w in range(n_widths - 1)))
    users = np.arange(n_users, dtype=np.int32) * 7
    return Duel("s" * 64, users, pairs.astype(np.int32), widths, champion, challenger)
