"""Better by a known share: vectors with a better model's scores mixed in.

EASE fitted on the same pairs is better than a factor model here, and its scores X·B, cut to their
largest singular values, are inner products too. Mixed in with a weight they make a factor model
whose mean rises with the weight: a challenger of the same recipe that really is better, by as much
as is wanted, and not for everybody alike.

Shapes: U users, I items, R singular values kept, d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from mrl4rec.data.interactions import Interactions
from mrl4rec.models.ease import weights
from mrl4rec.models.model_folder import Loaded
from mrl4rec.models.scorers import FactorModel, Floats

GRID = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0)
"""Weights tried: 1 makes both parts of a score equally large."""
ROUNDS, SPARE = 3, 16
"""Of the randomised singular value decomposition (Halko, Martinsson and Tropp 2011)."""


@dataclass(frozen=True, eq=False)
class Guide:
    """A better model's scores as inner products; their root mean square is 1."""

    users_UR: Floats
    items_IR: Floats

    def mixed_in(self, one: Loaded, weight: float) -> Loaded:
        """The model with the guide's scores added at this weight; 0 is the model itself."""
        model = one.model
        assert isinstance(model, FactorModel)
        if weight == 0:
            return one
        weight = weight * _root_mean_square(model.user_vectors, model.item_vectors)
        mixed = FactorModel(
            np.concatenate([model.user_vectors, np.float32(weight) * self.users_UR], axis=1),
            np.concatenate([model.item_vectors, self.items_IR], axis=1),
            widths=model.widths,
        )
        return one._replace(model=mixed)


def guide(data: Interactions, path: Path, rank: int = 64, lam: float = 200.0) -> Guide:
    """EASE on the train fold, kept in ``path``."""
    if not path.exists():
        users, items = _cut(data, rank, lam)
        users /= _root_mean_square(users, items)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, users=users, items=items)
        partial.rename(path)
    with np.load(path) as kept:
        return Guide(kept["users"], kept["items"])


def _cut(data: Interactions, rank: int, lam: float) -> tuple[Floats, Floats]:
    """(U, R) and (I, R): the part of X·B with the largest singular values."""
    seen = data.csr("train")
    item_item = weights(seen, lam)
    pairs = (np.ones(len(seen.indices), np.float32), seen.indices, seen.indptr)
    taken = sparse.csr_matrix(pairs, shape=(seen.n_rows, seen.n_columns))
    rng = np.random.default_rng(0)
    start = rng.normal(size=(seen.n_columns, min(rank + SPARE, seen.n_columns)))
    basis, _ = np.linalg.qr(taken @ (item_item @ start.astype(np.float32)))
    for _ in range(ROUNDS):
        back, _ = np.linalg.qr(item_item.T @ (taken.T @ basis))
        basis, _ = np.linalg.qr(taken @ (item_item @ back))
    left, values, right = np.linalg.svd((item_item.T @ (taken.T @ basis)).T, full_matrices=False)
    users = (basis @ left)[:, :rank] * values[:rank]
    return users.astype(np.float32), np.ascontiguousarray(right[:rank].T, dtype=np.float32)


def weights_for(means: Sequence[float], gains: Sequence[float]) -> tuple[float, ...]:
    """The weights of these gains, given the means at the weights of ``GRID``; 0 comes first.

    Between weights of the grid the mean is taken as a line; a gain out of reach gives the weight of
    the best mean.
    """
    rising = np.maximum.accumulate(np.array(means))
    best = int(np.argmax(rising)) + 1
    found = np.interp([rising[0] * (1 + gain) for gain in gains], rising[:best], GRID[:best])
    return 0.0, *(round(float(weight), 4) for weight in found)


def _root_mean_square(users: Floats, items: Floats) -> float:
    """Of all U × I inner products."""
    squares = np.vdot(users.T @ users, items.T @ items)
    return float(np.sqrt(squares / len(users) / len(items)))
