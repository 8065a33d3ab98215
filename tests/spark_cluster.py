"""A Spark cluster of the tests' own on loopback: a standalone master, and workers as on machines of
their own.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pyspark

from tests.listening import free_port

DEPLOY = "org.apache.spark.deploy"
EXECUTOR = "CoarseGrainedExecutorBackend"
ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {"SPARK_DAEMON_MEMORY": "256m", "SPARK_LOCAL_IP": "127.0.0.1",
               "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}  # fmt: skip
STARTED = 3.0
"""Seconds of processor time by which an executor is up."""


class SparkCluster:
    """A master, and so many workers of one core and 1 GiB; ``folder`` is for what they write.

    Workers see other, empty folders in place of those that are ``hidden``.
    """

    def __init__(
        self, folder: Path, *, workers: int = 2, hidden: Sequence[Path] = (),
        environment: Mapping[str, str] = {},
    ) -> None:  # fmt: skip
        self.folder = folder
        port = free_port()
        self.url = f"spark://127.0.0.1:{port}"
        host = ["--host", "127.0.0.1", "--webui-port", "0"]
        worker = [f"{DEPLOY}.worker.Worker", *host, "--cores", "1", "--memory", "1g", self.url]
        self._started = [
            self._start("master", [f"{DEPLOY}.master.Master", *host, "--port", str(port)])
        ]
        for number in range(workers):
            self._started.append(self._start(f"worker-{number}", worker, hidden, environment))

    def _start(
        self, name: str, command: Sequence[str], hidden: Sequence[Path] = (),
        environment: Mapping[str, str] = {},
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        work = self.folder / f"spark-{name}"
        work.mkdir(parents=True)
        asked = [str(Path(pyspark.__path__[0]) / "bin" / "spark-class"), *command]
        if hidden:
            mounts = [f"mount -t tmpfs tmpfs {shlex.quote(str(path))} && " for path in hidden]
            asked = ["unshare", "-m", "sh", "-c", "".join(mounts) + f"exec {shlex.join(asked)}"]
        with (work / "log").open("wb") as out:
            return subprocess.Popen(
                asked,
                stdout=out,
                stderr=out,
                env={**os.environ, **ENVIRONMENT, "SPARK_WORKER_DIR": str(work), **environment},
                start_new_session=True,
            )

    def executors(self) -> list[psutil.Process]:
        """Those that the workers have started, oldest first."""
        found = []
        for process in psutil.process_iter(["cmdline", "cwd", "create_time"]):
            about = process.info
            if str(self.folder) in (about["cwd"] or "") and any(
                EXECUTOR in word for word in about["cmdline"] or []
            ):
                found.append(process)
        return sorted(found, key=lambda process: process.info["create_time"])

    def logs(self) -> str:
        """What the executors have written."""
        written = self.folder.glob("spark-worker-*/**/std*")
        return "".join(path.read_text(errors="replace") for path in written)

    def end(self) -> None:
        """kill -9 of the master, the workers and all that they have started."""
        for process in self._started:
            with suppress(psutil.NoSuchProcess):
                for one in psutil.Process(process.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        one.kill()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def works(executor: psutil.Process) -> bool:
    """Whether it has come so far as to run tasks."""
    with suppress(psutil.NoSuchProcess):
        return executor.cpu_times().user > STARTED
    return False
