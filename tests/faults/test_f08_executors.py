"""A Spark cluster of processes whose executors are killed: same rows, same ids."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pyspark
import pytest

from flows.stack import free_port
from mrl4rec.settings import Settings
from tests.faults import scene
from tests.faults.conftest import Undisturbed, settings_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Start = Callable[..., subprocess.Popen[str]]
Note = Callable[[str, object], None]
DEPLOY = "org.apache.spark.deploy"
EXECUTOR = "CoarseGrainedExecutorBackend"
HEAP = {"SPARK_DAEMON_MEMORY": "256m", "SPARK_LOCAL_IP": "127.0.0.1"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """A master and two workers of one core each on loopback; the master's address."""
    spark_class = str(Path(pyspark.__path__[0]) / "bin" / "spark-class")
    port = free_port(7077)
    url = f"spark://127.0.0.1:{port}"
    host = ["--host", "127.0.0.1", "--webui-port", "0"]
    worker = [f"{DEPLOY}.worker.Worker", *host, "--cores", "1", "--memory", "1g", url]
    commands = [[f"{DEPLOY}.master.Master", *host, "--port", str(port)], worker, worker]
    started = []
    for number, command in enumerate(commands):
        work = tmp_path / f"spark-{number}"
        work.mkdir()
        environment = {**os.environ, **HEAP, "SPARK_WORKER_DIR": str(work)}
        with (work / "log").open("wb") as out:
            started.append(
                subprocess.Popen(
                    [spark_class, *command],
                    stdout=out,
                    stderr=out,
                    env=environment,
                    start_new_session=True,
                )
            )
    yield url
    for process in started:
        for one in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def executors(folder: Path) -> list[psutil.Process]:
    """The executors that the workers of this test have started, oldest first."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "create_time"]):
        about = process.info
        if str(folder) in (about["cwd"] or "") and any(EXECUTOR in w for w in about["cmdline"]):
            found.append(process)
    return sorted(found, key=lambda process: process.info["create_time"])


@pytest.mark.fault("F8")
@pytest.mark.parametrize("stage", ["ingest", "kcore", "split"])
def test_f08_an_executor_is_killed(
    stage: str,
    cluster: str,
    undisturbed: Undisturbed,
    tmp_path: Path,
    children: Start,
    record_property: Note,
) -> None:
    """kill -9 of an executor of a Spark cluster as soon as it works for the stage"""
    settings = undisturbed.before(stage, tmp_path / "w")
    lease = settings.dataset_dir(scene.DATASET) / ".leases" / f"{stage}.json"
    on_cluster = {"MRL4REC_SPARK_MASTER": cluster, "MRL4REC_KCORE_DRIVER_PAIRS": "0"}
    again = 0
    run = children(stage, undisturbed.dump, settings, **on_cluster)
    until(lambda: lease.exists() and bool(executors(tmp_path)), run)
    victim = executors(tmp_path)[0]
    until(lambda: victim.cpu_times().user > 3, run)  # it is up, and works
    victim.kill()
    _, err = run.communicate(timeout=300)
    if run.returncode:  # its blocks were lost: the command says so, and is given again
        again = 1
        print(err[-4000:])
        scene.ended(children(stage, undisturbed.dump, settings, **on_cluster))
    finish(settings, undisturbed)
    record_property("came", f"{stage}: same digests" + (" when run again" if again else ""))


def finish(settings: Settings, undisturbed: Undisturbed) -> None:
    scene.run(settings_of(settings.warehouse), undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests


def until(ready: Callable[[], bool], run: subprocess.Popen[str], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert run.poll() is None, run.communicate()[1][-3000:]
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)
