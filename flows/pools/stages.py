"""The flows of single stages: ``mrl4rec-data`` and ``mrl4rec-train``, each a run on a work pool.

A benchmark starts them (``flows.pools.dispatch``) and goes on from the references that they leave
in the warehouse. Each finds done what was done: one that is started again repeats nothing.
"""

from __future__ import annotations

import logging
import socket
from importlib.util import find_spec
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows import alerting, preflight
from flows.benchmarking import execute, records
from flows.config.run import RunConfig
from flows.data_engine import choose, named, stop_spark
from flows.pipeline import Pipeline
from flows.pools import references
from flows.steps import check_starts, prefect_step
from mrl4rec.core import nodes
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import opened
from mrl4rec.tracking import Tracker

HOOKS: dict[str, Any] = {"on_failure": [alerting.run_died], "on_crashed": [alerting.run_died]}


@flow(name="mrl4rec-data", persist_result=False, **HOOKS)
def data(request: dict[str, Any], warehouse: str) -> None:
    """Ingest, k-core and split of one data set, each behind its gate.

    Args:
        request: the options of the benchmark, by name
        warehouse: its address, the same for every machine
    """
    pipeline = _pipeline(request, warehouse)
    preflight.check(pipeline.request, pipeline.settings)
    try:
        pipeline.prepare()
    finally:
        stop_spark(pipeline.settings)
    references.keep_prepared(pipeline, flow_run.id)


@flow(name="mrl4rec-train", persist_result=False, **HOOKS)
def train(request: dict[str, Any], warehouse: str, prepared: str, cell: str) -> None:
    """Train one model, evaluate it, and record both in MLflow.

    Args:
        request: the options of the benchmark, by name
        warehouse: its address, the same for every machine
        prepared: id of the flow run of mrl4rec-data that made the split
        cell: which of the benchmark's models, as its log names it
    """
    if find_spec("torch") is None:  # the image of the data stages
        raise Mrl4recError(
            "torch is not installed here, and nothing is trained without it",
            where=socket.gethostname(),
            todo="start workers of the pool gpu where it is: in the image mrl4rec-train",
        )
    pipeline = _pipeline(request, warehouse)
    preflight.check_devices(pipeline.request, pipeline.settings)
    asked = next((one for one in pipeline.request.cells if one.label == cell), None)
    if asked is None:
        raise UsageError(f"no model of the request is called {cell!r}", where="cell")
    references.adopt_prepared(pipeline, prepared)
    tracker = Tracker(pipeline.settings)
    tracker.replay()
    done = execute.train(records.Benchmark(pipeline, tracker, pipeline.settings), asked)
    references.keep_done(pipeline, flow_run.id, asked, done)


def _pipeline(request: dict[str, Any], warehouse: str) -> Pipeline:
    logging.getLogger("mrl4rec").setLevel(logging.INFO)
    check_starts()
    config = RunConfig(**request)
    settings = named(Settings(warehouse=opened(warehouse)), config.data_engine)
    nodes.check_alone(settings, "a deployment")
    settings = choose(settings, deployed=True)
    return Pipeline(config, settings, prefect_step(settings))
