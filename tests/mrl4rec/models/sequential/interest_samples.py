"""Families with several vectors a user at a size for the toy, started and trained."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mrl4rec.core.settings import Settings
from mrl4rec.kernels.csr import csr
from mrl4rec.models import Batch, Setup, resolve
from mrl4rec.models.negatives import Place
from mrl4rec.models.sequential.base import Sequential, Training
from mrl4rec.training.group import Group
from mrl4rec.training.job import Job, train_here
from mrl4rec.training.loop import Trained
from mrl4rec.training.request import TrainRequest, plan
from tests.mrl4rec.models.sequential.sequence_samples import N_ITEMS, N_USERS, split

DIM, LENGTH, LEVELS = 16, 10, (4, 16)
FAMILIES = ("MIND", "MIND-argmax", "ComiRec-DR", "ComiRec-SA", "REMI", "MTMI", "MTMI-argmax")
SHARING = (*FAMILIES, "ComiRec-SA-uniform", "ComiRec-SA@mrl", "MTMI@mrl", "MTMI-alpha0")
"""Those whose examples have nothing to do with each other."""
EMPTY = N_ITEMS


def small(name: str, *sets: str) -> Sequential:
    """The method, for 150 users of 60 items."""
    sizes = [f"dim={DIM}", f"length={LENGTH}", "batch=64", "epoch_size=20", "lr=0.01"]
    if "in-batch" not in name:
        sizes.append("candidates=40")
    method = resolve(name, [f"{name}.{text}" for text in (*sizes, *sets)])
    assert isinstance(method, Sequential)
    return method


def started(method: Sequential, dtype: str = "float64") -> Training:
    """Before its first step, on the toy's training events."""
    histories = split().sequences.only("train")  # type: ignore[union-attr]
    levels = LEVELS if method.has_levels else None
    nobody = csr(np.empty(0, np.int64), np.empty(0, np.int64), N_USERS, N_ITEMS)
    setup = Setup(nobody, method.width(levels), levels, 3, dtype=dtype, histories=histories)
    return method.start(setup)


def examples(model: Training, first: int = 0, last: int = 32, size: int = 32) -> Batch:
    """Some of a step's examples: the last event of each of these users is the target."""
    users = torch.arange(first, last)
    return Batch(users, model.indptr[users + 1] - 1, Place(3, 7, first), size)


def windows(*rows: list[int]) -> Tensor:
    """Histories as they are read: the newest item last, empty places first."""
    return torch.tensor([[EMPTY] * (LENGTH - len(row)) + row for row in rows])


def trained(method: Sequential, epochs: int) -> Trained:
    """After a search for the best epoch on valid."""
    folder = Path(tempfile.mkdtemp())
    settings = Settings(warehouse=folder)
    levels = LEVELS if method.has_levels else None
    made = plan(TrainRequest(method, levels, 3, "clean", epochs, "cpu"), settings)
    job = Job(made, "0" * 64, folder, settings, only="search")
    return train_here(job, split(), Group(), lambda report: None)
