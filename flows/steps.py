"""Stages as Prefect tasks: each has its page, with what a person looks for there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows import artifacts
from flows.pipeline import Step
from mrl4rec.core.settings import Settings


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
