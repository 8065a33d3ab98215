"""``mrl4rec up``: Prefect server, MLflow UI and the deployments as processes on loopback."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import ExitStack, suppress
from typing import NamedTuple

from flows import addresses, data_engine
from flows.deployments import COUNT
from flows.server import ephemeral, pages
from flows.server.ephemeral import PATIENCE
from flows.server.heartbeat import HEARTBEAT
from flows.server.services import (
    HOST,
    Service,
    free_port,
    get,
    interruptible,
    start,
    until,
    wait,
    watch,
)
from mrl4rec.checks.gate import data_docs
from mrl4rec.core import lazy, network
from mrl4rec.core.masking import masked
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.tracking import tracker as trackers
    from mrl4rec.tracking import view

log = logging.getLogger("mrl4rec")


QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # no job queue: nothing here uses one
}


class Ports(NamedTuple):
    """Where the servers listen."""

    prefect: int
    mlflow: int
    pages: int
    """The report and the gates' Data Docs."""


def up(settings: Settings, wanted: Ports, as_json: bool) -> None:
    """Start the stack, print its links, and stay until Ctrl-C, SIGTERM or the end of the terminal
    (SIGHUP, unless it is ignored, as by nohup); then end every process.

    Raises Mrl4recError with the end of its log when a service does not answer or ends by itself.
    """
    settings.storage.check_writable()
    network.check()
    ephemeral.check_env_file()
    interruptible()
    logs = settings.storage.logs_dir
    logs.mkdir(parents=True, exist_ok=True)
    ports = Ports(*(free_port(number) for number in wanted))
    api = f"http://{HOST}:{ports.prefect}/api"
    environment = _environment(settings, api)
    links: dict[str, str] = {}
    data_docs.refresh(settings)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        served = stack.enter_context(pages.serving(settings, ports.pages, links))
        prefect = start(stack, "prefect", prefect_command(ports.prefect), environment, logs)
        services = [prefect]
        if settings.tracking_uri is None:
            command = mlflow_command(settings.storage.mlflow_artifacts.as_uri(), ports.mlflow)
            # Not an argument: everybody may read those, and the address may hold a password.
            store = {"MLFLOW_BACKEND_STORE_URI": settings.mlflow_uri()}
            mlflow = start(stack, "mlflow", command, environment | store, logs)
            services.append(mlflow)
            wait(mlflow, f"http://{HOST}:{ports.mlflow}/health")
            # The runs of this stack go through the server, so that its UI and they agree.
            environment["MRL4REC_TRACKING_URI"] = f"http://{HOST}:{ports.mlflow}"
        wait(prefect, f"{api}/health")
        deployments = [sys.executable, "-m", "flows.server.serve"]
        services.append(start(stack, "deployments", deployments, environment, logs))
        _wait_for_deployments(services[-1], api)
        tracking = environment.get("MRL4REC_TRACKING_URI", settings.mlflow_uri())
        address = tracking if tracking != settings.tracking_uri else None
        stack.enter_context(addresses.announced(settings, served, address))
        links |= {"MLflow": masked(tracking), "Prefect": api.removesuffix("/api")}
        _announce(api, tracking, served, as_json)
        watch(services)


def _environment(settings: Settings, api: str) -> dict[str, str]:
    return {
        **HEARTBEAT,
        **PATIENCE,
        **os.environ,
        "PREFECT_API_URL": api,
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "mrl4rec",  # stage progress on the run's page
        "MRL4REC_WAREHOUSE": str(settings.warehouse.absolute()),
        **QUIET,
    }


def prefect_command(port: int) -> list[str]:
    """Prefect's server on a port of loopback."""
    return [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]


def mlflow_command(artifacts: str, port: int) -> list[str]:
    """MLflow's server on a port of loopback; ``artifacts``: the address where it keeps them."""
    return [
        sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port),
        "--workers", "1",
        "--artifacts-destination", artifacts,
    ]  # fmt: skip


def _wait_for_deployments(service: Service, api: str) -> None:
    def registered() -> bool:
        body = get(f"{api}/deployments/filter", b"{}")
        return body is not None and len(json.loads(body)) >= COUNT

    until(service, registered)


def _announce(api: str, tracking: str, served: str, as_json: bool) -> None:
    links = {"prefect": api.removesuffix("/api"), "prefect_api": api, "mlflow": masked(tracking),
             "pages": served}  # fmt: skip
    experiments = trackers.Tracker(Settings(tracking_uri=tracking)).experiments()
    boards = {
        name: masked(view.view_link(tracking, number, view.LEADERBOARD))
        for name, number in experiments.items()
    }
    if as_json:
        print(json.dumps({**links, "experiments": boards}), flush=True)
        return
    direct = f"  export NO_PROXY={','.join(network.LOOPBACK)}\n" if any(network.proxies()) else ""
    print(
        f"Prefect      {links['prefect']}\n"
        f"MLflow       {links['mlflow']}\n"
        + "".join(f"  {name}  {link}\n" for name, link in boards.items())
        + f"Pages        {links['pages']}   (report, gates)\n\n"
        "In another terminal:\n"
        f"  export PREFECT_API_URL={api}\n{direct}"
        "  prefect deployment run mrl4rec/smoke --watch\n"
        "  prefect deployment run mrl4rec/full-benchmark\n"
        "  prefect deployment run mrl4rec-retrain/nightly --watch\n\n"
        f"{_nightly()}\n\n"
        f"{_engine()}\n\n"
        "Ctrl-C ends all of it.",
        flush=True,
    )


def _nightly() -> str:
    settings = Settings()
    if settings.retrain_dataset is None:
        return (
            "Nothing is retrained by schedule: set MRL4REC_RETRAIN_DATASET and "
            "MRL4REC_RETRAIN_DUMPS first, or give the deployment -p dataset=… -p dumps=[…]"
        )
    return f"{settings.retrain_dataset} is retrained at {settings.retrain_cron!r} (cron, UTC)"


def _engine() -> str:
    settings = Settings()
    name, why = data_engine.decide(settings, deployed=True)
    return f"Data stages of the deployments run on {data_engine.label(settings, name)} ({why})"
