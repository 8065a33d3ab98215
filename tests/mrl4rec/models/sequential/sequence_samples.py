"""Small sequences in which the next item follows from the last ones."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from mrl4rec.data.interactions import Interactions, from_sequences
from mrl4rec.data.sequences import Sequences, histories
from mrl4rec.models import resolve
from mrl4rec.models.base import Setup
from mrl4rec.models.sequential.base import Sequential
from mrl4rec.models.sequential.model import SequenceModel
from mrl4rec.tables.splits import EVERY_FOLD

N_USERS, N_ITEMS = 150, 60


class Looked:
    """A method whose vectors of a user are those of the last item in a table (I + 1, K, d)."""

    length = 1

    def __init__(self, table: np.ndarray, normalised: bool = False) -> None:
        self.table, self.normalised = torch.from_numpy(table), normalised
        self.interests = table.shape[1]

    def net(self, weights: Any, n_items: int, dim: int) -> Looked:
        """Itself."""
        return self

    def encode(self, items_BL: torch.Tensor) -> torch.Tensor:
        """(B, K, d)."""
        return self.table[items_BL[:, -1]]


def looked(vectors_UKd: np.ndarray, item_vectors: np.ndarray, **options: Any) -> SequenceModel:
    """A sequential model with these vectors; user u had item u alone."""
    rows = [[user] for user in range(len(vectors_UKd))]
    n_items = len(item_vectors)
    table = np.zeros((n_items + 1, *vectors_UKd.shape[1:]), dtype=np.float32)
    table[: len(rows)] = vectors_UKd
    method = Looked(table, options.pop("normalised", False))
    arrays = {"item_vectors": item_vectors.astype(np.float32)}
    return SequenceModel(method, arrays, histories(rows, n_items), **options)


def untrained(name: str, rows: list[list[int]], n_items: int, dim: int = 8) -> SequenceModel:
    """A model of this method before its first step, for these histories."""
    method, had = resolve(name).changed(dim=dim), histories(rows, n_items)
    assert isinstance(method, Sequential)
    setup = Setup(had.csr(), dim, None, seed=1, histories=had)
    vectors = method.vectors(method.start(setup))
    arrays = {key: value.detach().numpy() for key, value in vectors.items()}
    found = method.scorer(arrays, method.widths(None), had)
    assert isinstance(found, SequenceModel)
    return found


def walks(n_users: int = N_USERS, n_items: int = N_ITEMS, seed: int = 7) -> list[list[int]]:
    """Each user goes round one or two circles of ten items, mostly a step on, sometimes a jump."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n_users):
        circles = rng.choice(n_items // 10, size=2, replace=False)
        places = rng.integers(0, 10, size=2)
        row = []
        for _ in range(int(rng.integers(6, 14))):
            which = int(rng.random() < 0.3)
            places[which] = (places[which] + (1 if rng.random() < 0.9 else rng.integers(10))) % 10
            row.append(int(circles[which] * 10 + places[which]))
        rows.append(row)
    return rows


def folded(rows: list[list[int]], strategy: str) -> list[list[str]]:
    """The folds of the events: ``last_out``, or ``by_user`` by the row's number."""
    if strategy == "last_out":
        return [["train"] * (len(row) - 2) + ["valid", "test"] for row in rows]
    folds = []
    for number, row in enumerate(rows):
        role = ("valid", "test")[number % 10] if number % 10 < 2 else "train"
        cut = max(1, int(0.8 * len(row))) if role != "train" else 0
        history = [f"{role}_history"] * cut
        folds.append(history + [role] * (len(row) - cut))
    return folds


@cache
def split(strategy: str = "last_out") -> Interactions:
    """The walks, split."""
    rows = walks()
    folds = [EVERY_FOLD.index(fold) for row in folded(rows, strategy) for fold in row]
    return from_sequences(Sequences(histories(rows, N_ITEMS), np.array(folds, dtype=np.int8)))
