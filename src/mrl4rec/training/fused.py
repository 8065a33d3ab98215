"""The ``fused`` engine: matrix factorisation on the CPU by compiled loops and exact lazy Adam.

It takes the same steps as ``autograd`` (same draws, same losses, same vectors to rounding) and
costs what the batch costs, not what the tables hold. See ``mrl4rec.kernels.fused``.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.hashing import SALT_DRAW, chain, xavier
from mrl4rec.kernels import fused as kernel
from mrl4rec.kernels.lazy_adam import UNTOUCHED, Tables, fresh_all, near_gaps, schedule
from mrl4rec.models import AUTO
from mrl4rec.training.checkpoint import Arrays
from mrl4rec.training.order import Side
from mrl4rec.training.request import Plan
from mrl4rec.training.tasks import Task
from mrl4rec.training.warm import Start

LARGE = 200_000
"""Items above which candidates are scored from rows that lag, unless the method says otherwise."""
AUTO_LAG = 256

STORED = ("model.{}", "adam.{}.exp_avg", "adam.{}.exp_avg_sq")
"""Names in a checkpoint, as the autograd engine's, in the order in which a row holds them."""


class FusedLearner:
    """A model being trained on one task; the same interface as ``learner.Learner``."""

    def __init__(self, task: Task, plan: Plan, start: Start | None = None) -> None:
        self.task, self.plan = task, plan
        method = plan.trained
        assert plan.seed is not None
        self.seed = plan.seed
        dtype = np.dtype(plan.dtype)
        shape = (task.seen.n_rows, task.seen.n_columns)
        first = [xavier(rows, plan.dim, plan.seed, side) for side, rows in enumerate(shape)]
        self.nodes = _tables(np.concatenate(first), dtype)
        """Users, then items; ``sides`` are views of them."""
        self.sides = self.scored = split(self.nodes, shape[0])
        """The two tables, and those whose rows are looked at."""
        if start is not None:
            for table, known in zip(self.sides, (start.users, start.items), strict=True):
                table.rows[known.rows_K, : plan.dim] = known.vectors_KD
        self.schedule = schedule(method.lr, dtype)
        _, batch = task.steps(method.batch)
        self.recipe = recipe(plan)
        self.lag = lag_of(plan, shape[1])
        dense = shape[1] <= batch * self.recipe.candidates * len(self.recipe.widths_L)
        self.whole = dense and self.lag == 0
        if not self.whole:
            scored = kernel.LAGGING if self.lag else kernel.FRESH
            self.recipe = self.recipe._replace(scored=scored)
        self.batch = kernel.batch(batch, shape[1], plan.dim, self.recipe, dtype)
        kernel.measure(self.sides[1], self.batch.norms_I)
        each = 1 + len(self.recipe.widths_L)
        self.links = (kernel.links(shape[0], batch), kernel.links(shape[1], batch * each))
        self.touched = (0, 0)
        self.seen = (task.seen.indptr, task.seen.indices)
        self.now = 0
        self.users_B: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def loss(self, users_B: Side, positives_B: Side, step: int) -> float:
        """The loss of one batch; ``update`` then takes the step."""
        self.now, self.users_B, own_B = step, np.asarray(users_B), np.asarray(positives_B)
        near_gaps(step, self.schedule)
        prefix = np.uint64(chain(self.seed, SALT_DRAW, step))
        kernel.look(
            self.users_B, own_B, *self.scored, self.seen, self.recipe, prefix, step,
            self.schedule, self.batch,
        )  # fmt: skip
        return float(self.batch.losses_B.sum())

    def update(self, loss: float) -> None:
        """One step of Adam with the gradients of the last ``loss``."""
        self._link()
        kernel.step(
            *self.sides, self.recipe, self.now, self.schedule, self.batch, *self.links,
            self.touched, self._swept(),
        )  # fmt: skip
        self.now += 1

    def _link(self) -> None:
        """Note who touches which row in the batch that was looked at."""
        rows = (self.users_B, self.batch.items_E)
        self.touched = tuple(
            kernel.link(*pair) for pair in zip(rows, self.links, self.touched, strict=True)
        )

    def _swept(self) -> tuple[int, int]:
        """Item rows that are moved in this step whether an example touches them or not."""
        n_items = len(self.sides[1].rows)
        if self.whole:
            return 0, n_items
        if self.lag == 0:
            return 0, 0
        part = self.now % self.lag
        return part * n_items // self.lag, (part + 1) * n_items // self.lag

    def vectors(self) -> Arrays:
        """Copies of the vectors, every row up to date."""
        near_gaps(self.now, self.schedule)
        found = {}
        for name, side in zip(("user_vectors", "item_vectors"), self.sides, strict=True):
            found[name] = np.empty((len(side.rows), self.plan.dim), side.rows.dtype)
            fresh_all(found[name], side, self.now, self.schedule)
        return found

    def state(self) -> Arrays:
        """Tables, moments, and the step each row is at: all that the next step depends on."""
        return {name: array.copy() for name, array in self._parts()}

    def restore(self, state: Mapping[str, NDArray[Any]], steps: int) -> None:
        """Take up a saved state after ``steps`` steps; an empty one is the start."""
        self.now = steps
        if steps:
            for name, array in self._parts():
                array[...] = state[name]
            kernel.measure(self.sides[1], self.batch.norms_I)

    def _parts(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Views of all that is learnt, by its name in a checkpoint."""
        dim = self.plan.dim
        for name, side in zip(("users", "items"), self.sides, strict=True):
            for column, form in enumerate(STORED):
                yield form.format(name), side.rows[:, column * dim : (column + 1) * dim]
            yield f"at.{name}", side.at_R


def recipe(plan: Plan) -> kernel.Recipe:
    """What kind of step the plan's method takes."""
    method = plan.trained
    widths_L = method.scored_at(plan.levels)
    if method.objective == "mrl":
        widths_P = plan.levels or (plan.dim,)
    else:
        widths_P = (plan.dim,) * len(widths_L)
    return kernel.Recipe(
        loss={"bpr": kernel.BPR, "mrl": kernel.MRL, "bce": kernel.BCE}[method.objective],
        **method.negatives.rule()._asdict(),
        widths_L=np.array(widths_L, dtype=np.int64),
        widths_P=np.array(widths_P, dtype=np.int64),
        candidates=method.negatives.candidates,
        l2=method.l2,
        scored=kernel.UP_TO_DATE,
    )


def lag_of(plan: Plan, n_items: int) -> int:
    """Steps by which scored candidates may be out of date, for a table of so many items."""
    lag = plan.trained.lag
    if lag == AUTO:
        return AUTO_LAG if n_items > LARGE and plan.trained.negatives.candidates > 1 else 0
    return int(lag)


def split(nodes: Tables, n_users: int) -> tuple[Tables, Tables]:
    """Users and items of a table that has both, as views."""
    users, items = (Tables(*(array[part] for array in nodes))
                    for part in (slice(n_users), slice(n_users, None)))  # fmt: skip
    return users, items


def _tables(values: NDArray[np.float64], dtype: Any) -> Tables:
    n, dim = values.shape
    rows = _zeros((n, 3 * dim), dtype)
    rows[:, :dim] = values
    return Tables(rows, np.full(n, UNTOUCHED))


def _zeros(shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """Zeros on large pages where the system has them: rows are read in no order, and a table of
    small pages overflows the processor's list of them.
    """
    count = shape[0] * shape[1]
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # shared memory would get small pages
    memory = mmap.mmap(-1, max(1, count * np.dtype(dtype).itemsize), flags=private)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without large pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype, count).reshape(shape)
