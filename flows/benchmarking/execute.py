"""A benchmark from its data to its report, by steps of any kind (tasks, plain calls)."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from flows import ahead, tuning
from flows.benchmarking import records
from flows.config.run import Cell, RunConfig
from flows.data_engine import stop_spark
from flows.pipeline import Done, Pipeline, Step
from mrl4rec import reporting as report
from mrl4rec.core.settings import Settings
from mrl4rec.tracking import Tracker, experiment_of
from mrl4rec.tracking.spool import Place

log = logging.getLogger("mrl4rec")


@dataclass(frozen=True)
class Outcome:
    """What a benchmark came to."""

    rows: list[dict[str, Any]]
    """The leaderboard's rows of this benchmark's cells."""
    report: Path
    """The HTML page."""
    notes: list[str]
    """What a person should know: sources used, what was found done."""
    runs: dict[str, Place] = field(default_factory=dict)
    """Where MLflow has the benchmark's run of each data set; none where it is away."""


class Stages(Protocol):
    """How the stages of a benchmark are run: here, or each as a flow run on a work pool."""

    def prepare(self, pipelines: Sequence[Pipeline]) -> None:
        """The data stages of each pipeline."""

    def train(self, benches: Sequence[records.Benchmark]) -> list[list[Done]]:
        """Every cell of each benchmark, trained, evaluated and recorded."""


class Here:
    """All data stages one after the other, then the trainings, in this process."""

    def prepare(self, pipelines: Sequence[Pipeline]) -> None:
        for pipeline in pipelines:
            pipeline.prepare()
        stop_spark(pipelines[0].settings)

    def train(self, benches: Sequence[records.Benchmark]) -> list[list[Done]]:
        return [self._train(bench) for bench in benches]

    @staticmethod
    def _train(bench: records.Benchmark) -> list[Done]:
        cells = bench.pipeline.cells
        done = []
        for number, cell in enumerate(cells, start=1):
            log.info("[%d/%d] %s: %s", number, len(cells), bench.dataset, cell.label)
            done += train(bench, cell)
        return done


def run_benchmark(
    requests: Sequence[RunConfig], settings: Settings, step: Step, stages: Stages | None = None
) -> Outcome:
    """All data stages first, then every cell is trained and evaluated; None: in this process."""
    stages = stages or Here()
    tracker = Tracker(settings)
    tracker.replay()
    pipelines = [Pipeline(request, settings, step) for request in requests]
    for pipeline in pipelines:
        connect = partial(tracker.connect, experiment_of(pipeline.request.dataset))
        pipeline.on_training = partial(ahead.imports, connect)
    stages.prepare(pipelines)
    benches = [records.Benchmark(pipeline, tracker, settings) for pipeline in pipelines]
    for bench in benches:
        bench.keep_config()
    try:
        done = stages.train(benches)
        page: Path = step("report", report.build, settings, [r.dataset for r in requests], None)
        for bench in benches:
            bench.finish("FINISHED", page)
            bench.mark_finished()
    except BaseException:
        for bench in benches:
            bench.finish("FAILED", None)
        raise
    tracker.replay()  # a server that was away in the middle may be back
    return Outcome(
        rows=[row for bench, cells in zip(benches, done, strict=True) for row in bench.rows(cells)],
        report=page,
        notes=[f"{p.request.dataset}: {note}" for p in pipelines for note in (p.used, *p.left_out)],
        runs={b.dataset: at for b in benches if (at := tracker.known(b.experiment, b.key))},
    )


def train(bench: records.Benchmark, asked: Cell) -> list[Done]:
    """Train one cell and evaluate it in each way that is asked for; recorded in MLflow."""
    pipeline = bench.pipeline
    cell = tuning.tuned(pipeline, asked, bench.tracker)
    began = time.time()
    commit = pipeline.train(cell)
    done = []
    for cut in pipeline.cuts(commit):
        hook = bench.on_evaluated(commit, began, cut)
        done.append(Done(cell, commit, pipeline.evaluate(commit, cell, hook, cut), cut))
        bench.on_done(done[-1])
    return done
