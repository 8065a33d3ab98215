"""One training as an order: carried out here, or by processes under torchrun."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrl4rec.core.settings import Settings
from mrl4rec.data.interactions import Interactions
from mrl4rec.tables.splits import FOLDS
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
    checkpoints: Path
    settings: Settings
    start: Start | None = None
    """What a plan that is warm starts from."""
    only: str | None = None
    """One phase alone, in one process; None: all of the protocol."""

    def identity(self, data: Interactions) -> dict[str, Any]:
        """All that a checkpoint must agree with."""
        pairs = [len(data.pairs(fold)[0]) for fold in FOLDS]
        shape = {"n_users": data.n_users, "n_items": data.n_items, "pairs": pairs}
        return {"stage_key": self.key, **self.plan.as_dict(), **shape}


def train(job: Job, data: Interactions, progress: Progress | None) -> Trained:
    """Carry the order out: in this process, or under torchrun where the plan has several ranks."""
    if job.plan.ranks > 1:
        from mrl4rec.training.launch import launch

        return launch(job, data, progress)
    return train_here(job, data, Group(device=job.plan.where), progress)


def train_here(job: Job, data: Interactions, group: Group, progress: Progress | None) -> Trained:
    """This process's part of the training."""
    store = Store(job.checkpoints, job.identity(data), job.settings.checkpoint_seconds)
    device, memory = job.plan.where, job.settings.ranking_memory_mb
    watch = functools.partial(look, device=device, memory_mb=memory)
    with on_sigterm() as stop:
        loop = Loop(job.plan, group, store, stop, watch, progress, job.start, job.only)
        return loop.train(data)


def pack(data: Interactions) -> dict[str, np.ndarray]:
    """Interactions as arrays for another process; ids and times stay here."""
    size = np.array([data.n_users, data.n_items], dtype=np.int64)
    return {"users": data.users_P, "items": data.items_P, "fold": data.fold_P, "size": size}


def unpack(arrays: dict[str, np.ndarray]) -> Interactions:
    """Interactions without ids and times, as ``pack`` gave them."""
    nobody = np.empty(0, dtype=object)
    n_users, n_items = (int(value) for value in arrays["size"])
    pairs = (arrays["users"], arrays["items"], arrays["fold"])
    return Interactions(*pairs, None, n_users, n_items, nobody, nobody, "")
