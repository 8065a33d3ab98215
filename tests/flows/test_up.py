"""``mrl4rec up`` for real: servers on free ports, a deployment run, everything ended after."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str], Path]]:
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")}
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


@pytest.mark.timeout(600)
def test_smoke_deployment_runs_and_everything_ends(
    stack: tuple[subprocess.Popen[str], dict[str, str], Path],
) -> None:
    process, links, warehouse = stack
    assert all(link.startswith("http://127.0.0.1:") for link in links.values())
    with urllib.request.urlopen(links["mlflow"] + "/health", timeout=10) as reply:
        assert reply.status == 200
    children = psutil.Process(process.pid).children(recursive=True)

    small = ["-p", 'methods=["Pop","MRL-M"]', "-p", "epochs=2"]
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "deployment", "run", "mrl4rec/smoke", "--watch", *small],
        env={**os.environ, "PREFECT_API_URL": links["prefect_api"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (warehouse / "report.html").exists()

    import mlflow

    runs = mlflow.MlflowClient(links["mlflow"]).search_runs(["0", "1"])
    assert len(runs) == 3  # the benchmark and its two models

    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
