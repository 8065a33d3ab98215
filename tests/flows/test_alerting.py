"""What alerts in the flows: gates that fail, runs that die; heard by a webhook and by Prefect."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from flows import gates
from flows.alerting import alerts_where_it_fails, run_died
from flows.server import heartbeat
from flows.server.services import free_port
from flows.server.stack import prefect_command
from mrl4rec.core import alerts
from mrl4rec.core.errors import GateFailed, UsageError
from mrl4rec.core.settings import Settings
from tests.webhook import TOKEN, Hook, listening


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    with listening() as server:
        monkeypatch.setenv("MRL4REC_ALERT_WEBHOOK", server.address)
        yield server


def test_a_gate_that_fails_is_told_once_and_still_fails(hook: Hook) -> None:
    @alerts_where_it_fails
    def check(dataset: str, commit: int, settings: Settings) -> int:
        if commit < 0:
            raise GateFailed("too few rows", where="reviews version 3", todo="mend it")
        if commit == 0:
            raise UsageError("no such table")
        return commit

    settings = Settings(alert_webhook=SecretStr(hook.address))
    assert check("phones", 7, settings) == 7
    with pytest.raises(UsageError):
        check("phones", 0, settings)
    with pytest.raises(GateFailed, match="too few rows"):
        check("phones", commit=-1, settings=settings)
    assert alerts.flush(10)
    (body,) = hook.got
    assert (body["event"], body["subject"]) == ("gate_failed", "phones")
    assert body["facts"] == {
        "what": "too few rows", "where": "reviews version 3", "todo": "mend it",
    }  # fmt: skip


def test_every_gate_alerts() -> None:
    checks = [getattr(gates, name) for name in gates.__all__ if name.startswith("check_")]
    assert len(checks) >= 5
    for check in checks:
        assert check.__wrapped__.__code__.co_varnames.index("dataset") == 0


class Run:
    name, id, parameters = "brave-fox", "1234", {"datasets": ["phones"]}
    deployment_id: str | None = None


class State:
    def __init__(self, error: BaseException | None) -> None:
        self.name, self.message, self.data = "Failed", str(error), error


class Flow:
    name = "mrl4rec"


def test_a_run_that_a_gate_stopped_is_not_told_twice(hook: Hook) -> None:
    for error in (GateFailed("x"), KeyboardInterrupt(), UsageError("said by the command")):
        run_died(Flow, Run, State(error))
    assert alerts.flush(10)
    assert hook.got == []
    run_died(Flow, Run, State(ValueError("no such column")))
    run_died(Flow, Run, State(None))  # of a run that was killed nothing is known
    assert alerts.flush(10)
    assert [body["subject"] for body in hook.got] == ["mrl4rec brave-fox"] * 2
    assert hook.got[0]["facts"]["why"] == "no such column"
    assert hook.got[0]["facts"]["datasets"] == ["phones"]


def test_wrong_parameters_of_a_deployment_are_told(hook: Hook) -> None:
    class Scheduled(Run):
        deployment_id = "5678"

    run_died(Flow, Scheduled, State(UsageError("no such data set")))
    assert alerts.flush(10)
    assert [body["facts"]["why"] for body in hook.got] == ["no such data set"]


# ---------------------------------------------------------------------- a real Prefect server

SLEEPER = """
import os, sys, time
from flows.alerting import run_died
from prefect import flow

@flow(name=sys.argv[1], on_failure=[run_died], on_crashed=[run_died])
def sleeper():
    print("running", flush=True)
    time.sleep(float(sys.argv[2]))

sleeper()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the API of a Prefect server as `mrl4rec up` starts it."""
    folder = tmp_path_factory.mktemp("prefect")
    port = free_port(42000 + os.getpid() % 1000)
    environment = {**os.environ, "PREFECT_HOME": str(folder), "PREFECT_LOGGING_LEVEL": "ERROR"}
    log = (folder / "log").open("wb")
    process = subprocess.Popen(prefect_command(port), env=environment, stdout=log, stderr=log)
    api = f"http://127.0.0.1:{port}/api"
    try:
        wait_for(lambda: ask(f"{api}/health") is not None, 120)
        yield api
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_for(true: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.3)


def ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except OSError:
        return None


def sleeper(name: str, seconds: float, api: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SLEEPER, name, str(seconds)],
        env={**os.environ, "PREFECT_API_URL": api, **heartbeat.HEARTBEAT, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def states(api: str, flow: str) -> list[str]:
    found = ask(f"{api}/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}})
    return [run["state_type"] for run in found or []]


@pytest.mark.slow
def test_of_runs_killed_without_a_word_ours_are_marked_crashed(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = heartbeat.FLOWS[0], "not-ours"
    code = "from flows.server import heartbeat; from datetime import timedelta\n" \
           "for _ in range(2): heartbeat.ensure(timedelta(seconds=10))"  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PREFECT_API_URL": server}, check=True
    )
    found = ask(f"{server}/automations/filter", {})
    assert [one["name"] for one in found] == [
        heartbeat.CRASHED
    ]  # made once, though asked for twice
    children = [sleeper(ours, 600, server), sleeper(other, 600, server), sleeper(ours, 0, server)]
    assert children[2].wait(120) == 0
    for child in children[:2]:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
    beats = {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}}}
    wait_for(lambda: ask(f"{server}/events/filter", beats)["total"] >= 3, 60)
    for child in children[:2]:
        child.kill()
        child.wait()
    assert sorted(states(server, ours)) == ["COMPLETED", "RUNNING"]
    wait_for(lambda: sorted(states(server, ours)) == ["COMPLETED", "CRASHED"], 60)
    assert states(server, other) == ["RUNNING"]  # how often others beat is not known here


@pytest.mark.slow
def test_a_run_that_dies_is_told_to_the_webhook_and_to_prefect(
    server: str, hook: Hook, tmp_path: Path
) -> None:
    code = (
        "from flows.benchmark import benchmark\n"
        "benchmark(datasets=['planted'], methods=['no-such-method'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PREFECT_API_URL": server, "MRL4REC_WAREHOUSE": str(tmp_path),
             "MRL4REC_ALERT_WEBHOOK": hook.address},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    (body,) = hook.got
    assert body["event"] == "run_died"
    assert body["subject"].startswith("mrl4rec ")
    assert "no-such-method" in body["facts"]["why"]
    assert body["facts"]["datasets"] == ["planted"]
    asked = {"filter": {"event": {"name": ["mrl4rec.run_died"]}}}
    wait_for(lambda: ask(f"{server}/events/filter", asked)["total"] == 1, 30)
    (event,) = ask(f"{server}/events/filter", asked)["events"]
    assert event["payload"] == body["facts"]
    assert event["resource"]["prefect.resource.name"] == body["subject"]
    assert TOKEN not in done.stdout + done.stderr


def test_the_automation_waits_for_three_heartbeats() -> None:
    beat = int(heartbeat.HEARTBEAT["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    assert timedelta(seconds=3 * beat) <= heartbeat.SILENCE
    for one in heartbeat.automations(pools=True):
        related = one.trigger.model_dump()["match_related"]
        assert related[0]["prefect.resource.name"] == list(heartbeat.FLOWS)
        assert one.trigger.within >= heartbeat.SILENCE
