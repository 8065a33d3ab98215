"""Top-K lists of many users: chunked by memory, on threads or on a device, the same for any chunk.

What a list holds never depends on how the work was cut: on the CPU a score is a fixed chain of
operations (``mrl4rec.kernels.topk``); on a device, and for scorers that only give whole rows,
users go through in blocks whose size hangs on the number of items alone. Ties in score go by one
hashed order of the items, never by id, because neighbouring ids are related
(docs/methods.md#the-papers-data).

Shapes: B users, I items, W widths, K list length.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mrl4rec.errors import Mrl4recError, UsageError
from mrl4rec.hashing import SALT_TIE, permutation
from mrl4rec.interactions import Csr
from mrl4rec.processes import cores
from mrl4rec.scorers import FactorModel, Scorer

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


def tie_order(n_items: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(order, rank): items in the order in which ties go, and each item's place in it."""
    order = permutation(n_items, SALT_TIE).astype(np.int32)
    rank = np.empty_like(order)
    rank[order] = np.arange(n_items, dtype=np.int32)
    return order, rank


def threads() -> int:
    """Threads to use: ``OMP_NUM_THREADS`` where it is set, else the CPUs this process may use."""
    named = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(named) if named.isdigit() and int(named) > 0 else cores()


def plain(model: Scorer) -> Scorer:
    """What a wrapper stands for (its ``plain``), of a type that the searches know; else itself."""
    return getattr(model, "plain", model)


def columns(model: Scorer, widths: Sequence[int | None]) -> dict[int | None, int]:
    """Each width as a number of dimensions (0: the model has none).

    Raises UsageError for a width the model cannot be cut to.
    """
    model = plain(model)
    if isinstance(model, FactorModel):
        return {width: model.width(width) for width in widths}
    if any(width is not None for width in widths):
        raise UsageError(
            f"widths {[width for width in widths if width]} were asked of a model of kind "
            f"{model.kind}, which has no prefixes to cut to",
            todo="leave the widths out",
        )
    return {None: 0}


def searcher(
    model: Scorer, query: Query, *, device: str, memory_mb: int, n_threads: int
) -> Searcher:
    """The fastest exact search for this model on this device."""
    model = plain(model)
    if query.seen.n_rows != model.n_users or query.seen.n_columns != model.n_items:
        raise Mrl4recError(
            f"the seen items are of {query.seen.n_rows} users × {query.seen.n_columns} items, "
            f"the model of {model.n_users} × {model.n_items}",
            todo="give the seen items of the split the model was trained on",
        )
    if device == "cpu":
        from mrl4rec.ranking.cpu import cpu_searcher

        return cpu_searcher(model, query, memory_mb << 20, n_threads)
    from mrl4rec.ranking.device import DeviceSearcher

    return DeviceSearcher(model, query, device)


def search(
    model: Scorer,
    users: Users,
    query: Query,
    *,
    device: str = "cpu",
    memory_mb: int = 512,
    n_threads: int | None = None,
    at_once: int | None = None,
) -> Iterator[tuple[int, Lists]]:
    """Yield (place of the first user, lists) for one chunk of users after another.

    A chunk is what fits in ``memory_mb``, and at most ``at_once`` users. One that does not fit in
    memory after all is halved, and the rest goes on in halves. Raises Mrl4recError where even a
    single user does not fit.
    """
    engine = searcher(
        model, query, device=device, memory_mb=memory_mb, n_threads=n_threads or threads()
    )
    room = (memory_mb << 20) - engine.bytes_fixed
    most = len(users) if at_once is None else at_once
    chunk = max(1, min(most, room // max(1, engine.bytes_per_user)))
    begin = 0
    while begin < len(users):
        part = users[begin : begin + chunk]
        try:
            lists = engine.search(part)
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            if chunk == 1:
                raise Mrl4recError(
                    f"ranking one user over {model.n_items} items does not fit in memory",
                    todo="free memory, or rank on another device (--device cpu)",
                ) from error
            chunk = max(1, len(part) // 2)
            log.warning("out of memory in ranking: going on with %d users at once", chunk)
            continue
        yield begin, lists
        begin += len(part)


def _out_of_memory(error: Exception) -> bool:
    """True for NumPy's, CUDA's and torch's CPU allocator's way of saying it."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or "allocate memory" in str(error)
