"""The flow ``mrl4rec-retrain``: fresh dumps → challenger → promote or keep, and the ledger."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.runtime import deployment

from flows import alerting, catch_up, preflight
from flows.benchmark import prefect_step
from flows.data_engine import choose
from flows.pipeline import Step
from flows.request import build
from flows.retrain_request import DEFAULT_SEEDS, RetrainRequest
from flows.retraining.course import Course
from flows.retraining.outcome import Outcome
from mrl4rec.errors import UsageError
from mrl4rec.lease import Lease
from mrl4rec.settings import Settings

log = logging.getLogger("mrl4rec")


def run_retrain(request: RetrainRequest, settings: Settings, step: Step) -> Outcome:
    """Retrain one data set, alone: a second run of it waits until this one has ended.

    Raises GateFailed where nothing new is good, or the models may not be compared.
    """
    place = settings.dataset_dir(request.dataset) / ".leases" / "retrain.json"
    with Lease(place, settings.lease_stale_seconds):
        return Course(request, settings, step).run()


@flow(
    name="mrl4rec-retrain",
    persist_result=False,
    validate_parameters=True,
    on_failure=[alerting.run_died],
    on_crashed=[alerting.run_died],
)
def retrain(
    dataset: str | None = None,
    dumps: list[str] | None = None,
    format: str | None = None,
    columns: str | None = None,
    time_unit: str | None = None,
    time_format: str | None = None,
    rating_range: str | None = None,
    separator: str | None = None,
    encoding: str | None = None,
    kcore: int | None = None,
    min_rating: float | None = None,
    as_of: str | None = None,
    methods: list[str] = [],  # noqa: B006  Prefect shows it as the default
    levels: list[str] = [],  # noqa: B006
    overrides: list[str] = [],  # noqa: B006
    seeds: list[int] = list(DEFAULT_SEEDS),  # noqa: B006
    start: str = "both",
    epochs: int = 300,
    device: str = "auto",
    window: str = "auto",
    alpha: float = 0.05,
    min_gain: float = 0.0,
    width_margin: float = 0.05,
    slice_margin: float = 0.1,
    refit: bool = True,
    dry_run: bool = False,
    retry_set_aside: bool = False,
    data_engine: str | None = None,
    warehouse: str | None = None,
) -> Outcome:
    """Retrain a data set on its fresh dumps; the options are those of the CLI.

    ``dataset`` and ``dumps`` None: those of the settings (MRL4REC_RETRAIN_DATASET, …_DUMPS).
    ``data_engine`` None: that of the settings; where neither names one, a deployment runs on Spark
    if Java 17 is found.
    """
    given = dict(locals())
    log.setLevel(logging.INFO)  # a worker's process would show warnings alone
    catch_up.take_over()
    settings = Settings(warehouse=Path(warehouse)) if warehouse else Settings()
    settings = choose(settings, data_engine, deployed=bool(deployment.id))
    name, places = _configured(settings, dataset, dumps)
    request = build(RetrainRequest, {**given, "dataset": name, "dumps": places})
    preflight.check_dumps(request, settings)
    outcome = run_retrain(request, settings, prefect_step(settings))
    create_markdown_artifact(outcome.markdown, key="decision")
    if outcome.report is not None:
        create_link_artifact(outcome.report.absolute().as_uri(), "the HTML report", key="report")
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
