"""Small learners of any factor method, for the tests of losses and samplers."""

from __future__ import annotations

import numpy as np
import torch

from mrl4rec.core.settings import Settings
from mrl4rec.data.interactions import from_pairs
from mrl4rec.models import Trained, resolve
from mrl4rec.training import TrainRequest
from mrl4rec.training.group import Group
from mrl4rec.training.learner import Learner
from mrl4rec.training.request import plan
from mrl4rec.training.tasks import Task, tasks

SEED, LEVELS = 5, (2, 8)
BATCH = 24


def small(name: str, model: str = "mf") -> Trained:
    """The method with few dimensions and candidates, and a regulariser to be seen."""
    method = resolve(name)
    assert isinstance(method, Trained)
    few = 1 if method.negatives.candidates == 1 else 6
    return method.changed(
        model=model, dim=8, lr=0.01, l2=0.1, candidates=few, batch=BATCH, lag="auto"
    )


def work() -> Task:
    """40 users, 30 items, a fifth of all pairs."""
    rng = np.random.default_rng(1)
    pairs = list(zip(*(rng.random((40, 30)) < 0.2).nonzero(), strict=True))
    return tasks(from_pairs(pairs[::2], pairs[1::4], pairs[3::4], 40, 30), "paper")[0]


def learner(method: Trained, levels: tuple[int, ...] = LEVELS, seed: int = SEED) -> Learner:
    """One that takes steps by autograd in float64, in this process alone."""
    asked = TrainRequest(
        method, levels, seed, "paper", device="cpu", dtype="float64", engine="autograd"
    )
    return Learner(work(), plan(asked, Settings()), Group())  # type: ignore[call-arg]


def batch(task: Task, step: int = 0, n: int = BATCH) -> tuple[torch.Tensor, torch.Tensor]:
    """Some pairs to train on."""
    rows = np.random.default_rng(step).integers(0, task.n_pairs, n)
    return torch.from_numpy(task.users_P[rows]), torch.from_numpy(task.items_P[rows])
