"""The flow ``mrl4rec-retrain``: fresh dumps → challenger → promote or keep, and the ledger."""

from __future__ import annotations

import logging
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import deployment

from flows import alerting, artifacts, preflight
from flows.config import parameters
from flows.config.retrain import RetrainConfig
from flows.data_engine import choose, named
from flows.pipeline import Step
from flows.retraining import catch_up
from flows.retraining.course import Course
from flows.retraining.outcome import Outcome
from flows.steps import check_starts, prefect_step
from mrl4rec.core.errors import UsageError
from mrl4rec.core.locks import locked
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import opened

log = logging.getLogger("mrl4rec")


def run_retrain(request: RetrainConfig, settings: Settings, step: Step) -> Outcome:
    """Retrain one data set, alone: a second run of it waits until this one has ended.

    Raises GateFailed where nothing new is good, or the models may not be compared.
    """
    with locked(settings.storage.lock_file(request.dataset, "retrain")):
        return Course(request, settings, step).run()


@flow(
    name="mrl4rec-retrain",
    persist_result=False,
    validate_parameters=True,
    on_failure=[alerting.run_died],
    on_crashed=[alerting.run_died],
)
@parameters.of(
    RetrainConfig,
    instead={
        "dataset": (str | None, None),
        "dumps": (list[str] | None, None),
        "warehouse": (str | None, None),
    },
)
def retrain(**options: Any) -> Outcome:
    """Retrain a data set on its fresh dumps; the options are those of the CLI.

    ``dataset`` and ``dumps`` None: those of the settings (MRL4REC_RETRAIN_DATASET, …_DUMPS).
    ``data_engine`` None: that of the settings; where neither names one, a deployment runs on Spark
    if Java 17 is found.
    """
    check_starts()
    log.setLevel(logging.INFO)  # a worker's process would show warnings alone
    catch_up.take_over()
    warehouse = options.pop("warehouse", None)
    settings = Settings(warehouse=opened(warehouse)) if warehouse else Settings()
    settings = named(settings, options.get("data_engine"))
    settings = choose(settings, deployed=bool(deployment.id))
    name, places = _configured(settings, options.pop("dataset", None), options.pop("dumps", None))
    request = RetrainConfig(dataset=name, dumps=places, **options)
    preflight.check_dumps(request, settings)
    outcome = run_retrain(request, settings, prefect_step(settings))
    create_markdown_artifact(outcome.markdown, key="decision")
    if outcome.report is not None:
        artifacts.links(settings, outcome.report, [name], outcome.runs)
    get_run_logger().info("%s: %s", outcome.outcome, outcome.why)
    return outcome


def _configured(
    settings: Settings, dataset: str | None, dumps: list[str] | None
) -> tuple[str, list[str]]:
    """What was asked for, else what the settings name. Raises UsageError where neither does."""
    name = dataset or settings.retrain_dataset
    places = dumps or [p.strip() for p in (settings.retrain_dumps or "").split(",") if p.strip()]
    if not name or not places:
        missing = "a data set" if not name else "a place where its dumps land"
        raise UsageError(
            f"nothing says what to retrain: {missing} is missing",
            where="MRL4REC_RETRAIN_DATASET, MRL4REC_RETRAIN_DUMPS",
            todo="set both before `mrl4rec up`, or give the deployment the parameters dataset and "
            "dumps",
        )
    return name, places
