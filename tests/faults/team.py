"""`mrl4rec up --team --isolate` for tests: its servers, runs ordered from it, and its processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import s3fs

from mrl4rec.core.settings import Settings
from tests.faults import scene

ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
SOURCE = "s3://lake/dumps/reviews.json"


class Team:
    """A stack on a folder of its own; its environment is this process's while it is open."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "up.log"
        command = [sys.executable, "-m", "flows.cli", "up", "--team", "--isolate", "--json",
                   "--folder", str(folder / "team")]  # fmt: skip
        own = {"PREFECT_HOME": str(folder / "prefect"), **scene.SMALL,
               "MRL4REC_CHECKPOINT_SECONDS": "0"}  # fmt: skip
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, cwd=folder, text=True,
                env=os.environ | own, start_new_session=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.told = json.loads(line)
        self.api = self.told["links"]["Prefect"] + "/api"

    def environment(self) -> dict[str, str]:
        """What the file for other terminals sets."""
        command = ["sh", "-c", f". {self.told['environment']} && env -0"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        pairs = dict(line.partition("=")[::2] for line in said.split("\0") if line)
        return {n: v for n, v in pairs.items() if os.environ.get(n) != v and n != "_"}

    def end(self) -> None:
        """End it, and kill what it leaves."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(90)
        for one in below:
            with suppress(psutil.NoSuchProcess):
                one.kill()

    # ------------------------------------------------------------------ Prefect

    def ask(self, path: str, body: Any = None) -> Any:
        """The answer of Prefect's API; None where it gives none."""
        return scene.ask(f"{self.api}/{path}", body)

    def order(self, dataset: str, **changes: Any) -> str:
        """A run of the deployment ``smoke`` on the scene's dump; its id."""
        asked = scene.request(Path("unused"), dataset=dataset).parameters()
        taken = ("kcore", "methods", "levels", "overrides", "as_of", "device", "epochs", "seeds")
        parameters = {name: asked[name] for name in taken}
        parameters |= {"datasets": [dataset], "source": [SOURCE], **changes}
        deployment = self.ask("deployments/name/mrl4rec/smoke")["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.ask(f"deployments/{deployment}/create_flow_run", body)["id"])

    def state(self, run: str) -> str:
        """The type of a run's state; empty where the server does not answer."""
        found = self.ask(f"flow_runs/{run}")
        return "" if found is None else str(found["state_type"])

    def stages(self, run: str) -> list[dict[str, Any]]:
        """The runs that a benchmark started."""
        of_it = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}
        return self.ask("flow_runs/filter", of_it) or []

    def until(self, run: str, ready: Callable[[], object], seconds: float = 600) -> None:
        """Wait until something holds; the run must not end before."""

        def look() -> bool:
            state = self.state(run)
            assert state not in ENDS, self.ask(f"flow_runs/{run}")["state"]
            return bool(ready())

        scene.wait_until(look, seconds)

    def completed(self, run: str, seconds: float = 900) -> None:
        """Wait until it has ended, which must be well."""
        scene.wait_until(lambda: self.state(run) in ENDS, seconds)
        assert self.state(run) == "COMPLETED", self.ask(f"flow_runs/{run}")["state"]

    # ---------------------------------------------------------------- processes

    def service(self, words: str) -> psutil.Process:
        """The process of the stack whose command holds these words."""
        for process in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):  # one that has just ended
                if words in " ".join(process.cmdline()):
                    return process
        raise AssertionError(f"no process {words}")

    def machine(self, run: str) -> psutil.Process:
        """The worker below which a flow run's process is."""
        for process in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                if " worker start" in " ".join(process.cmdline()) and _runs(process, run):
                    return process
        raise AssertionError(f"nobody runs {run}")


def kill(process: psutil.Process) -> None:
    """kill -9 of a process and all below it, at once as the machine would go."""
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def put_dump(dump: Path) -> None:
    """Copy a dump to where the runs read it."""
    s3fs.S3FileSystem().put_file(str(dump), SOURCE)


def settings() -> Settings:
    """Those of somebody in another terminal, whose data stages would run on DuckDB."""
    return Settings(data_engine="duckdb")


def _runs(worker: psutil.Process, run: str) -> bool:
    for process in worker.children(recursive=True):
        with suppress(psutil.Error):
            if run in process.environ().get("PREFECT__FLOW_RUN_ID", ""):
                return True
    return False
