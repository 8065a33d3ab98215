"""Stages as Prefect tasks, each with its page; and how often a flow run may be started again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows import artifacts
from flows.pipeline import Step
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings

MOST_STARTS = 5
"""A run whose process was gone so often is not started again: it may be what ends its machines."""


def prefect_step(settings: Settings) -> Step:
    """Steps that run as Prefect tasks. Prefect caches nothing: the stage keys do."""

    def step(name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def stage() -> Any:
            result = function(*args, **kwargs)
            artifacts.of_stage(name, result, settings)
            return result

        wrapped = task(name=name, task_run_name=name, persist_result=False, cache_policy=NO_CACHE)
        return wrapped(stage)()

    return step


def check_starts() -> None:
    """Raise Mrl4recError where this flow run was started too often."""
    if flow_run.run_count > MOST_STARTS:
        raise Mrl4recError(
            f"this run was started {MOST_STARTS} times, and its process was gone each time",
            where=f"flow run {flow_run.name}",
            todo="see the logs of the machines that ran it (memory?), then start it again",
        )
