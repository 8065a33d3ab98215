"""One training as an order: carried out here, or by processes under torchrun."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.data.interactions import Interactions
from mrl4rec.training.checkpoint import Store
from mrl4rec.training.group import Group
from mrl4rec.training.interrupt import on_sigterm
from mrl4rec.training.loop import Loop, Trained, look
from mrl4rec.training.progress import Progress
from mrl4rec.training.request import Plan
from mrl4rec.training.warm import Start


@dataclass(frozen=True)
class Job:
    """What to train and where its checkpoints lie; the interactions are handed over beside it."""

    plan: Plan
    key: str
    checkpoints: AnyPath
    settings: Settings
    start: Start | None = None
    """What a plan that is warm starts from."""
    only: str | None = None
    """One phase alone, in one process; None: all of the protocol."""

    @property
    def ranks_here(self) -> range:
        """The ranks that run on this machine, of ``plan.ranks``."""
        each, node = self.plan.ranks // self.settings.nodes, self.settings.node
        return range(node * each, (node + 1) * each)

    def identity(self, data: Interactions) -> dict[str, Any]:
        """All that a checkpoint must agree with."""
        pairs = [len(data.pairs(fold)[0]) for fold in ("train", "valid", "test")]
        shape = {"n_users": data.n_users, "n_items": data.n_items, "pairs": pairs}
        return {"stage_key": self.key, **self.plan.as_dict(), **shape}


def train_here(job: Job, data: Interactions, group: Group, progress: Progress | None) -> Trained:
    """This process's part of the training."""
    store = Store(job.checkpoints, job.identity(data), job.settings.checkpoint_seconds)
    device, memory = job.plan.where, job.settings.ranking_memory_mb
    watch = functools.partial(look, device=device, memory_mb=memory)
    with on_sigterm() as stop:
        loop = Loop(job.plan, group, store, stop, watch, progress, job.start, job.only)
        return loop.train(data)
