"""Top-K lists of many users: what is asked, what is answered, and the order of ties.

What a list holds never depends on how the work was cut: on the CPU a score is a fixed chain of
operations (``mrl4rec.kernels.topk``); on a device, and for scorers that only give whole rows,
users go through in blocks whose size hangs on the number of items alone. Ties in score go by one
hashed order of the items, never by id, because neighbouring ids are related
(docs/methods.md#the-papers-data).

Shapes: B users, I items, W widths, K list length.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError
from mrl4rec.core.hashing import SALT_TIE, permutation
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.scorers import FactorModel, InterestModel, Scorer

log = logging.getLogger(__name__)

Users = NDArray[np.int64]


class Lists(NamedTuple):
    """Best items of some users, best first; −1 (score −inf) after the last."""

    items_BWK: NDArray[np.int32]
    scores_BWK: NDArray[np.float32]


class Searcher(Protocol):
    """A model made ready to search, on one kind of machine."""

    bytes_per_user: int
    """Memory one more user takes in ``search``."""
    bytes_fixed: int
    """Memory ``search`` takes whatever the users."""

    def search(self, users_B: Users) -> Lists:
        """The lists of these users."""


@dataclass(frozen=True)
class Query:
    """What is asked of every user."""

    k: int
    """Length of the lists, at most the number of items."""
    widths: tuple[int, ...]
    """Ascending numbers of dimensions; ``(0,)`` for a model without dimensions."""
    seen: Csr
    """Items left out, by user."""
    per_list: int | None = None
    """Several vectors a user: the length of each one's list before they are merged. None: ``k``,
    which makes the merged list exact."""


def tie_order(n_items: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(order, rank): items in the order in which ties go, and each item's place in it."""
    order = permutation(n_items, SALT_TIE).astype(np.int32)
    rank = np.empty_like(order)
    rank[order] = np.arange(n_items, dtype=np.int32)
    return order, rank


def plain(model: Scorer) -> Scorer:
    """What a wrapper stands for (its ``plain``), of a type that the searches know; else itself."""
    return getattr(model, "plain", model)


def columns(model: Scorer, widths: Sequence[int | None]) -> dict[int | None, int]:
    """Each width as a number of dimensions (0: the model has none).

    Raises UsageError for a width the model cannot be cut to.
    """
    model = plain(model)
    if isinstance(model, FactorModel | InterestModel):
        return {width: model.width(width) for width in widths}
    if any(width is not None for width in widths):
        raise UsageError(
            f"widths {[width for width in widths if width]} were asked of a model of kind "
            f"{model.kind}, which has no prefixes to cut to",
            todo="leave the widths out",
        )
    return {None: 0}
