"""Families that predict every next item, started on the walks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mrl4rec.models import Setup, Trained, resolve
from mrl4rec.models.base import Batch
from mrl4rec.models.negatives import Place
from mrl4rec.models.sequential.base import Training
from mrl4rec.models.sequential.every_place import EveryPlace
from mrl4rec.training.tasks import Task, tasks
from tests.mrl4rec.models.sequential.sequence_samples import N_ITEMS, split

DIM, LENGTH, SEED = 8, 6, 5


def method(name: str, **values: object) -> EveryPlace:
    """A small one of this name. Its windows are shorter than most sequences, and longer than
    some.
    """
    found = resolve(name).changed(**{"dim": DIM, "length": LENGTH, "batch": 32, **values})
    assert isinstance(found, EveryPlace)
    return found


def task(of: Trained) -> Task:
    """The search of the protocol ``clean``."""
    return tasks(split(), "clean", of)[0]


def started(of: EveryPlace) -> Training:
    """The model before its first step, in float64."""
    on = task(of)
    levels = (2, 4, DIM) if of.has_levels else None
    return of.start(Setup(on.seen, DIM, levels, SEED, dtype="float64", histories=on.histories))


def batch(of: EveryPlace, first: int, last: int, size: int, step: int = 3) -> Batch:
    """The examples ``first`` to ``last`` of a step of ``size``."""
    on = task(of)
    users, places = (
        torch.from_numpy(np.ascontiguousarray(side[first:last]))
        for side in (on.users_P, on.items_P)
    )
    return Batch(users, places, Place(SEED, step, first), size)


def windows(*rows: list[int], length: int = LENGTH) -> Tensor:
    """(B, length) with the newest item last."""
    return torch.tensor([[N_ITEMS] * (length - len(row)) + row for row in rows])
