"""Whether the servers that the settings name are there, and fit: for ``mrl4rec doctor``."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from urllib.parse import urlsplit

from flows.pools.dispatch import POOLS
from flows.server import ephemeral
from mrl4rec.core import lazy
from mrl4rec.core.masking import masked
from mrl4rec.core.settings import Settings

with lazy.imports():
    import httpx
    from prefect.client import orchestration

SECONDS = 10.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    ok: bool
    what: str
    todo: str = ""


def look(settings: Settings) -> Iterator[Finding]:
    """Those that are named; nothing where none is."""
    if os.environ.get(ephemeral.URL):
        yield _prefect()
    if settings.mlflow_uri().startswith("http"):
        yield _mlflow(settings.mlflow_uri())
    if (settings.spark_master or "").startswith("spark://"):
        yield _spark(str(settings.spark_master))


def _prefect() -> Finding:
    name = f"Prefect at {masked(os.environ[ephemeral.URL])}"
    try:
        with orchestration.get_client(sync_client=True) as client:
            version = client.api_version()
            known = {pool.name for pool in client.read_work_pools()}
            online = {
                pool: sum(
                    worker.status == "ONLINE" for worker in client.read_workers_for_work_pool(pool)
                )
                for pool in POOLS
                if pool in known
            }
    except Exception as error:  # of the network, of the server, of what it lets this user see
        todo = f"start it, or see {ephemeral.URL} and PREFECT_API_AUTH_STRING"
        return Finding(False, f"{name} does not answer: {type(error).__name__}", todo)
    if version != metadata.version("prefect"):
        own = metadata.version("prefect")
        return Finding(
            False, f"{name} is {version}, this machine's is {own}", "install one version"
        )
    if not online:
        return Finding(True, f"{name} answers, version {version}")
    lacking = [pool for pool in POOLS if not online.get(pool)]
    told = ", ".join(f"{pool}: {online.get(pool, 0)} workers" for pool in POOLS)
    if lacking:
        todo = f"`mrl4rec deploy`, then `prefect worker start --pool {lacking[0]}` on a machine"
        return Finding(False, f"{name}: {told}", todo)
    return Finding(True, f"{name} answers, version {version}; {told}")


def _mlflow(address: str) -> Finding:
    name = f"MLflow at {masked(address)}"
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    try:
        answer = httpx.get(
            f"{address.rstrip('/')}/version",
            timeout=SECONDS,
            auth=(user, password) if user else None,
        )
        answer.raise_for_status()
    except httpx.HTTPError as error:
        todo = "start it, or see MRL4REC_TRACKING_URI and MLFLOW_TRACKING_USERNAME, …_PASSWORD"
        return Finding(False, f"{name} does not answer: {type(error).__name__}", todo)
    version, own = answer.text.strip(), metadata.version("mlflow")
    if version.split(".")[0] != own.split(".")[0]:
        return Finding(
            False, f"{name} is {version}, this machine's is {own}", "install one version"
        )
    return Finding(True, f"{name} answers, version {version}")


def _spark(master: str) -> Finding:
    found = []
    for address in master.removeprefix("spark://").split(","):
        parts = urlsplit(f"//{address}")
        try:
            socket.create_connection((parts.hostname or "", parts.port or 7077), SECONDS).close()
        except OSError as error:
            found.append(f"{address}: {error.strerror or error}")
    if found:
        todo = "start it, or see MRL4REC_SPARK_MASTER"
        return Finding(False, f"the Spark master does not answer: {', '.join(found)}", todo)
    return Finding(True, f"the Spark master at {master} answers")
