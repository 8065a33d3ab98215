"""The schedule of retraining on a real Prefect server: missed nights are made up for once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows import deployments
from flows.retrain import _configured
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from tests.flows import nights

MISSED = 10


def test_without_a_data_set_it_says_what_to_set() -> None:
    with pytest.raises(UsageError, match="MRL4REC_RETRAIN_DATASET"):
        _configured(Settings(), None, None)
    named = Settings(retrain_dataset="d")
    with pytest.raises(UsageError, match="MRL4REC_RETRAIN_DUMPS"):
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


@pytest.mark.slow
@pytest.mark.fault("F7")
@pytest.mark.timeout(1200)
def test_ten_missed_schedules_are_one_run(tmp_path: Path) -> None:
    script = [sys.executable, "-m", "tests.flows.every_second"]
    with nights.server(tmp_path / "prefect", tmp_path / "warehouse", tmp_path / "dumps") as server:
        environment = server.environment
        subprocess.run([*script, "register"], env=environment, check=True, capture_output=True)
        nights.until(lambda: server.states()["SCHEDULED"] >= MISSED, 240)
        with nights.process(script, environment):
            nights.until(lambda: server.states()["CANCELLED"] >= MISSED, 240)
            nights.until(lambda: server.states()["FAILED"] >= 1, 240)
            runs = server.runs()
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
