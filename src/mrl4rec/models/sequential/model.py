"""A trained sequential model: a net, and the histories of the users it scores for.

Shapes: U users, I items, K vectors a user, d dimensions, B users of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.models.scorers import FactorModel, InterestModel
from mrl4rec.models.sequential.weights import Loaded

if TYPE_CHECKING:
    from mrl4rec.data.sequences import Histories
    from mrl4rec.models.scorers import Floats

with lazy.imports():
    import torch

PLACES, LEAST = 2560, 16
"""Items, and at least so many histories, that are encoded at once."""
QUICK = 512
"""Histories of a block where rounding does not matter."""
ITEM_VECTORS = "item_vectors"


class Encoder(Protocol):
    """A method (``base.Sequential``), as far as a trained model needs it."""

    normalised: ClassVar[bool]

    @property
    def length(self) -> int:
        """Newest items of a history that are read."""

    @property
    def interests(self) -> int:
        """Vectors a user."""

    def net(self, weights: Loaded, n_items: int, dim: int) -> Any:
        """Its net on these tensors."""


@dataclass(frozen=True, eq=False)
class SequenceModel:
    """Vectors of users made from their histories, and vectors of items.

    A user without a history has vectors of zeros, by which all items score 0: who serves it gives
    such a user the most popular items (``evaluation.from_history``).
    """

    method: Encoder
    arrays: Mapping[str, NDArray[Any]]
    """The net's tensors, and ``item_vectors`` (I, d)."""
    histories: Histories
    """(U, ·) what each user had."""
    widths: tuple[int | None, ...] = (None,)
    exact: bool = True
    """A history gives the same bits alone and among others; else the same to rounding, sooner."""
    kind: ClassVar[str] = "sequential"

    @property
    def n_users(self) -> int:
        """Users with a (possibly empty) history."""
        return self.histories.n_rows

    @property
    def n_items(self) -> int:
        """Items it can score."""
        return len(self.item_vectors)

    @property
    def item_vectors(self) -> Floats:
        """(I, d)."""
        found: Floats = self.arrays[ITEM_VECTORS]
        return found

    @property
    def dim(self) -> int:
        """Full width d."""
        return int(self.item_vectors.shape[1])

    def bound(self, histories: Histories) -> SequenceModel:
        """The same model for other users, or for the same at another time."""
        return replace(self, histories=histories)

    def alone(self, users_B: NDArray[np.integer]) -> SequenceModel:
        """The same model in which only these users have their histories: cheap to ask for them."""
        return self.bound(self.histories.alone(users_B))

    def encode(self, histories: Histories) -> Floats:
        """(B, K, d) the vectors that these histories give; zeros for an empty one."""
        reach = self.method.length
        shape = (histories.n_rows, self.method.interests, self.dim)
        vectors = np.zeros(shape, dtype=np.float32)
        with torch.no_grad():
            for some, size in self._blocks(np.minimum(histories.lengths, reach)):
                windows = torch.from_numpy(histories.windows(np.resize(some, size), reach))
                found = self._net.encode(windows)[: len(some)]
                vectors[some] = found.to(torch.float32).numpy()
        return vectors

    def _blocks(self, lengths_B: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], int]]:
        """Rows that are encoded together, and how many rows the block is filled up to.

        Histories of one length, in blocks of one size: products of other shapes round otherwise,
        and a user's vectors must not hang on who else is asked for. Where that does not matter,
        larger blocks take less than half the time.
        """
        order = np.argsort(lengths_B, kind="stable")
        order = order[lengths_B[order] > 0]
        if not self.exact:
            starts = range(0, len(order), QUICK)
            yield from ((some := order[begin : begin + QUICK], len(some)) for begin in starts)
            return
        for rows in np.split(order, np.flatnonzero(np.diff(lengths_B[order])) + 1):
            size = max(LEAST, PLACES // int(lengths_B[rows[0]])) if len(rows) else 1
            for begin in range(0, len(rows), size):
                yield rows[begin : begin + size], size

    @cached_property
    def _net(self) -> Any:
        return self.method.net(Loaded(self.arrays), self.n_items, self.dim)

    @cached_property
    def plain(self) -> FactorModel | InterestModel:
        """Its users' vectors, as a model that searches know."""
        there = np.flatnonzero(self.histories.lengths > 0)
        vectors = np.zeros((self.n_users, self.method.interests, self.dim), dtype=np.float32)
        vectors[there] = self.encode(self.histories.of(there))
        return self._of(vectors)

    def _of(self, vectors_UKd: Floats) -> FactorModel | InterestModel:
        normalised = self.method.normalised
        if vectors_UKd.shape[1] == 1 and not normalised:
            return FactorModel(vectors_UKd[:, 0], self.item_vectors, widths=self.widths)
        return InterestModel(
            vectors_UKd, self.item_vectors, widths=self.widths, normalised=normalised
        )

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I) scores of these users' histories."""
        some = self._of(self.encode(self.histories.of(users_B)))
        return some.scores(np.arange(len(users_B)), width)
