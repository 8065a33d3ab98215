"""Trials of a model on valid, each a run under one in MLflow: of ``tune`` and ``run --trials``."""

from __future__ import annotations

import time
from dataclasses import replace

from flows.config.run import Cell
from flows.pipeline import Pipeline
from mrl4rec import tracking, training
from mrl4rec.core import locks
from mrl4rec.training import tuning
from mrl4rec.training.tuning import Trial, Tuning, space


def tune(pipeline: Pipeline, cell: Cell, trials: int, tracker: tracking.Tracker) -> Tuning:
    """Try settings of a cell until there are so many, earlier ones counted.

    Raises UsageError where it has nothing to tune.
    """
    request, split = pipeline.request, pipeline.prepared.split
    assert split is not None
    wanted = training.TrainRequest(
        cell.method,
        cell.levels,
        cell.seed,
        epochs=request.epochs,
        device=request.device,
        engine=request.engine,
    )
    asked, began = tuning.Asked(request.dataset, split, wanted, trials), time.time()

    def on_trial(trial: Trial, so_far: Tuning) -> None:
        tracker.log(tracking.trial_run(so_far, trial, time.time()))

    settings = pipeline.settings
    with locks.locked(settings.storage.lock_file(request.dataset, f"tune_{asked.study}")):
        found = tuning.tune(asked, settings, lambda: pipeline.data, on_trial)
    tracker.log(tracking.tuning_run(found, began, time.time()))
    return found


def tuned(pipeline: Pipeline, cell: Cell, tracker: tracking.Tracker) -> Cell:
    """The cell with the settings that are best on valid, of as many as the run asks for.

    All seeds of a model have those found with the first. One without ranges stays as it is.
    """
    trials = pipeline.request.trials
    if trials is None or not space.spans(cell.method):
        return cell
    seed = None if cell.seed is None else pipeline.request.seeds[0]
    first = replace(cell, seed=seed)
    found = pipeline.step(f"tune {first.label}", tune, pipeline, first, trials, tracker)
    assert found.best is not None, "tune() would have raised"
    best = {name: found.best.settings[name] for name in found.searched}
    return replace(cell, method=cell.method.changed(**best))
