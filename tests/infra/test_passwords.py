"""Prefect and MLflow as compose starts them: without the password 401, with it 200."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.infra.composed import INFRA, composed, example
from tests.listening import free_port, reachable_from_outside

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

GIVEN = example(INFRA / ".env.example")
SERVICES = composed()["services"]
PATIENCE = 600.0
"""Seconds for a server to answer on a busy machine."""


@contextmanager
def served(name: str, folder: Path, stores: dict[str, str]) -> Iterator[str]:
    """The address of a service of the compose file, run as a process on a port of loopback, with
    its own command and environment; ``stores`` stand in for its database.
    """
    service, port = SERVICES[name], free_port()
    words = ["127.0.0.1" if word == "0.0.0.0" else word for word in service["command"]]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words, "--port", str(port)], stdout=log, stderr=log, cwd=folder,
            env=os.environ | service["environment"] | stores | {"HOME": str(folder)},
            start_new_session=True,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE
        while status(f"{address}{'/api' if name == 'prefect' else ''}/health") != 200:
            assert process.poll() is None, (folder / f"{name}.log").read_text()
            assert time.monotonic() < deadline, f"{name} does not answer"
            time.sleep(0.5)
        assert not reachable_from_outside(process.pid)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def status(url: str, person: str | None = None, **headers: str) -> int:
    """What a server answers to a GET, or with a body to a POST; 0: nothing."""
    body = b"{}" if url.endswith("/filter") else None
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    if person is not None:
        token = base64.b64encode(person.encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_prefect_asks_for_the_password(tmp_path: Path) -> None:
    database = f"sqlite+aiosqlite:///{tmp_path}/prefect.db"
    with served("prefect", tmp_path, {"PREFECT_API_DATABASE_CONNECTION_URL": database}) as address:
        flows = f"{address}/api/flows/filter"
        assert status(flows) == 401
        assert status(flows, "mrl4rec:wrong") == 401
        assert status(flows, GIVEN["PREFECT_AUTH"]) == 200


def test_mlflow_asks_for_the_password_and_for_its_own_name(tmp_path: Path) -> None:
    users = (INFRA / "images" / "mlflow-auth.ini").read_text()
    mine = tmp_path / "auth.ini"
    mine.write_text(users.replace("postgresql://", f"sqlite:///{tmp_path}/users.db"))
    stores = {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path}/mlflow.db",
              "MLFLOW_AUTH_CONFIG_PATH": str(mine)}  # fmt: skip
    person = f"{GIVEN['MLFLOW_ADMIN']}:{GIVEN['MLFLOW_PASSWORD']}"
    with served("mlflow", tmp_path, stores) as address:
        runs = f"{address}/api/2.0/mlflow/experiments/search?max_results=1"
        artifacts = f"{address}/api/2.0/mlflow-artifacts/artifacts"
        for url in (runs, artifacts):
            assert status(url) == 401
            assert status(url, f"{GIVEN['MLFLOW_ADMIN']}:wrong") == 401
        assert status(runs, person) == 200
        assert status(runs, person, Host="mlflow:5000") == 200  # as workers call it
        assert status(runs, person, Host="elsewhere:5000") == 403
