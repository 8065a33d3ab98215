"""The flow ``mrl4rec``: data sets × methods × level sets × seeds → results, MLflow runs, report."""

from __future__ import annotations

import logging
import os
from typing import Any

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")

from prefect import flow, get_run_logger
from prefect.runtime import deployment

from flows import alerting, artifacts, preflight
from flows.benchmarking.execute import Outcome, run_benchmark
from flows.config import parameters
from flows.config.run import RunConfig
from flows.data_engine import choose, named
from flows.pools import dispatch
from flows.steps import check_starts, prefect_step
from mrl4rec.core import nodes
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import opened

log = logging.getLogger("mrl4rec")


@flow(
    name="mrl4rec",
    persist_result=False,
    validate_parameters=True,
    on_failure=[alerting.run_died],
    on_crashed=[alerting.run_died],
    on_cancellation=[dispatch.cancel_stages],
)
@parameters.of(
    RunConfig,
    instead={
        "datasets": (list[str], ["ml-100k", "planted"]),
        "dataset": (str | None, None),
        "warehouse": (str | None, None),
    },
    unset=("methods", "optional", "levels", "seeds", "more_seeds", "protocol", "widths", "rotate"),
)
def benchmark(**options: Any) -> Outcome:
    """Run every method × level set × seed on every data set; the options are those of the CLI.

    ``dataset`` is one data set instead of ``datasets``. Options of a preset that are None (methods,
    levels, seeds, protocol, widths …) are the preset's; without one they have the CLI's defaults.
    ``data_engine`` None: that of the settings; where neither names one, a deployment runs on Spark
    if Java 17 is found.
    """
    check_starts()
    log.setLevel(logging.INFO)  # a worker's process would show warnings alone
    warehouse, one = options.pop("warehouse", None), options.pop("dataset", None)
    names = [one] if one else options.pop("datasets")
    options.pop("datasets", None)
    requests = [RunConfig(dataset=name, **options) for name in names]
    settings = Settings(warehouse=opened(warehouse)) if warehouse else Settings()
    settings = named(settings, options.get("data_engine"))
    settings = choose(settings, deployed=bool(deployment.id))
    if deployment.id:
        nodes.check_alone(settings, "a deployment")
    stages = dispatch.of(settings, deployed=bool(deployment.id))
    if stages is None:
        for request in requests:
            preflight.check(request, settings)
    else:  # the machines of the stages look at sources, devices and Spark
        preflight.check_warehouse(settings)
    outcome = run_benchmark(requests, settings, prefect_step(settings), stages)
    artifacts.of_benchmark(outcome, settings)
    get_run_logger().info("report: %s", outcome.report)
    return outcome
