"""What came after the last item: transitions between the items of a sequence.

``LastItem`` counts what directly follows (a Markov chain of order 1), ``SeqRules`` what follows
within a few places, by 1/distance (sequential rules, Ludewig and Jannach 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mrl4rec.core import lazy
from mrl4rec.models.base import Fitted
from mrl4rec.models.item_pairs import lean
from mrl4rec.models.scorers import ItemItemModel
from mrl4rec.models.values import Span, value

with lazy.imports():
    from scipy import sparse

if TYPE_CHECKING:
    from mrl4rec.data.interactions import Interactions
    from mrl4rec.data.sequences import Histories
    from mrl4rec.models.scorers import Scorer


@dataclass(frozen=True)
class LastItem(Fitted):
    """Score of an item: Σ of 1/distance over the times it followed the user's last item."""

    consumes: ClassVar[str] = "sequences"
    folds_in: ClassVar[bool] = True

    model: str = "transitions"
    reach: int = value(1, "places after an item that count", low=1, tune=Span(1, 20))

    def fit(self, data: Interactions, folds: tuple[str, ...], seed: int, device: str) -> Scorer:
        """Count within the sequences of these folds."""
        assert data.sequences is not None, "refused before: it needs sequences"
        histories = data.sequences.only(*folds)
        weights = transitions(histories, self.reach)
        return ItemItemModel(weights, histories.newest(1).csr(), last=1)


def transitions(histories: Histories, reach: int) -> Any:
    """(I, I) Σ 1/distance over the pairs of a sequence up to ``reach`` places apart, zero diagonal.

    Row = the earlier item, column = the later. CSR, or dense where that is smaller.
    """
    items, n_items = histories.items, histories.n_items
    rows = np.repeat(np.arange(histories.n_rows), histories.lengths)
    total = sparse.csr_matrix((n_items, n_items))
    for distance in range(1, reach + 1):
        together = rows[distance:] == rows[:-distance]
        before, after = items[:-distance][together], items[distance:][together]
        differ = before != after
        values = np.full(int(differ.sum()), 1 / distance)
        places = (before[differ], after[differ])
        total = total + sparse.coo_matrix((values, places), shape=(n_items, n_items)).tocsr()
    return lean(total)


VARIANTS = (LastItem("LastItem"), LastItem("SeqRules", reach=10))
