"""The deployments: ``mrl4rec/full-benchmark``, ``mrl4rec/smoke`` and ``mrl4rec-retrain/nightly``,
served by one process; and for a team on work pools, with those of the single stages.
"""

from __future__ import annotations

from typing import Any

from flows.pools import dispatch as pools
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    import prefect.deployments.runner
    from prefect.client.schemas import objects

    from flows import benchmark, retrain
    from flows.pools import stages

NIGHTLY = "nightly"
DEPLOYMENTS: dict[str, dict[str, Any]] = {
    "full-benchmark": {
        "description": "MovieLens 100K and the planted hierarchy: the methods of Table 3, two "
        "level sets, three seeds, protocol clean. Takes any data set of the catalogue, and any "
        "preset: paper-table-2, paper-table-3, paper-table-4, paper-figure-3, strong-baselines, "
        "all. Methods, levels, seeds and protocol win over the preset's where they are given.",
        "parameters": {"datasets": ["ml-100k", "planted"], "preset": "demo"},
    },
    "smoke": {
        "description": "A few methods for a few epochs on the planted hierarchy: is it all wired?",
        "parameters": {
            "datasets": ["planted"],
            "methods": ["Pop", "EASE", "BPR-D", "MRL-M"],
            "seeds": [0],
            "epochs": 11,
        },
    },
}
"""What each deployment of the benchmark runs by default, on top of the flow's own defaults."""
COUNT = len(DEPLOYMENTS) + 1


def nightly(settings: Settings) -> dict[str, Any]:
    """The deployment of retraining: by cron where the settings name a data set, else by hand.

    One run at a time; whoever comes meanwhile waits (and there is the lock of the data set, for
    runs that Prefect knows nothing of).
    """
    what = settings.retrain_dataset or "none yet: set MRL4REC_RETRAIN_DATASET and …_DUMPS"
    body: dict[str, Any] = {
        "description": "Fresh dumps → challenger → into service if it is really better. "
        f"Data set: {what}. A schedule that was missed is made up for once, not once a night.",
        "concurrency_limit": objects.ConcurrencyLimitConfig(
            limit=1, collision_strategy=objects.ConcurrencyLimitStrategy.ENQUEUE
        ),
    }
    return body | ({"cron": settings.retrain_cron} if settings.retrain_dataset else {})


def every(settings: Settings) -> list[Any]:
    """All that one process serves, as they are registered."""
    found = [_deployment(benchmark.benchmark, name, body) for name, body in DEPLOYMENTS.items()]
    return [*found, _deployment(retrain.retrain, NIGHTLY, nightly(settings))]


def on_pools(settings: Settings) -> list[tuple[str, Any]]:
    """All deployments of a team, each with the work pool whose workers run it."""
    found = [
        (pools.GPU if deployment.name == NIGHTLY else pools.CPU, deployment)
        for deployment in every(settings)
    ]
    of_stage = {pools.SPARK: (stages.data, pools.DATA), pools.GPU: (stages.train, pools.TRAIN)}
    for pool, (flow, name) in of_stage.items():
        body = {"description": pools.POOLS[pool]}
        found.append((pool, _deployment(flow, name.partition("/")[2], body)))
    return found


def _deployment(flow: Any, name: str, body: dict[str, Any]) -> Any:
    return flow.to_deployment(
        name=name,
        entrypoint_type=prefect.deployments.runner.EntrypointType.MODULE_PATH,
        tags=["mrl4rec"],
        **body,
    )
