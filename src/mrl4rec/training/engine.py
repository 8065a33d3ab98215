"""The engine of a plan: who takes the steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import psutil
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.models.factors import layers_of
from mrl4rec.training import compiled
from mrl4rec.training.checkpoint import Arrays
from mrl4rec.training.group import Group
from mrl4rec.training.order import Side
from mrl4rec.training.request import Plan
from mrl4rec.training.tasks import Task
from mrl4rec.training.warm import Start

with lazy.imports():
    from mrl4rec.training import fused, fused_graph, learner

COPIES = 5
"""Tables held at once: values, two moments, the best vectors so far, and those looked at. On
LightGCN as many again: propagated rows and gradients, and vectors of both kinds.
"""


class Engine(Protocol):
    """A model being trained on one task."""

    task: Task

    def loss(self, users_B: Side, positives_B: Side, step: int) -> Any:
        """This process's part of the loss of a global batch: a float or a tensor ()."""

    def update(self, loss: Any) -> None:
        """Take the step of the last ``loss``."""

    def vectors(self) -> Arrays:
        """Copies of the vectors to score with."""

    def state(self) -> Arrays:
        """All that the next step depends on, besides the number of steps."""

    def restore(self, state: Mapping[str, NDArray[Any]], steps: int) -> None:
        """Take up a saved state after ``steps`` steps; an empty one is the start."""


def create(task: Task, plan: Plan, group: Group, start: Start | None = None) -> Engine:
    """The engine that the plan names. Raises Mrl4recError where the tables do not fit in memory."""
    _check_memory(task, plan)
    if plan.engine == "fused":
        if layers_of(plan.trained.model):
            compiled.wait("graph")
            return fused_graph.FusedGraph(task, plan, start)
        compiled.wait("training")
        return fused.FusedLearner(task, plan, start)

    return learner.Learner(task, plan, group, start)


def _check_memory(task: Task, plan: Plan) -> None:
    users = 0 if task.histories is not None else task.seen.n_rows  # histories have no table
    rows = users + task.seen.n_columns
    of_what = "users and items" if users else "items"
    copies = COPIES * (2 if plan.trained.model.startswith("lightgcn") else 1)
    needed = copies * rows * plan.dim * np.dtype(plan.dtype).itemsize
    free = psutil.virtual_memory().available
    if needed > free:
        raise Mrl4recError(
            f"{rows:,} {of_what} × {plan.dim} dimensions take {needed / 2**30:,.1f} GB while "
            f"training, and {free / 2**30:,.1f} GB are free",
            where=f"{plan.trained.name}, d = {plan.dim}",
            todo=f"fewer dimensions (--set {plan.trained.name}.dim=…), a higher --kcore, "
            "or a machine with more memory",
        )
