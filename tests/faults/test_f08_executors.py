"""A Spark cluster of processes whose executors are killed: same rows, same ids."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pyspark
import pytest

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.locks import locked
from mrl4rec.core.settings import Settings
from tests.faults import scene
from tests.faults.conftest import Note, Start, Undisturbed, settings_of
from tests.listening import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
DEPLOY = "org.apache.spark.deploy"
EXECUTOR = "CoarseGrainedExecutorBackend"
STAGES = ("ingest", "kcore", "split")
MOST = 4
"""Commands: one, and one more for each stage whose blocks may be lost with its executor."""
STARTED = 3.0
"""Seconds of processor time by which an executor is up."""
HEAP = {"SPARK_DAEMON_MEMORY": "256m", "SPARK_LOCAL_IP": "127.0.0.1"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """A master and two workers of one core each on loopback; the master's address."""
    spark_class = str(Path(pyspark.__path__[0]) / "bin" / "spark-class")
    port = free_port()
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
def test_f08_executors_are_killed(
    cluster: str,
    undisturbed: Undisturbed,
    tmp_path: Path,
    children: Start,
    record_property: Note,
) -> None:
    """kill -9 of a busy executor of a Spark cluster in ingest, in k-core and in split"""
    settings = undisturbed.before("ingest", tmp_path / "w")
    on_cluster = {"MRL4REC_SPARK_MASTER": cluster, "MRL4REC_WAREHOUSE_SHARED": "true"}
    struck: list[str] = []
    commands = 0
    while commands < MOST:
        run = children("split", undisturbed.dump, settings, **on_cluster)
        commands += 1
        while run.process.poll() is None:
            stage = under_way(settings)
            busy = [one for one in executors(tmp_path) if works(one)]
            if busy and stage is not None and stage not in struck:
                busy[0].kill()
                struck.append(stage)
            time.sleep(0.02)
        if run.process.returncode == 0:
            break
        print(run.said()[-3000:])
    assert struck == list(STAGES)
    scene.run(settings_of(settings.warehouse), undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", f"same rows, ids and folds, by {commands} command(s)")


def under_way(settings: Settings) -> str | None:
    """The stage that holds its lock now."""
    return next((name for name in STAGES if not is_free(settings, name)), None)


def is_free(settings: Settings, name: str) -> bool:
    """Whether nobody holds the lock of a stage."""
    try:
        with locked(settings.storage.lock_file(scene.DATASET, name), timeout=0):
            return True
    except Mrl4recError:
        return False


def works(executor: psutil.Process) -> bool:
    """Whether it has come so far as to run tasks."""
    with suppress(psutil.NoSuchProcess):
        return executor.cpu_times().user > STARTED
    return False
