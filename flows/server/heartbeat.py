"""Runs that died without a word: Prefect automations that see it, by the heartbeats that stop.

A flow that is killed together with whoever started it stays RUNNING for ever. While it lives it
sends a heartbeat every 30 s; the server looks for those that stopped. A run on a work pool is
scheduled again, and another worker takes it, finds done what was done and goes on; any other run
is marked crashed.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from mrl4rec.core import lazy

with lazy.imports():
    import prefect.automations
    from prefect.client import orchestration
    from prefect.client.schemas import objects

log = logging.getLogger("mrl4rec")

CRASHED = "mrl4rec runs without a heartbeat are crashed"
AGAIN = "mrl4rec runs on work pools without a heartbeat are started again"
FLOWS = ("mrl4rec", "mrl4rec-retrain", "mrl4rec-data", "mrl4rec-train")
"""Only these: other flows on the same server beat when they like."""
HEARTBEAT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
"""Environment of a flow's process: seconds between heartbeats, the least that Prefect takes."""
SILENCE = timedelta(seconds=90)
"""Three heartbeats missed."""
BEAT = "prefect.flow-run.heartbeat"
NEXT = (BEAT, *(f"prefect.flow-run.{state}" for state in
                ("Completed", "Failed", "Crashed", "Cancelled", "AwaitingRetry")))  # fmt: skip
"""One of these follows a heartbeat."""


def automations(silence: timedelta = SILENCE, *, pools: bool) -> list[Any]:
    """Those of a server; ``pools``: it has work pools, whose runs are started again.

    A run is marked crashed later than it would be started again, so where it was, it is not.
    """
    gone = f"no heartbeat for {silence.total_seconds():g} s: its process is gone"
    crash = prefect.automations.ChangeFlowRunState(state=objects.StateType.CRASHED, message=gone)
    if not pools:
        return [_automation(CRASHED, silence, crash)]
    again = prefect.automations.ChangeFlowRunState(
        state=objects.StateType.SCHEDULED, name="AwaitingRetry", message=gone
    )
    return [
        _automation(AGAIN, silence, again, {"prefect.resource.role": "work-pool"}),
        _automation(CRASHED, 2 * silence, crash),
    ]


def _automation(name: str, silence: timedelta, action: Any, *related: dict[str, str]) -> Any:
    of_ours = {"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)}
    return prefect.automations.AutomationCore(
        name=name,
        description="Created by mrl4rec and kept as it is in flows/server/heartbeat.py.",
        trigger=prefect.automations.EventTrigger(
            after={BEAT},
            expect=set(NEXT),
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=[of_ours, *related],
            for_each={"prefect.resource.id"},
            posture=prefect.automations.Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[action],
    )


def ensure(silence: timedelta = SILENCE, *, pools: bool = False) -> None:
    """Create the automations on the server of PREFECT_API_URL, or bring them up to date.

    A server that has no automations costs a warning: stage keys, not Prefect, keep results right.
    """
    try:
        with orchestration.get_client(sync_client=True) as client:
            for wanted in automations(silence, pools=pools):
                known = client.read_automations_by_name(wanted.name)
                for one in known:
                    client.update_automation(one.id, wanted)
                if not known:
                    client.create_automation(wanted)
    except Exception as error:
        log.warning("runs that die without a word will stay RUNNING: %s", error)
