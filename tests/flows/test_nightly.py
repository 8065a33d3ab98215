"""The schedule of retraining on a real Prefect server: missed nights are made up for once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows import deployments
from flows.retrain import _configured
from flows.stack import _prefect_command, free_port
from mrl4rec.errors import UsageError
from mrl4rec.settings import Settings

MISSED = 10


def test_without_a_data_set_it_says_what_to_set() -> None:
    with pytest.raises(UsageError, match="a data set is missing") as caught:
        _configured(Settings(), None, None)
    assert "MRL4REC_RETRAIN_DATASET" in str(caught.value)
    named = Settings(retrain_dataset="d")
    with pytest.raises(UsageError, match="dumps land is missing"):
        _configured(named, None, None)
    both = Settings(retrain_dataset="d", retrain_dumps="/a, /b/*.gz")
    assert _configured(both, None, None) == ("d", ["/a", "/b/*.gz"])
    assert _configured(both, "e", ["/c"]) == ("e", ["/c"])


def test_it_is_scheduled_only_where_a_data_set_is_named() -> None:
    assert "cron" not in deployments.nightly(Settings())
    body = deployments.nightly(Settings(retrain_dataset="d", retrain_cron="5 4 * * *"))
    assert body["cron"] == "5 4 * * *"
    assert body["concurrency_limit"].limit == 1
    assert body["concurrency_limit"].collision_strategy.value == "ENQUEUE"
    assert len(deployments.every(Settings())) == deployments.COUNT


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    """A real server whose scheduler looks often, and not far ahead: its nights are seconds."""
    port = free_port(4300)
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "15",
        "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT5S",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "MRL4REC_WAREHOUSE": str(tmp_path / "warehouse"),
        "MRL4REC_RETRAIN_DATASET": "weekly",
        "MRL4REC_RETRAIN_DUMPS": str(tmp_path / "dumps"),
    }
    (tmp_path / "dumps").mkdir()
    process = subprocess.Popen(
        _prefect_command(port), env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    client = httpx.Client(base_url=environment["PREFECT_API_URL"], timeout=30)
    try:
        _until(lambda: _healthy(client) or process.poll() is not None, 300)
        assert process.poll() is None, "the server ended"
        yield client, environment
    finally:
        client.close()
        _end(process)


@pytest.mark.slow
@pytest.mark.fault("F7")
@pytest.mark.timeout(1200)
def test_ten_missed_schedules_are_one_run(
    server: tuple[httpx.Client, dict[str, str]],
) -> None:
    client, environment = server
    script = [sys.executable, "-m", "tests.flows.every_second"]
    subprocess.run([*script, "register"], env=environment, check=True, capture_output=True)
    _until(lambda: _states(client)["SCHEDULED"] >= MISSED, 240)
    with open(os.devnull, "wb") as nowhere:
        serving = subprocess.Popen(
            script, env=environment, start_new_session=True, stdout=nowhere, stderr=nowhere
        )
    try:
        _until(lambda: _states(client)["CANCELLED"] >= MISSED, 240)
        _until(lambda: _states(client)["FAILED"] >= 1, 240)
        runs = _runs(client)
    finally:
        _end(serving)
    ran = [run for run in runs if run["state_type"] == "FAILED"]
    first = min(ran, key=lambda run: run["start_time"])
    assert "no dump to begin it with" in first["state"]["message"]  # it was ours, and it ran
    # Of all that were due when it began, it alone has run; the others it made up for.
    due = [run for run in runs if run["expected_start_time"] <= first["start_time"]]
    others = [run for run in due if run["id"] != first["id"]]
    assert len(others) >= MISSED
    assert {run["state_type"] for run in others} == {"CANCELLED"}
    assert {run["state"]["message"] for run in others} == {
        f"missed; made up for by the run {first['id']}"
    }


def _healthy(client: httpx.Client) -> bool:
    with suppress(httpx.HTTPError):
        return client.get("/health").status_code == 200
    return False


def _runs(client: httpx.Client) -> list[dict[str, Any]]:
    """The runs that were due, oldest first."""
    due = {"expected_start_time": {"before_": datetime.now(UTC).isoformat()}}
    asked = {"limit": 200, "sort": "EXPECTED_START_TIME_ASC", "flow_runs": due}
    return list(client.post("/flow_runs/filter", json=asked).raise_for_status().json())


def _states(client: httpx.Client) -> Counter[str]:
    return Counter(run["state_type"] for run in _runs(client))


def _until(ready: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.3)


def _end(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
            return
