"""Metrics of a model over all items, at every width and cut-off in one pass.

Shapes: E users with test items, B of them in a chunk, W widths, K places, C cut-offs, M metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError, UsageError, nearest
from mrl4rec.evaluation.ranking.metrics import METRICS, PER_USER, per_user
from mrl4rec.evaluation.ranking.search import search
from mrl4rec.evaluation.ranking.topk import Lists, Query, columns
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.scorers import Scorer

Progress = Callable[[int, int], None]
"""Called with (users done, users in all)."""


@dataclass(frozen=True)
class Value:
    """One number of a leaderboard."""

    metric: str
    k: int
    width: int | None
    value: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model reaches on a set of held-out items."""

    values: list[Value]
    """By width, cut-off and metric, in the order asked for; means over users in float64."""
    users: NDArray[np.int64]
    """(E,) users with test items, ascending."""
    widths: tuple[int | None, ...]
    ks: tuple[int, ...]
    values_EWCM: NDArray[np.float64]
    """Values of each user for the metrics of ``PER_USER``."""
    sliced_GECM: NDArray[np.float64] | None = None
    """The same of the whole model, judged by the held-out items in each slice alone; NaN for users
    without any. None where no slices were asked for."""

    @property
    def n_users(self) -> int:
        """Users with test items."""
        return len(self.users)

    def get(self, metric: str, k: int, width: int | None = None) -> float:
        """One value; ``width`` None is the whole model. Raises UsageError where there is none."""
        if width is None and None not in self.widths:
            width = self.widths[-1]
        for value in self.values:
            if (value.metric, value.k, value.width) == (metric, k, width):
                return value.value
        raise UsageError(f"no value of {metric}@{k} at width {width} was asked for")

    @cached_property
    def per_user(self) -> pa.Table:
        """One row a user, width and cut-off: user_idx, width, k and the metrics of ``PER_USER``."""
        n_users, n_widths, n_ks, _ = self.values_EWCM.shape
        each = n_widths * n_ks
        width = pa.array(np.repeat(np.arange(n_widths), n_ks)).cast(pa.int32())
        width = pa.array(self.widths, pa.int32()).take(width)
        flat = self.values_EWCM.reshape(-1, len(PER_USER))
        return pa.table(
            {
                "user_idx": np.repeat(self.users.astype(np.int32), each),
                "width": width.take(pa.array(np.tile(np.arange(each), n_users))),
                "k": np.tile(np.array(self.ks, dtype=np.int32), n_users * n_widths),
                **{name: flat[:, column].copy() for column, name in enumerate(PER_USER)},
            }
        )


def evaluate(
    model: Scorer,
    seen: Csr,
    truth: Csr,
    *,
    ks: Sequence[int] = (10, 20, 50),
    widths: Sequence[int | None] | None = None,
    device: str = "cpu",
    memory_mb: int = 512,
    metrics: Sequence[str] = METRICS,
    progress: Progress | None = None,
    n_threads: int | None = None,
    slices: Sequence[Csr] = (),
    per_list: int | None = None,
) -> Evaluation:
    """Rank all unseen items for every user who has test items, and average.

    ``seen`` holds the items left out (train ∪ valid when testing), ``truth`` the held-out ones.
    ``widths`` None takes the model's own. ``slices`` are parts of ``truth``, by which the widest
    lists are judged besides. ``per_list`` judges what a server gets that merges lists of that
    length of each of a user's vectors (``union.union_lists``). The values do not depend on memory
    or threads. Raises UsageError for an unknown metric, cut-off or width, Mrl4recError where nobody
    has test items.
    """
    ks = _cutoffs(ks)
    _check_metrics(metrics)
    cut = columns(model, tuple(widths) if widths is not None else model.widths)
    users = np.flatnonzero(truth.degrees > 0)
    if truth.n_rows != model.n_users or truth.n_columns != model.n_items or not len(users):
        raise Mrl4recError(
            f"the held-out items are of {truth.n_rows} users ({len(users)} with any) × "
            f"{truth.n_columns} items, the model of {model.n_users} × {model.n_items}",
            todo="evaluate on the split the model was trained on, with a test fold that has rows",
        )
    dims = tuple(sorted(set(cut.values())))
    query = Query(min(ks[-1], model.n_items), dims, seen, per_list)
    tally = _Tally(users, truth, dims, ks, model.n_items, slices)
    chunks = search(model, users, query, device=device, memory_mb=memory_mb, n_threads=n_threads)
    for begin, lists in chunks:
        tally.add(begin, lists)
        if progress is not None:
            progress(begin + len(lists.items_BWK), len(users))
    return tally.evaluation(cut, metrics)


