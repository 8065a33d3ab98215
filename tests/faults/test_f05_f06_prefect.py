"""Prefect's server lost for a minute, and a run cancelled: a real server, worker and processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults import scene
from tests.faults.conftest import Note, Start, Undisturbed
from tests.faults.scene import wait_until
from tests.flows.dumps import WITHOUT_JAVA
from tests.listening import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
AWAY = 60
"""Seconds that Prefect is not to be had."""


class Server:
    """A Prefect server on one port, to be killed and started again."""

    def __init__(self, home: Path, port: int) -> None:
        self.home, self.port = home, port
        self.url = f"http://127.0.0.1:{port}/api"
        self.environment = {"PREFECT_HOME": str(home), "PREFECT_API_URL": self.url}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1",
                   "--port", str(self.port)]  # fmt: skip
        with (self.home / "server.log").open("ab") as out:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=out, start_new_session=True,
                env={**os.environ, "PREFECT_HOME": str(self.home)},
            )  # fmt: skip
        wait_until(lambda: self._process.poll() is None and self.ask("health") is not None)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def ask(self, path: str, body: Any = None) -> Any:
        """The answer of its API; None where it gives none."""
        return scene.ask(f"{self.url}/{path}", body)

    def state(self) -> str:
        """State of the flow run that started last."""
        asked = {"sort": "EXPECTED_START_TIME_DESC", "limit": 1}
        (run,) = self.ask("flow_runs/filter", asked)
        return str(run["state_type"])

    def order(self, parameters: dict[str, Any]) -> str:
        """A run of the deployment ``smoke``; its id."""
        deployment = self.ask("deployments/name/mrl4rec/smoke")["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.ask(f"deployments/{deployment}/create_flow_run", body)["id"])

    def cancel(self, run: str) -> None:
        """What `prefect flow-run cancel` asks for."""
        self.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is up."""
    found = Server(tmp_path_factory.mktemp("prefect"), free_port())
    found.start()
    yield found
    found.kill()


@pytest.fixture
def worker(server: Server, tmp_path: Path) -> Iterator[psutil.Process]:
    """The process that serves the deployments, on a warehouse in ``tmp_path``."""
    settings = {"MRL4REC_WAREHOUSE": str(tmp_path / "w"), **scene.SMALL}
    with (tmp_path / "worker.log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.server.serve"], stdout=out, stderr=out, cwd=scene.ROOT,
            start_new_session=True, env={**os.environ, **server.environment, **settings},
        )  # fmt: skip
    wait_until(lambda: server.ask("deployments/name/mrl4rec/smoke") is not None)
    found = psutil.Process(process.pid)
    yield found
    for one in [*found.children(recursive=True), found]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


@pytest.mark.fault("F5")
def test_f05_prefect_is_away_for_a_minute(
    server: Server,
    undisturbed: Undisturbed,
    tmp_path: Path,
    children: Start,
    record_property: Note,
) -> None:
    """Prefect's server is killed with -9 in a run's training and started again 60 s later"""
    settings = undisturbed.before("train", tmp_path / "w")
    save = "stop after mrl4rec.training.checkpoint:Store.save 5"
    flow = children(
        "run", undisturbed.dump, settings, at=save, MRL4REC_CHECKPOINT_SECONDS="0",
        **server.environment, **WITHOUT_JAVA,
    )  # fmt: skip
    wait_until(flow.is_stopped)
    server.kill()
    flow.send(signal.SIGCONT)
    time.sleep(AWAY)
    assert flow.process.poll() is None  # it waits for Prefect
    server.start()
    flow.ended()
    assert server.state() == "COMPLETED"
    assert scene.digests(settings) == undisturbed.digests | {
        "results": scene.digests(settings)["results"]
    }
    record_property("came", "asked again until it was back; every stage committed once")


AMID = {
    "Spark": ("ingest", lambda seen: any("pyspark.daemon" in name for name in seen)),
    "torchrun": ("train", lambda seen: sum("mrl4rec.training.worker" in n for n in seen) >= 2),
}
"""What runs when the cancel comes → the stage it belongs to, and how its processes look. Spark is
at work when Python decodes for it, in a process of its own.
"""


@pytest.mark.fault("F6")
@pytest.mark.parametrize("what", AMID)
def test_f06_cancelled(
    what: str,
    request: pytest.FixtureRequest,
    server: Server,
    undisturbed: Undisturbed,
    tmp_path: Path,
    worker: psutil.Process,
    record_property: Note,
) -> None:
    """A deployment's run is cancelled by Prefect's API amid a Spark stage and amid torchrun"""
    if what == "Spark":
        request.getfixturevalue("on_spark")
    stage, running = AMID[what]
    undisturbed.before(stage, tmp_path / "w")
    asked = scene.request(undisturbed.dump).parameters()
    taken = ("source", "kcore", "methods", "levels", "overrides", "as_of", "device")
    parameters = {name: asked[name] for name in taken}
    parameters |= {"datasets": [scene.DATASET], "seeds": [0], "devices": 2, "epochs": 100_000}
    parameters["overrides"] = [*parameters["overrides"], "MRL-M.patience=100000"]
    run = server.order(parameters)
    wait_until(lambda: running([" ".join(words) for words in commands(worker)]))
    below = worker.children(recursive=True)
    server.cancel(run)
    began = time.monotonic()
    wait_until(lambda: server.state() == "CANCELLED")
    noticed = time.monotonic() - began
    _, alive = psutil.wait_procs(below, timeout=10)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    gone = time.monotonic() - began
    record_property("came", f"{what}: cancelled after {noticed:.0f} s, all gone after {gone:.0f} s")


def commands(worker: psutil.Process) -> Iterator[list[str]]:
    for process in worker.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            yield process.cmdline()
