"""One run for all the schedules that were missed: whoever starts first takes the others' place.

While nothing served the deployment, its schedule went on, and every missed night is a late run that
waits. A retraining takes in all dumps there are, so the first makes up for all of them.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from uuid import UUID

from mrl4rec.core import lazy

with lazy.imports():
    import prefect.states
    from prefect.client import orchestration
    from prefect.client.schemas import filters, objects
    from prefect.runtime import deployment, flow_run

log = logging.getLogger("mrl4rec")


def take_over() -> int:
    """Cancel the other late runs that this run's deployment was scheduled for; how many.

    Runs that a person asked for wait their turn. Nothing where the run is of no deployment; a
    server that does not answer costs a warning: the late runs then find nothing new.
    """
    if not deployment.id:
        return 0
    try:
        return _cancel_late(UUID(str(deployment.id)), UUID(str(flow_run.id)))
    except Exception as error:  # a courtesy: the lock and the ledger keep results right
        log.warning("late runs of this deployment are left to run: %s", type(error).__name__)
        return 0


def _cancel_late(deployment_id: UUID, me: UUID) -> int:
    late = filters.FlowRunFilter(
        deployment_id=filters.FlowRunFilterDeploymentId(any_=[deployment_id]),
        state=filters.FlowRunFilterState(
            type=filters.FlowRunFilterStateType(any_=[objects.StateType.SCHEDULED])
        ),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    cancelled = 0
    with orchestration.get_client(sync_client=True) as client:
        # Cancelled runs leave the filter, so the first page is always the next one.
        while runs := [r for r in client.read_flow_runs(flow_run_filter=late, limit=200)
                       if r.auto_scheduled and r.id != me]:  # fmt: skip
            for run in runs:
                message = f"missed; made up for by the run {me}"
                client.set_flow_run_state(
                    run.id, prefect.states.Cancelled(message=message), force=True
                )
                cancelled += 1
    if cancelled:
        log.info("%d schedules were missed: this run makes up for all of them", cancelled)
    return cancelled
