"""What a team's Prefect server must know: work pools, deployments, automations."""

from __future__ import annotations

import os
from collections.abc import Mapping

from flows import deployments
from flows.pools.dispatch import POOLS
from flows.server import ephemeral, heartbeat
from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.masking import masked
from mrl4rec.core.settings import Settings

with lazy.imports():
    import prefect.exceptions
    import prefect.workers.process
    from prefect.client import orchestration
    from prefect.client.schemas import actions


ENVIRONMENT = {
    **heartbeat.HEARTBEAT,
    **ephemeral.PATIENCE,
    "MRL4REC_WORK_POOLS": "true",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "mrl4rec",  # stage progress on the run's page
}
"""Of every flow run, whatever worker takes it; where the servers are the worker's says."""


def register(settings: Settings, limits: Mapping[str, int] | None = None) -> dict[str, list[str]]:
    """Create or bring up to date what the server of PREFECT_API_URL has; pool → its deployments.

    ``limits``: most runs of a pool at once, for pools of which something was said. A pool that is
    there keeps its type, so that one may run its work in processes, containers or Kubernetes.
    Raises Mrl4recError where the server refuses, as without its password.
    """
    try:
        return _register(settings, limits or {})
    except prefect.exceptions.PrefectHTTPStatusError as error:
        raise Mrl4recError(
            f"Prefect's server refuses: {error.response.status_code} "
            f"{error.response.reason_phrase}",
            where=masked(os.environ[ephemeral.URL]),
            todo="set PREFECT_API_AUTH_STRING to its user:password"
            if error.response.status_code in (401, 403)
            else "see its log",
        ) from error


def _register(settings: Settings, limits: Mapping[str, int]) -> dict[str, list[str]]:
    with orchestration.get_client(sync_client=True) as client:
        for name, meaning in POOLS.items():
            try:
                client.read_work_pool(name)
            except prefect.exceptions.ObjectNotFound:
                worker = prefect.workers.process.ProcessWorker
                client.create_work_pool(
                    actions.WorkPoolCreate(
                        name=name,
                        type=worker.type,
                        description=meaning,
                        base_job_template=worker.get_default_base_job_template(),
                    )
                )
            if name in limits:
                change = actions.WorkPoolUpdate(concurrency_limit=limits[name])
                client.update_work_pool(name, change)
    found: dict[str, list[str]] = {name: [] for name in POOLS}
    for pool, deployment in deployments.on_pools(settings):
        deployment.job_variables = {"env": ENVIRONMENT}
        deployment.apply(work_pool_name=pool)
        found[pool].append(f"{deployment.flow_name}/{deployment.name}")
    heartbeat.ensure(pools=True)
    return found
