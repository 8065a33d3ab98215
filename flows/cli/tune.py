"""``mrl4rec tune``: the data's stages, then trials on valid, each a run under one in MLflow."""

from __future__ import annotations

import argparse
import shlex
import time
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from flows import console, data_engine, preflight
from flows.cli import parser
from flows.config.presets import DEFAULT_LEVELS
from flows.config.run import RunConfig
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from flows import pipeline as stages
    from mrl4rec import tracking, training
    from mrl4rec.core import locks
    from mrl4rec.training import tuning
    from mrl4rec.training.tuning import space

if TYPE_CHECKING:
    from mrl4rec.training.tuning import Trial, Tuning


NOT_SEARCHED = ("preset", "methods", "levels", "seeds", "protocol", "widths", "rotate", "devices")
"""Fields of a run that a search sets itself or has no use for."""


def add_options(command: argparse.ArgumentParser) -> None:
    """The method, the number of trials, and which data."""
    add = command.add_argument
    fields = [name for name in RunConfig.model_fields if name not in NOT_SEARCHED]
    parser.add_fields(command, RunConfig, fields, required=("dataset",))
    add("--method", required=True, help="the method to tune; what --set fixes is not searched")
    add("--trials", type=int, default=20, help="settings in all, those of earlier calls counted")
    add("--levels", default=DEFAULT_LEVELS[0], metavar="SET", help="level set, if it takes one")
    add("--seed", type=int, default=0, help="training seed of every trial, and of the proposals")


def run(arguments: Namespace) -> Any:
    """Try settings of one method; print the best as ``--set`` flags."""
    request = _config(arguments)
    cell = request.cells[0]
    space.space(cell.method)  # refused before any data are read
    settings = data_engine.named(Settings(), request.data_engine)
    preflight.check(request, settings)
    settings = data_engine.choose(settings)
    pipeline = stages.Pipeline(request, settings)
    pipeline.prepare()
    data_engine.stop_spark(settings)
    split = pipeline.prepared.split
    assert split is not None
    wanted = training.TrainRequest(
        cell.method,
        cell.levels,
        cell.seed,
        epochs=request.epochs,
        device=request.device,
        engine=request.engine,
    )
    asked = tuning.Asked(request.dataset, split, wanted, arguments.trials)
    tracker, began = tracking.Tracker(settings), time.time()
    tracker.replay()

    def on_trial(trial: Trial, so_far: Tuning) -> None:
        tracker.log(tracking.trial_run(so_far, trial, time.time()))

    with locks.locked(settings.storage.lock_file(request.dataset, f"tune_{asked.study}")):
        found = tuning.tune(asked, settings, lambda: pipeline.data, on_trial)
    tracker.log(tracking.tuning_run(found, began, time.time()))
    return _answer(arguments, found)


def _config(arguments: Namespace) -> RunConfig:
    one = {"methods": [arguments.method], "levels": [arguments.levels], "seeds": [arguments.seed]}
    return RunConfig(**{**parser.given(arguments, RunConfig), **one})


def _answer(arguments: Namespace, found: Tuning) -> Any:
    best = found.best
    assert best is not None
    if arguments.json:
        return {
            "study": found.study,
            "trials": found.tried,
            "pruned": found.pruned,
            "failed": found.failed,
            "metric": f"valid {found.metric}",
            "default": found.default,
            "best": best.value,
            "epoch": best.epoch,
            "settings": dict(best.settings),
            "set": found.flags,
            "seconds": found.seconds,
        }
    default = "–" if found.default is None else f"{found.default:.4f}"
    facts = [
        ["study", found.study],
        ["trials", f"{found.tried}, {found.pruned} cut off, {found.failed} failed"],
        ["seconds", f"{found.seconds:.1f}"],
        [f"defaults, valid {found.metric}", default],
        [f"best, valid {found.metric}", f"{best.value:.4f} (trial {best.trial})"],
    ]
    console.table(f"{found.method} on {found.dataset}", ["fact", "value"], facts)
    print("best    " + " ".join(f"--set {shlex.quote(flag)}" for flag in found.flags))
    return None
