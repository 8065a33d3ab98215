"""A benchmark from its data to its report, by steps of any kind (tasks, plain calls)."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import ahead
from flows.benchmarking import records
from flows.config.run import RunConfig
from flows.data_engine import stop_spark
from flows.pipeline import Done, Pipeline, Step
from mrl4rec import reporting as report
from mrl4rec.core.settings import Settings
from mrl4rec.tracking import Tracker

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


def run_benchmark(requests: Sequence[RunConfig], settings: Settings, step: Step) -> Outcome:
    """All data stages first, then Spark ends, then every cell is trained and evaluated."""
    tracker = Tracker(settings)
    tracker.replay()
    pipelines = [Pipeline(request, settings, step) for request in requests]
    for pipeline in pipelines:
        pipeline.on_training = lambda: ahead.imports(tracker.connect)
        pipeline.prepare()
    stop_spark(settings)
    bench = records.Benchmark(pipelines, tracker, settings)
    bench.keep_configs()
    try:
        done = {p.request.dataset: _train_all(p, bench) for p in pipelines}
        page: Path = step("report", report.build, settings, [r.dataset for r in requests], None)
        bench.finish("FINISHED", page)
        bench.mark_finished()
    except BaseException:
        bench.finish("FAILED", None)
        raise
    tracker.replay()  # a server that was away in the middle may be back
    return Outcome(bench.rows(done), page, [f"{p.request.dataset}: {p.used}" for p in pipelines])


def _train_all(pipeline: Pipeline, bench: records.Benchmark) -> list[Done]:
    cells = pipeline.request.cells
    done = []
    for number, cell in enumerate(cells, start=1):
        log.info("[%d/%d] %s: %s", number, len(cells), pipeline.request.dataset, cell.label)
        began = time.time()
        train = pipeline.train(cell)
        for cut in pipeline.cuts(train):
            hook = bench.on_evaluated(pipeline, cell, train, began, cut)
            finished = Done(cell, train, pipeline.evaluate(train, cell, hook, cut), cut)
            bench.log_found(pipeline, finished)
            done.append(finished)
    return done
