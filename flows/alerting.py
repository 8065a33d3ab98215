"""Alerts from the flows: the log line and webhook of ``mrl4rec.core.alerts``, and a Prefect event.

Three calls, and no other place alerts:

- ``@alerts_where_it_fails`` on a gate: whoever calls it, a GateFailed it raises is told once, here.
- ``@flow(…, on_failure=[run_died], on_crashed=[run_died])`` on a flow: a run that died is told,
  but for one that a gate stopped, which was told already.
- ``tell(settings, event, subject, facts)`` for the rest: a refused promotion, a drift warning.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from mrl4rec.core import alerts, lazy
from mrl4rec.core.errors import GateFailed, UsageError
from mrl4rec.core.settings import Settings

with lazy.imports():
    import prefect.events
    import prefect.settings

log = logging.getLogger("mrl4rec.core.alerts")
P = ParamSpec("P")
R = TypeVar("R")


def tell(settings: Settings, event: alerts.Event, subject: str, facts: Mapping[str, Any]) -> None:
    """Alert, and emit the Prefect event ``mrl4rec.<event>`` about the resource
    ``mrl4rec.<subject>`` where a Prefect API is in use. Returns at once and raises nothing.
    """
    told = alerts.send(settings, event, subject, facts)
    _emit(event, subject, told)


def alerts_where_it_fails(gate: Callable[P, R]) -> Callable[P, R]:
    """A gate (with parameters ``dataset`` and ``settings``) that alerts when it raises GateFailed.

    Where a gate could not be run at all it raises GateFailed too, so that is told as well.
    """
    signature = inspect.signature(gate)

    @functools.wraps(gate)
    def alerting(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return gate(*args, **kwargs)
        except GateFailed as error:
            given = signature.bind(*args, **kwargs).arguments
            facts = {"what": error.what, "where": error.where, "todo": error.todo}
            tell(given["settings"], "gate_failed", given["dataset"], facts)
            raise

    return alerting


def run_died(flow: Any, flow_run: Any, state: Any) -> None:
    """Hook for ``on_failure`` and ``on_crashed`` of a Prefect flow.

    Prefect calls it in the flow's process where that lives on, else (killed, out of memory) in the
    process that serves the deployments. Where both are gone, the automation of
    ``flows.server.heartbeat`` marks the run crashed, and nobody calls hooks: the webhook of that
    case is Prefect's to send.
    """
    data = getattr(state, "data", None)
    error = getattr(data, "result", data)
    if isinstance(error, GateFailed | KeyboardInterrupt):
        return  # told where it failed; stopped by hand
    if isinstance(error, UsageError) and flow_run.deployment_id is None:
        return  # the command that was typed says it
    facts = {
        "state": state.name,
        "why": state.message,
        "datasets": flow_run.parameters.get("datasets") or flow_run.parameters.get("dataset"),
        "run_id": str(flow_run.id),
    }
    tell(Settings(), "run_died", f"{flow.name} {flow_run.name}", facts)


def _emit(event: str, subject: str, facts: Mapping[str, Any]) -> None:
    if "prefect" not in sys.modules:
        return
    try:
        if prefect.settings.PREFECT_API_URL.value():
            resource = {
                "prefect.resource.id": f"mrl4rec.{subject}",
                "prefect.resource.name": subject,
            }
            prefect.events.emit_event(f"mrl4rec.{event}", resource, payload=dict(facts))
    except Exception as error:  # as with the webhook: no alert may fail a run
        log.warning("Prefect took no event of alert %s: %s", event, type(error).__name__)
