"""Top-N lists for histories that come with a question, of users known or not.

Shapes: B histories, I items, N places of a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError
from mrl4rec.data.sequences import Histories, histories
from mrl4rec.evaluation.ranking import recommend
from mrl4rec.kernels.csr import Csr, csr
from mrl4rec.models.histories import bound
from mrl4rec.models.model_folder import Loaded
from mrl4rec.models.scorers import CountModel


def item_ids(history: Any) -> list[str] | None:
    """A history as ids in text; None where it is no list of text and whole numbers.

    Text is no list of its letters, and what has no order is no history.
    """
    if isinstance(history, str | bytes | Mapping | Set) or not isinstance(history, Iterable):
        return None
    items = list(history)
    for item in items:
        if isinstance(item, bool) or not isinstance(item, str | int | np.integer):
            return None
    return [str(item) for item in items]


class Answer(NamedTuple):
    """A list for each history."""

    items_BN: NDArray[np.int32]
    """Best first; −1 after the last."""
    scores_BN: NDArray[np.float32]
    known_B: NDArray[np.bool_]
    """False: the history has no item that the model knows, and the list is of the most popular."""
    left_out_B: NDArray[np.int64]
    """Items of the history that the model does not know."""


class HistoryLists:
    """Lists of one model. ``popular`` are the training pairs of each item."""

    def __init__(self, loaded: Loaded) -> None:
        self.model = loaded.model
        self.places = {item: place for place, item in enumerate(loaded.ids.item_ids)}
        self.popular = np.bincount(loaded.seen.indices, minlength=loaded.model.n_items)

    def recommend(
        self, rows: Sequence[Sequence[str]], n: int, width: int | None = None,
        consumed: Csr | None = None,
    ) -> Answer:  # fmt: skip
        """The best min(n, I) items for each history: ids of items, oldest first, repeats allowed.

        Items of the history are left out of its list, and those of the same row of ``consumed``.
        Raises UsageError where the model reads no histories, for n < 1 or an impossible width.
        """
        had, left_out = self.read(rows)
        seen = had.csr() if consumed is None else union(had.csr(), consumed)
        known = had.lengths > 0
        n = min(n, self.model.n_items)  # a list has memory for all its places
        if n < 1:
            raise UsageError(f"a list of {n} items was asked for", todo="ask for 1 or more")
        items = np.empty((len(rows), n), dtype=np.int32)
        scores = np.empty((len(rows), n), dtype=np.float32)
        model = bound(self.model, had.of(np.flatnonzero(known)))
        popular = CountModel(self.popular, int((~known).sum()))
        for part, by, cut in ((known, model, width), (~known, popular, None)):
            users, theirs = np.arange(part.sum()), seen.of(np.flatnonzero(part))
            items[part], scores[part] = recommend(by, users, theirs, n, cut)
        return Answer(items, scores, known, left_out)

    def read(self, rows: Sequence[Sequence[str]]) -> tuple[Histories, NDArray[np.int64]]:
        """Histories as numbers of items, and how many items of each are unknown, (B,)."""
        found = [[self.places[item] for item in row if item in self.places] for row in rows]
        lost = [len(row) - len(kept) for row, kept in zip(rows, found, strict=True)]
        return histories(found, self.model.n_items), np.array(lost, dtype=np.int64)


def union(one: Csr, other: Csr) -> Csr:
    """The pairs of either, of the same rows and columns."""
    keys = [
        np.repeat(np.arange(part.n_rows, dtype=np.int64), part.degrees) * part.n_columns
        + part.indices
        for part in (one, other)
    ]
    return csr(*np.divmod(np.union1d(*keys), one.n_columns), one.n_rows, one.n_columns)
