"""Stages on other machines: each is a flow run on a work pool, waited for by the benchmark.

The data stages of a data set are one run on the pool ``spark``, each model is one on the pool
``gpu``; as many run at once as the pool's limit and its workers allow. They share nothing with the
benchmark but the warehouse's address.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows.config.run import RunConfig
from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError

with lazy.imports():
    import prefect.deployments
    import prefect.runtime
    import prefect.states
    from prefect.client import orchestration
    from prefect.client.schemas import filters

    from flows.pools import references

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from flows.benchmarking.records import Benchmark
    from flows.pipeline import Done, Pipeline
    from mrl4rec.core.settings import Settings

log = logging.getLogger("mrl4rec")

CPU, SPARK, GPU = "cpu", "spark", "gpu"
POOLS = {
    CPU: "benchmarks as a whole: they start the other runs, wait for them and write the report",
    SPARK: "data stages: ingest, k-core, split and their gates",
    GPU: "training and evaluation of one model a run, and retraining",
}
"""The work pools, and what runs on them."""
DATA, TRAIN = "mrl4rec-data/stages", "mrl4rec-train/model"
"""The deployments of single stages, as they are called by name."""
LOOK_SECONDS = 3.0


class OnPools:
    """``Stages`` of a benchmark that itself runs in a deployment."""

    def __init__(self) -> None:
        self._prepared: dict[str, str] = {}
        """Data set → id of the run that prepared it."""

    def prepare(self, pipelines: Sequence[Pipeline]) -> None:
        """The data stages of all data sets at once; then each pipeline goes on from its own."""
        runs = {
            f"data of {pipeline.request.dataset}": _start(
                DATA, f"data of {pipeline.request.dataset}", _parameters(pipeline)
            )
            for pipeline in pipelines
        }
        _wait(runs)
        for pipeline, run in zip(pipelines, runs.values(), strict=True):
            self._prepared[pipeline.request.dataset] = str(run.id)
            references.adopt_prepared(pipeline, str(run.id))

    def train(self, benches: Sequence[Benchmark]) -> list[list[Done]]:
        """All models of all data sets at once; each is recorded here too as it was made there."""
        runs = {}
        for bench in benches:
            common = _parameters(bench.pipeline) | {"prepared": self._prepared[bench.dataset]}
            for cell in bench.pipeline.cells:
                name = f"{bench.dataset}: {cell.label}"
                runs[name] = _start(TRAIN, name, common | {"cell": cell.label})
        _wait(runs)
        return [self._done(bench, runs) for bench in benches]

    @staticmethod
    def _done(bench: Benchmark, runs: Mapping[str, FlowRun]) -> list[Done]:
        found = []
        for cell in bench.pipeline.cells:
            run = runs[f"{bench.dataset}: {cell.label}"]
            for done in references.done(bench.pipeline, str(run.id), cell):
                bench.fresh |= done.result is not None and not done.result.found
                bench.on_done(done)
                found.append(done)
        return found


def of(settings: Settings, deployed: bool) -> OnPools | None:
    """Where the stages of a benchmark run: on pools if the settings say so and it is deployed."""
    return OnPools() if settings.work_pools and deployed else None


def cancel_stages(flow: Any, flow_run: FlowRun, state: Any) -> None:
    """Hook for ``on_cancellation`` of a benchmark: cancel the runs that it started."""
    started = filters.FlowRunFilter(
        parent_flow_run_id=filters.FlowRunFilterParentFlowRunId(any_=[flow_run.id])
    )
    with orchestration.get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=started):
            if run.state is not None and not run.state.is_final():
                state = prefect.states.Cancelling(message="its benchmark was cancelled")
                client.set_flow_run_state(run.id, state)


def _parameters(pipeline: Pipeline) -> dict[str, Any]:
    return {
        "request": as_parameters(pipeline.request),
        "warehouse": str(pipeline.settings.warehouse.absolute()),
    }


def as_parameters(request: RunConfig) -> dict[str, Any]:
    """The options of a request with its preset spelled out, JSON-ready: RunConfig takes them."""
    return {name: v for name, v in request.as_json().items() if v is not None and name != "preset"}


def _start(deployment: str, name: str, parameters: dict[str, Any]) -> FlowRun:
    """A flow run of the deployment. One that this benchmark began before it was itself started
    again goes on; one that ended badly is made anew.
    """
    attempt = 0
    while True:
        key = f"{prefect.runtime.flow_run.id} {name} {attempt}"
        run: FlowRun = prefect.deployments.run_deployment(  # type: ignore[assignment]
            deployment, parameters=parameters, flow_run_name=name, idempotency_key=key, timeout=0
        )
        if run.state is None or not run.state.is_final() or run.state.is_completed():
            return run
        attempt += 1


def _wait(runs: Mapping[str, FlowRun]) -> None:
    """Until all have ended. Raises Mrl4recError where some did not complete, after the others."""
    waiting, failed = dict(runs), []
    log.info("%d flow runs on work pools: %s", len(runs), ", ".join(runs))
    with orchestration.get_client(sync_client=True) as client:
        while waiting:
            for name, asked in list(waiting.items()):
                state = client.read_flow_run(asked.id).state
                if state is None or not state.is_final():
                    continue
                del waiting[name]
                log.info("%s: %s, %d of %d left", name, state.name, len(waiting), len(runs))
                if not state.is_completed():
                    failed.append(f"{name}: {state.name}, {state.message}")
            if waiting:
                time.sleep(LOOK_SECONDS)
    if failed:
        raise Mrl4recError(
            f"{len(failed)} of {len(runs)} flow runs did not complete: {'; '.join(failed)}",
            where="their pages in Prefect",
            todo="see why, then run the benchmark again: what is finished is kept",
        )
