"""A warm start: first tables taken from an older model, where it knows the ids.

A row is known where its external id is among the older model's and has at least one pair there;
every other row starts as in a cold start. Adam starts from zero moments either way.

Shapes: U users, I items, K known rows, d dimensions.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import Interactions
from mrl4rec.models import Trained, model_folder
from mrl4rec.models.model_folder import ModelCard
from mrl4rec.models.scorers import FactorModel

with lazy.imports():
    import torch

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("mrl4rec")


@dataclass(frozen=True, eq=False)
class Known:
    """The known rows of one table."""

    rows_K: NDArray[np.int64]
    """Their places in the new table, ascending."""
    vectors_KD: NDArray[np.float32]
    """The older model's vectors of layer 0."""


@dataclass(frozen=True, eq=False)
class Start:
    """What a training starts from, besides its seed."""

    users: Known
    items: Known

    def put(self, users: Tensor, items: Tensor) -> None:
        """Write the known rows into tables, in place."""
        with torch.no_grad():
            for table, known in ((users, self.users), (items, self.items)):
                rows = torch.from_numpy(known.rows_K).to(table.device)
                table[rows] = torch.from_numpy(known.vectors_KD).to(table)


def fitting(folder: AnyPath, method: Trained, dim: int) -> ModelCard:
    """The card of a model that ``method`` can start from.

    Raises UsageError where its vectors are of another kind, Mrl4recError where there is no model.
    """
    card = model_folder.read_card(folder)
    if card.kind != "factors":
        differs = [f"it is of kind {card.kind} and has no vectors of users"]
    else:
        pairs = (
            ("model", card.method.get("model"), method.model),
            ("dimension", card.shapes["user_vectors"][1], dim),
        )
        differs = [
            f"its {what} is {old}, here it is {new}" for what, old, new in pairs if old != new
        ]
    if differs:
        raise UsageError(
            f"{method.name} cannot start from {card.method_name}: {'; '.join(differs)}",
            where=str(folder),
            todo="start cold, or from a model of the same model and dimension",
        )
    return card


def check_unseen(card: ModelCard, split: Commit) -> None:
    """Raise UsageError where a start from this model would carry the split's test fold along."""
    same = card.versions.get("split_key") == split.key and "test" in card.folds
    cut = split.summary.get("since")
    until = card.trained_until
    after = cut is not None and until is not None and _moment(cut) <= _moment(until)
    if not same and not after:
        return
    why = "on its test fold" if same else f"until {until}, and it tests what came from {cut} on"
    raise UsageError(
        f"{card.method_name} cannot be the start of a model for this split: it was trained {why}",
        where=f"model {card.stage_key}",
        todo="start cold, or from a model that was trained on what came before",
    )


def latest(*moments: str | None) -> str | None:
    """The latest of ISO times, None where there is none."""
    return max((text for text in moments if text is not None), key=_moment, default=None)


def read(folder: AnyPath, data: Interactions) -> Start:
    """The rows of ``data`` that the model in ``folder`` knows, with its vectors of layer 0."""
    model, card, ids, seen, _ = model_folder.load(folder)
    assert isinstance(model, FactorModel)
    users = model.user_vectors if model.user_vectors_0 is None else model.user_vectors_0
    items = model.item_vectors if model.item_vectors_0 is None else model.item_vectors_0
    pairs_of_items = np.bincount(seen.indices, minlength=seen.n_columns)
    start = Start(
        _known(data.user_ids, ids.user_ids, seen.degrees, users),
        _known(data.item_ids, ids.item_ids, pairs_of_items, items),
    )
    log.info(
        "warm start from %s %s: it knows %d of %d users and %d of %d items",
        card.method_name,
        card.stage_key[:12],
        len(start.users.rows_K),
        data.n_users,
        len(start.items.rows_K),
        data.n_items,
    )
    return start


def _known(
    ids: NDArray[np.object_],
    old_ids: NDArray[np.object_],
    old_pairs: NDArray[np.int64],
    old_vectors: NDArray[np.float32],
) -> Known:
    there = pa.array(old_ids, pa.string())
    at = pc.index_in(pa.array(ids, pa.string()), value_set=there).fill_null(-1).to_numpy()
    rows = np.flatnonzero(at >= 0)
    rows = rows[old_pairs[at[rows]] > 0]
    return Known(rows, np.ascontiguousarray(old_vectors[at[rows]], dtype=np.float32))


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC)
