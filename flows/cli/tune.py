"""``mrl4rec tune``: the data's stages, then trials on valid, each a run under one in MLflow."""

from __future__ import annotations

import argparse
import shlex
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from flows import console, data_engine, preflight
from flows.cli import parser
from flows.config.tune import TuneConfig
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from flows import pipeline as stages
    from flows import tuning
    from mrl4rec import tracking
    from mrl4rec.core import nodes
    from mrl4rec.training.tuning import space

if TYPE_CHECKING:
    from mrl4rec.training.tuning import Tuning


def add_options(command: argparse.ArgumentParser) -> None:
    """All fields of a ``TuneConfig``, and ``--config``."""
    parser.add_config(command)
    parser.add_fields(command, TuneConfig, required=("dataset", "method"))


def run(arguments: Namespace) -> Any:
    """Try settings of one method; print the best as ``--set`` flags."""
    config = TuneConfig(**parser.given(arguments, TuneConfig))
    request, cell = config.run, config.cell
    space.space(cell.method)  # refused before any data are read
    settings = data_engine.named(Settings(), request.data_engine)
    nodes.check_alone(settings, "mrl4rec tune")
    preflight.check(request, settings)
    settings = data_engine.choose(settings)
    pipeline = stages.Pipeline(request, settings)
    pipeline.prepare()
    data_engine.stop_spark(settings)
    tracker = tracking.Tracker(settings)
    tracker.replay()
    return _answer(arguments, tuning.tune(pipeline, cell, config.trials, tracker))


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
