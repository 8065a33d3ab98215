"""A real Prefect server whose nights are seconds, and what it tells of its runs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from flows.server.services import free_port
from flows.server.stack import prefect_command


@dataclass(frozen=True)
class Server:
    """A server that is up."""

    client: httpx.Client
    environment: Mapping[str, str]
    """For processes that are to use it, on the warehouse and dumps of the test."""

    def runs(self) -> list[dict[str, Any]]:
        """The runs that were due, oldest first."""
        due = {"expected_start_time": {"before_": datetime.now(UTC).isoformat()}}
        asked = {"limit": 200, "sort": "EXPECTED_START_TIME_ASC", "flow_runs": due}
        answer = self.client.post("/flow_runs/filter", json=asked).raise_for_status()
        return list(answer.json())

    def states(self) -> Counter[str]:
        """How many of them are in each state."""
        return Counter(run["state_type"] for run in self.runs())


@contextmanager
def server(home: Path, warehouse: Path, dumps: Path) -> Iterator[Server]:
    """A server whose scheduler looks often, and not far ahead."""
    port = free_port(4300)
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "15",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT5S",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "MRL4REC_WAREHOUSE": str(warehouse),
        "MRL4REC_RETRAIN_DATASET": "weekly",
        "MRL4REC_RETRAIN_DUMPS": str(dumps),
    }
    dumps.mkdir(exist_ok=True)
    client = httpx.Client(base_url=environment["PREFECT_API_URL"], timeout=120)
    with client, process(prefect_command(port), environment) as prefect:
        until(lambda: _healthy(client) or prefect.poll() is not None, 300)
        assert prefect.poll() is None, "the server ended"
        yield Server(client, environment)


@contextmanager
def process(
    command: list[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which is ended with all it started."""
    started = subprocess.Popen(
        command, env=dict(environment), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield started
    finally:
        _end(started)


def until(ready: Callable[[], Any], seconds: float) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.3)


def _healthy(client: httpx.Client) -> bool:
    with suppress(httpx.HTTPError):
        return client.get("/health").status_code == 200
    return False


def _end(started: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(started.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            started.wait(15)
            return
