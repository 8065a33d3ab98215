"""``mrl4rec up`` for real: servers on free ports, a deployment run, everything ended after."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.server import heartbeat
from flows.server import stack as stack_module
from mrl4rec.core.settings import Settings
from tests.listening import listening, reachable_from_outside


def port_of(link: str) -> int:
    return int(link.rsplit(":", 1)[1])


def ask(url: str) -> Any:
    request = urllib.request.Request(url, b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def test_what_up_starts_listens_on_loopback_and_tells_no_password(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:pa55word@db/mlflow")
    commands = [
        stack_module.prefect_command(4200),
        stack_module.mlflow_command(settings.storage.mlflow_artifacts.as_uri(), 5000),
    ]
    for command in commands:
        assert command[command.index("--host") + 1] == "127.0.0.1"
        assert "pa55word" not in " ".join(command)  # everybody on the machine may read it
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    away = "http://me:pa55word@127.0.0.1:9"
    stack_module._announce("http://127.0.0.1:4200/api", away, "http://127.0.0.1:8300", False)
    said = capsys.readouterr()
    assert "http://me:***@127.0.0.1:9" in said.out
    assert "export NO_PROXY=localhost,127.0.0.1" in said.out  # for what is typed elsewhere
    assert "pa55word" not in said.out + said.err


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str], Path]]:
    dead = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **dead, "PREFECT_HOME": str(tmp_path / "prefect")}
    command = [
        sys.executable,
        "-m",
        "flows.cli",
        "up",
        "--json",
        "--warehouse",
        str(tmp_path / "w"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "up ended before it printed its links"
    yield process, json.loads(line), tmp_path / "w"
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_smoke_deployment_runs_and_everything_ends(
    stack: tuple[subprocess.Popen[str], dict[str, str], Path],
) -> None:
    process, links, warehouse = stack
    assert links.pop("experiments") == {}  # nothing was logged yet
    assert all(link.startswith("http://127.0.0.1:") for link in links.values())
    with urllib.request.urlopen(links["mlflow"] + "/health", timeout=10) as reply:
        assert reply.status == 200
    children = psutil.Process(process.pid).children(recursive=True)
    # Prefect, MLflow and what serves the deployments: none of it can be reached from outside.
    assert {port_of(links[name]) for name in ("prefect", "mlflow", "pages")} <= {
        port for _, port in listening(process.pid)
    }
    assert reachable_from_outside(process.pid) == {}
    automations = ask(f"{links['prefect_api']}/automations/filter")
    assert [one["name"] for one in automations] == [heartbeat.CRASHED]

    small = ["-p", 'methods=["Pop","MRL-M"]', "-p", "epochs=2"]
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "deployment", "run", "mrl4rec/smoke", "--watch", *small],
        env={**os.environ, "PREFECT_API_URL": links["prefect_api"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (warehouse / "report.html").exists()
    found = {a["key"]: a["data"] for a in ask(f"{links['prefect_api']}/artifacts/filter")}
    assert "file:" not in "".join(found.values())
    address = f"{links['pages']}/report.html"
    assert address in found["report"]
    assert links["mlflow"] in found["links"]
    docs = re.search(r"\[Data Docs\]\((http[^)]*)\)", found["gate-reviews"])
    assert docs is not None
    for page in (address, docs[1], f"{links['pages']}/"):
        with urllib.request.urlopen(page, timeout=10) as reply:
            assert reply.headers["Content-Type"].startswith("text/html")

    import mlflow

    runs = mlflow.MlflowClient(links["mlflow"]).search_runs(["0", "1"])
    assert len(runs) == 3  # the benchmark and its two models

    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
