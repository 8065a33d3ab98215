"""``python -m flows.server.serve``: the process that serves the deployments."""

from __future__ import annotations

from flows.deployments import every
from flows.server import heartbeat
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    import prefect


def serve_all() -> None:
    """Register the deployments with the server of PREFECT_API_URL and run their flow runs."""
    heartbeat.ensure()
    # Not paused when this process ends: a night it did not see is then a late run that waits.
    prefect.serve(
        *every(Settings()), limit=1, pause_on_shutdown=False, print_starting_message=False
    )


if __name__ == "__main__":
    serve_all()
