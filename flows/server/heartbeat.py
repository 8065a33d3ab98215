"""Runs that died without a word: a Prefect automation that marks them crashed.

A flow that is killed together with whoever started it stays RUNNING for ever. While it lives it
sends a heartbeat every 30 s; the server looks for those that stopped.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from mrl4rec.core import lazy

with lazy.imports():
    import prefect.automations
    from prefect.client import orchestration
    from prefect.client.schemas import objects

if TYPE_CHECKING:
    pass

log = logging.getLogger("mrl4rec")

NAME = "mrl4rec runs without a heartbeat are crashed"
FLOWS = ("mrl4rec", "mrl4rec-retrain")
"""Only these: other flows on the same server beat when they like."""
HEARTBEAT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
"""Environment of a flow's process: seconds between heartbeats, the least that Prefect takes."""
SILENCE = timedelta(seconds=90)
"""Three heartbeats missed."""


def automation(silence: timedelta = SILENCE) -> prefect.automations.AutomationCore:
    """After a heartbeat another one, or the run's end, is expected within ``silence``."""
    beat = "prefect.flow-run.heartbeat"
    ends = ("Completed", "Failed", "Crashed", "Cancelled")
    return prefect.automations.AutomationCore(
        name=NAME,
        description="Created by `mrl4rec up` and kept as it is in flows/server/heartbeat.py.",
        trigger=prefect.automations.EventTrigger(
            after={beat},
            expect={beat, *(f"prefect.flow-run.{end}" for end in ends)},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={
                "prefect.resource.role": "flow",
                "prefect.resource.name": list(FLOWS),
            },
            for_each={"prefect.resource.id"},
            posture=prefect.automations.Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[
            prefect.automations.ChangeFlowRunState(
                state=objects.StateType.CRASHED,
                message=f"no heartbeat for {silence.total_seconds():g} s: its process is gone",
            )
        ],
    )


def ensure(silence: timedelta = SILENCE) -> None:
    """Create the automation on the server of PREFECT_API_URL, or bring it up to date.

    A server that has no automations costs a warning: stage keys, not Prefect, keep results right.
    """
    try:
        with orchestration.get_client(sync_client=True) as client:
            known = client.read_automations_by_name(NAME)
            for one in known:
                client.update_automation(one.id, automation(silence))
            if not known:
                client.create_automation(automation(silence))
    except Exception as error:
        log.warning("runs that die without a word will stay RUNNING: %s", error)