def recall_at(
    model: Scorer,
    seen: Csr,
    truth: Csr,
    k: int = 10,
    *,
    device: str = "cpu",
    memory_mb: int = 512,
    n_threads: int | None = None,
) -> float:
    """Recall@k of a whole model: what early stopping asks every few epochs."""
    found = evaluate(
        model,
        seen,
        truth,
        ks=(k,),
        widths=(None,),
        device=device,
        memory_mb=memory_mb,
        metrics=("recall",),
        n_threads=n_threads,
    )
    return found.values[0].value


class _Tally:
    """Per-user values and recommended items, filled chunk by chunk."""

    def __init__(
        self,
        users: NDArray[np.int64],
        truth: Csr,
        dims: tuple[int, ...],
        ks: tuple[int, ...],
        n_items: int,
        slices: Sequence[Csr] = (),
    ) -> None:
        self.users, self.truth, self.dims, self.ks = users, truth, dims, ks
        self.values_EWCM = np.empty((len(users), len(dims), len(ks), len(PER_USER)))
        self.shown_WCI = np.zeros((len(dims), len(ks), n_items), dtype=bool)
        self.slices = slices
        each = (len(slices), len(users), len(ks), len(PER_USER))
        self.sliced_GECM = np.full(each, np.nan)

    def add(self, begin: int, lists: Lists) -> None:
        """Take in the lists of a chunk of users."""
        items = lists.items_BWK
        chunk = slice(begin, begin + len(items))
        users = self.users[chunk]
        rows = np.stack([self.truth.indptr[users], self.truth.indptr[users + 1]], axis=1)
        cutoffs = np.array(self.ks, dtype=np.int64)
        self.values_EWCM[chunk] = per_user(items, rows, self.truth.indices, cutoffs, self.shown_WCI)
        nobody = np.zeros((1, len(self.ks), self.shown_WCI.shape[2]), dtype=bool)
        for g, part in enumerate(self.slices):
            some = part.degrees[users] > 0
            whole = np.ascontiguousarray(items[some, -1:])
            of = users[some]
            rows = np.stack([part.indptr[of], part.indptr[of + 1]], axis=1)
            found = per_user(whole, rows, part.indices, cutoffs, nobody)[:, 0]
            self.sliced_GECM[g, begin + np.flatnonzero(some)] = found

    def evaluation(self, cut: dict[int | None, int], metrics: Sequence[str]) -> Evaluation:
        """The means, with coverage."""
        by_metric = np.moveaxis(self.values_EWCM, 0, -1)
        means_WCM = np.ascontiguousarray(by_metric).mean(axis=-1)
        shown_WC = np.logical_or.accumulate(self.shown_WCI, axis=1).mean(axis=-1)
        place = {dim: w for w, dim in enumerate(self.dims)}
        values = []
        for width, dim in cut.items():
            w = place[dim]
            for c, k in enumerate(self.ks):
                for metric in metrics:
                    value = (
                        shown_WC[w, c]
                        if metric == "coverage"
                        else means_WCM[w, c, PER_USER.index(metric)]
                    )
                    values.append(Value(metric, k, width, float(value)))
        order = [place[dim] for dim in cut.values()]
        sliced = self.sliced_GECM if self.slices else None
        by_user = self.values_EWCM[:, order]
        return Evaluation(values, self.users, tuple(cut), self.ks, by_user, sliced)


def _cutoffs(ks: Sequence[int]) -> tuple[int, ...]:
    if not ks or any(k < 1 for k in ks):
        raise UsageError(f"cut-offs {list(ks)} are not all 1 or more", todo="give e.g. 10, 20, 50")
    return tuple(sorted({int(k) for k in ks}))


def _check_metrics(metrics: Sequence[str]) -> None:
    for metric in metrics:
        if metric not in METRICS:
            raise UsageError(f"unknown metric {metric!r}", todo=nearest(metric, METRICS))
