"""The ``fused`` engine on LightGCN: propagated rows are scored, and gradients carried back.

Layers 0 … H are linear in the tables, Σ_h Â^h e / (H + 1) with Â = D^-1/2 A D^-1/2, and Â is its
own transpose: rows and gradients take the same products, H of each a step. All rows are under
dense Adam, as each is some other's neighbour.

Shapes: N = U + I nodes, the users first, d dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.kernels import edges
from mrl4rec.kernels import fused as kernel
from mrl4rec.kernels.lazy_adam import UNTOUCHED, Tables
from mrl4rec.models.factors import layers_of
from mrl4rec.training.checkpoint import Arrays
from mrl4rec.training.fused import FusedLearner, split
from mrl4rec.training.order import Side
from mrl4rec.training.request import Plan
from mrl4rec.training.tasks import Task
from mrl4rec.training.warm import Start

Floats = NDArray[Any]


class FusedGraph(FusedLearner):
    """A model being trained on one task; the same interface as ``learner.Learner``."""

    def __init__(self, task: Task, plan: Plan, start: Start | None = None) -> None:
        super().__init__(task, plan, start)
        self.layers = layers_of(plan.trained.model)
        graph, dtype = edges.graph(task.seen), self.nodes.rows.dtype
        own_M, bounds_P = np.arange(len(graph.tails_M)), edges.bounds(graph.indptr)
        self.graph = (bounds_P, graph.indptr, graph.tails_M, own_M, graph.normal(dtype))
        self.pull = self.recipe.l2 / len(self.batch.losses_B)
        # what is looked at are propagated rows, and the regulariser is of those of layer 0
        self.recipe = self.recipe._replace(l2=0.0, scored=kernel.UP_TO_DATE)
        self.batch.norms_I.fill(0.0)
        shape = (len(self.nodes.rows), plan.dim)
        self.sums_ND, self.spread_ND, self.between_ND = (np.zeros(shape, dtype) for _ in range(3))
        self.counts_N, self.squares_N = (np.zeros(shape[0], dtype) for _ in range(2))
        self.all_N, self.wanted_N = (np.ones(shape[0], dtype=np.bool_) for _ in range(2))
        pooled = Tables(self.spread_ND, np.full(shape[0], UNTOUCHED))
        self.scored = split(pooled, task.seen.n_rows)

    def loss(self, users_B: Side, positives_B: Side, step: int) -> float:
        """The loss of one batch; ``update`` then takes the step."""
        self.wanted_N[: len(self.sides[0].rows)] = False  # any item may be a candidate
        self.wanted_N[np.asarray(users_B)] = True
        self._spread(self.nodes.rows, self.wanted_N)
        found = super().loss(users_B, positives_B, step)
        self._link()
        kernel.gather(
            self.nodes, self.recipe, self.batch, *self.links, self.sums_ND, self.counts_N,
            self.squares_N,
        )  # fmt: skip
        return found + self.pull / 2 * float(self.squares_N.sum(dtype=np.float64))

    def update(self, loss: float) -> None:
        """One step of Adam with the gradients of the last ``loss``."""
        self._spread(self.sums_ND, self.all_N)
        kernel.move(self.nodes, self.spread_ND, self.counts_N, self.pull, self.now, self.schedule)
        self.now += 1

    def vectors(self) -> Arrays:
        """Copies of the vectors to score with, and of those of layer 0."""
        self._spread(self.nodes.rows, self.all_N)
        found = dict(zip(("user_vectors", "item_vectors"), self.scored, strict=True))
        found |= {f"{name}_0": side for name, side in zip(tuple(found), self.sides, strict=True)}
        return {name: side.rows[:, : self.plan.dim].copy() for name, side in found.items()}

    def _spread(self, first_N: Floats, wanted_N: NDArray[np.bool_]) -> None:
        """The wanted rows of ``spread_ND`` = Σ_h Â^h first / (H + 1), by Horner's rule."""
        source_N, share = first_N, 1 / (self.layers + 1)
        for left in range(self.layers, 1, -1):
            target_ND = self.spread_ND if left % 2 else self.between_ND
            kernel.spread(*self.graph, first_N, source_N, 1.0, self.all_N, target_ND)
            source_N = target_ND
        kernel.spread(*self.graph, first_N, source_N, share, wanted_N, self.spread_ND)
