"""Exact search over all users: the engine for a device, and chunks that fit in memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.processes import threads
from mrl4rec.evaluation.ranking.cpu import cpu_searcher
from mrl4rec.evaluation.ranking.interests import InterestSearcher, WidthByWidth, inner_products
from mrl4rec.evaluation.ranking.topk import Lists, Query, Searcher, Users, plain
from mrl4rec.models.scorers import InterestModel, Scorer

with lazy.imports():
    from mrl4rec.evaluation.ranking import device as on_device

log = logging.getLogger("mrl4rec")


def searcher(
    model: Scorer, query: Query, *, device: str, memory_mb: int, n_threads: int
) -> Searcher:
    """The fastest exact search for this model on this device.

    Merged lists of single vectors (``query.per_list``) are computed on the CPU, wherever the rest
    is. Raises UsageError where the model has none.
    """
    model = plain(model)
    if query.seen.n_rows != model.n_users or query.seen.n_columns != model.n_items:
        raise Mrl4recError(
            f"the seen items are of {query.seen.n_rows} users × {query.seen.n_columns} items, "
            f"the model of {model.n_users} × {model.n_items}",
            todo="give the seen items of the split the model was trained on",
        )
    memory = memory_mb << 20

    def engine(part: Scorer, asked: Query) -> Searcher:
        if device != "cpu" and query.per_list is None:
            return on_device.DeviceSearcher(part, asked, device)
        if isinstance(part, InterestModel):
            return InterestSearcher(part, asked, memory, n_threads)
        return cpu_searcher(part, asked, memory, n_threads)

    engines = [engine(*each) for each in inner_products(model, query)]
    return engines[0] if len(engines) == 1 else WidthByWidth(engines)


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
