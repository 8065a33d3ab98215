"""``mrl4rec ingest | kcore | sequences | split | train | evaluate``: with what is before."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from flows import console, data_engine, preflight
from flows.cli import parser
from flows.config.run import RunConfig
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from flows import pipeline as stages
    from flows import tuning
    from mrl4rec import tracking

if TYPE_CHECKING:
    from flows.pipeline import Pipeline
    from mrl4rec.core.stage import Commit

COUNTS = ("path", "format", "rows_read", "rows_accepted", "rows_duplicate", "rows_quarantined")
DATA = ("ingest", "kcore", "sequences", "split")


def add_options(command: argparse.ArgumentParser) -> None:
    """All fields of a ``RunConfig``: a stage finds what ``run`` would have made."""
    parser.add_config(command)
    parser.add_fields(command, RunConfig, required=("dataset",))


def run(arguments: argparse.Namespace) -> Any:
    """Run the stages up to the one that the command names; those done before are found."""
    until = arguments.command
    config = RunConfig(**parser.given(arguments, RunConfig))
    settings = data_engine.named(Settings(), config.data_engine)
    preflight.check(config, settings)
    settings = data_engine.choose(settings)
    pipeline = stages.Pipeline(config, settings)
    if until in DATA:
        prepared = pipeline.prepare(until)
        commits = (prepared.ingest, prepared.core, prepared.sequences, prepared.split)
        commit = commits[DATA.index(until)]
        assert commit is not None
        return _data_answer(arguments, until, commit)
    evaluates = until == "evaluate" and settings.node == 0
    return _train(arguments, pipeline, evaluates=evaluates)


def help_train(config: RunConfig, settings: Settings, arguments: argparse.Namespace) -> Any:
    """Take part in the trainings of a run that machine 0 leads: it alone evaluates and reports."""
    pipeline = stages.Pipeline(config, data_engine.choose(settings))
    return _train(arguments, pipeline, evaluates=False)


def _train(arguments: argparse.Namespace, pipeline: Pipeline, *, evaluates: bool) -> Any:
    config, settings = pipeline.request, pipeline.settings
    pipeline.prepare()
    data_engine.stop_spark(settings)
    answers = []
    for cell in pipeline.cells:
        if config.trials:
            cell = tuning.tuned(pipeline, cell, tracking.Tracker(settings))
        train = pipeline.train(cell)
        found = {cell.label: train}
        if evaluates:
            cuts = pipeline.cuts(train)
            found = {cut.name(cell.label): pipeline.evaluate(train, cell, cut=cut) for cut in cuts}
        for label, done in found.items():
            said = {"model": label, "model_key": train.key, "stage_key": done.key}
            answers.append({**dict(done.summary), **said, "found": done.found})
    if arguments.json:
        return answers
    rows = [[a["model"], a["stage_key"], "found done" if a["found"] else "ran"] for a in answers]
    console.table("evaluate" if evaluates else "train", ["model", "stage key", "state"], rows)
    return None


def _data_answer(arguments: argparse.Namespace, until: str, commit: Commit) -> Any:
    summary = commit.summary
    if until == "ingest":
        return _ingest_answer(arguments, commit)
    if arguments.json:
        names = ("interactions", "users", "items", "rounds") if until == "kcore" else tuple(summary)
        return {name: summary[name] for name in names}
    console.table(
        f"{commit.table} version {commit.version}",
        ["fact", "value"],
        [[name, str(value)] for name, value in summary.items()],
    )
    return None


def _ingest_answer(arguments: argparse.Namespace, commit: Commit) -> Any:
    summary = commit.summary
    if arguments.json:
        names = ("sources", "total", "rules", "first_bad", "notes")
        return {name: summary[name] for name in names if name in summary}
    rows = [[source[name] for name in COUNTS] for source in summary["sources"]]
    rows.append(["total", "", *(summary["total"][name] for name in COUNTS[2:])])
    console.table(f"reviews version {commit.table_version('reviews')}", list(COUNTS), rows)
    return None
