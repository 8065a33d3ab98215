"""The search of protocol ``clean`` alone: how good a setting is on valid, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import Interactions
from mrl4rec.kernels.devices import resolve_device
from mrl4rec.training.checkpoint import Store
from mrl4rec.training.group import Group
from mrl4rec.training.job import Job, train_here
from mrl4rec.training.loop import Trained
from mrl4rec.training.progress import EpochReport
from mrl4rec.training.request import TrainRequest, plan, plan_key

with lazy.imports():
    from mrl4rec.evaluation import valid

OnLook = Callable[[int, float], None]
"""Called with (epoch, Recall@10 on valid) each time training looks; what it raises ends it."""


def search(
    split: Commit,
    request: TrainRequest,
    data: Interactions,
    settings: Settings,
    folder: Path,
    on_look: OnLook,
) -> Trained:
    """Train on train, looking at valid; no refit, and test is not read.

    Checkpoints lie in ``folder``, so that a search that was killed goes on where it stood. Closed
    forms are fitted on train and looked at once. Raises what training raises, and what ``on_look``
    does; after either the checkpoints are left to the caller.
    """
    made = plan(replace(request, protocol="clean", devices=1), settings)
    if made.method.closed_form:
        device = resolve_device(request.device, settings)
        value = valid.of_closed_form(
            made.method, data, made.seed, device=device, memory_mb=settings.ranking_memory_mb
        )
        return Trained({}, None, value, [])

    def progress(report: EpochReport) -> None:
        if report.value is not None:
            on_look(report.epoch, report.value)

    key = plan_key(split, made)
    job = Job(made, key, folder / key, settings, only="search")
    trained = train_here(job, data, Group(device=made.where), progress)
    Store(job.checkpoints, {}, 0).clear()
    return trained
