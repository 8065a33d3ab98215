"""Alerts against a real server on loopback: good, failing, hanging, gone; none holds up a run."""

from __future__ import annotations

import json
import logging
import math
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from mrl4rec.core import alerts
from mrl4rec.core.settings import Settings
from tests.webhook import TOKEN, listening


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(alerts, "BACKOFF", 0.01)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    logging.getLogger("mrl4rec").propagate = True
    caplog.set_level("DEBUG")


def told(address: str | None) -> Settings:
    return Settings(alert_webhook=SecretStr(address) if address else None)


def test_an_alert_is_a_log_line_and_one_post(caplog: pytest.LogCaptureFixture) -> None:
    with listening() as hook:
        facts = {"suite": "reviews", "limit": 0.1, "seen": math.nan, "page": Path("/w/gx")}
        alerts.send(told(hook.address), "gate_failed", "phones", facts)
        assert alerts.flush(10)
    (body,) = hook.got
    assert body.pop("time").startswith("20")
    assert body == {
        "event": "gate_failed",
        "subject": "phones",
        "facts": {"suite": "reviews", "limit": 0.1, "seen": "NaN", "page": "/w/gx"},
    }
    assert "alert gate_failed: phones: suite=reviews, limit=0.1" in caplog.text


def test_without_a_webhook_it_is_a_log_line_alone(caplog: pytest.LogCaptureFixture) -> None:
    alerts.send(told(None), "drift_warning", "phones", {"rows": 3})
    assert "alert drift_warning: phones: rows=3" in caplog.text
    assert alerts.flush(0)


def test_a_server_that_fails_twice_gets_it_the_third_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with listening(500, 503) as hook:
        alerts.send(told(hook.address), "run_died", "mrl4rec", {"why": "killed"})
        alerts.send(told(hook.address), "run_died", "mrl4rec", {"why": "again"})
        assert alerts.flush(10)
    assert [body["facts"]["why"] for body in hook.got] == ["killed"] * 3 + ["again"]
    assert "not delivered" not in caplog.text


@pytest.mark.parametrize(("code", "tries"), [(404, 1), (302, 1), (500, 4), (429, 4)])
def test_it_is_given_up_where_it_cannot_be_delivered(
    code: int, tries: int, caplog: pytest.LogCaptureFixture
) -> None:
    with listening(*[code] * 9) as hook:
        alerts.send(told(hook.address), "run_died", "mrl4rec", {})
        assert alerts.flush(10)
    assert len(hook.got) == tries
    assert "alert run_died was not delivered" in caplog.text
    assert f"HTTP {code}" in caplog.text
    assert TOKEN not in caplog.text


def test_a_server_that_is_down_or_hangs_holds_nobody_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "POST_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        dead = f"http://127.0.0.1:{probe.getsockname()[1]}/{TOKEN}"
    with listening(hang=1.5) as hook:
        before = threading.active_count()
        for address in (dead, hook.address):
            for _ in range(3):
                alerts.send(told(address), "run_died", "mrl4rec", {})
        # Nothing has been waited for: the first of six is still on its way, or being tried again.
        assert not alerts.flush(0)
        assert threading.active_count() <= before + 4
        assert alerts.flush(20)
    assert "NewConnectionError" in caplog.text
    assert "ReadTimeoutError" in caplog.text
    assert TOKEN not in caplog.text


def test_of_too_many_the_newest_are_dropped_and_said_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "MOST_WAITING", 3)
    with listening(hang=0.5) as hook:
        for n in range(9):
            alerts.send(told(hook.address), "run_died", "mrl4rec", {"n": n})
        assert "3 others wait already" in caplog.text
        assert alerts.flush(10)
    assert len(hook.got) in (3, 4)  # three that waited, and the one that was on its way
    # Where the sender took up the first one late, the fourth is the one sent right after.
    assert [body["facts"]["n"] for body in hook.got][:3] == [0, 1, 2]


@pytest.mark.parametrize(
    "address", ["", "hook", "file:///etc/passwd", "http://", f"http://[::1/{TOKEN}",
                f"http://127.0.0.1:port/{TOKEN}", f"http://127.0.0.1:1/{TOKEN} x\n"],
)  # fmt: skip
def test_no_address_and_no_facts_fail_a_run(
    address: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    settings = Settings(alert_webhook=SecretStr(address))
    alerts.send(settings, "run_died", "mrl4rec", {"why": "x"})
    alerts.send(settings, "run_died", "mrl4rec", endless)
    assert alerts.flush(10)
    assert "alert run_died could not be made: ValueError" in caplog.text
    said = caplog.text + repr(settings) + "".join(capsys.readouterr())
    assert TOKEN not in said


def test_facts_without_end_are_cut() -> None:
    with listening() as hook:
        alerts.send(told(hook.address), "run_died", "mrl4rec", {"why": "x" * 100_000})
        assert alerts.flush(10)
    assert len(json.dumps(hook.got[0])) < 2 * alerts.MOST_TEXT


def test_the_end_of_the_process_waits_for_what_is_on_its_way(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from mrl4rec.core import alerts\n"
        "from mrl4rec.core.settings import Settings\n"
        "alerts.send(Settings(), 'run_died', 'mrl4rec', {'why': 'last words'})\n"
    )
    with listening(503) as hook:
        done = subprocess.run(
            [sys.executable, "-c", code], env={"MRL4REC_ALERT_WEBHOOK": hook.address, "PATH": ""},
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [body["facts"]["why"] for body in hook.got] == ["last words"] * 2
    assert TOKEN not in done.stdout + done.stderr


def test_the_secret_is_in_no_representation_of_the_settings() -> None:
    settings = Settings(
        alert_webhook=SecretStr(f"https://hooks.example/{TOKEN}"),
        tracking_uri=f"http://me:{TOKEN}@mlflow.example",
    )
    assert TOKEN not in repr(settings) + str(settings) + f"{settings!r}"
    assert TOKEN not in repr(settings.model_dump()["alert_webhook"])
