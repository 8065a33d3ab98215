"""Spark on other machines and in an object store: races of drivers, executors that never come."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from mrl4rec.core.files import inside
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import LostRace
from mrl4rec.core.storage import read_table, table_at
from mrl4rec.tables import USERS, store, versions
from tests.conftest import ROOT
from tests.faults import scene, spark_appends
from tests.object_store import KEYS, ObjectStore
from tests.spark_cluster import SparkCluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.usefixtures("on_spark")]
COMMITS = 50
Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begin(lake: Settings) -> Iterator[Begin]:
    """Starts a module of the tests in a process of its own, on the warehouse."""
    started: list[subprocess.Popen[str]] = []

    def start(module: str, *words: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", module, str(lake.warehouse), *words]
        variables = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", **environment}
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(command, cwd=ROOT, env=variables, stdout=pipe, stderr=pipe, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.fault("C3")
def test_c03_two_drivers_and_a_writer_on_one_table(lake: Settings, begin: Begin) -> None:
    """Two Spark drivers and a delta-rs writer make 50 commits each on one table at once"""
    versions.create(lake, spark_appends.DATASET, USERS.name)
    uri = lake.storage.table_uri(spark_appends.DATASET, USERS.name)
    small = {"MRL4REC_SPARK_MASTER": "local[1]", "MRL4REC_SPARK_MEMORY": "1g"}
    names = ("one", "other")
    module = spark_appends.__name__
    drivers = [begin(module, name, str(COMMITS), environment=small) for name in names]
    scene.wait_until(lambda: table_at(uri).version() > 0)
    for n in range(COMMITS):
        row = pa.table({"user_idx": [n], "user_id": [f"writer {n}"]}, schema=USERS.schema)
        while True:
            try:
                store.append_rows(uri, row, "{}", table_at(uri).version())
                break
            except LostRace:
                time.sleep(0.01)
    for driver in drivers:
        out, err = driver.communicate(timeout=600)
        assert driver.returncode == 0, err[-3000:]
        print("races lost:", out)
    end = table_at(uri)
    assert end.version() == 3 * COMMITS
    ids = read_table(end)["user_id"].to_pylist()
    assert sorted(ids) == sorted(
        f"{name} {n}" for name in (*names, "writer") for n in range(COMMITS)
    )


@pytest.mark.fault("C5")
def test_c05_an_executor_larger_than_any_worker(
    tmp_path: Path, lake: Settings, object_store: ObjectStore
) -> None:
    """An executor larger than any worker is asked for"""
    cluster = SparkCluster(tmp_path)
    dump = scene.dump(tmp_path / "reviews.json")
    asked = {"MRL4REC_SPARK_MASTER": cluster.url, "MRL4REC_SPARK_EXECUTOR_MEMORY": "3g",
             "SPARK_LOCAL_IP": "127.0.0.1", "MRL4REC_WAREHOUSE": str(lake.warehouse)}  # fmt: skip
    command = [sys.executable, "-m", "jobs.ingest", "--dataset", "d", "--source", str(dump)]
    try:
        time.sleep(5)  # the workers have registered
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **asked},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - began
    finally:
        cluster.end()
    said = json.loads(done.stdout)["error"]
    print(said, f"{seconds:.0f} s")
    assert seconds < 60
    assert "3072 MiB" in said
    assert said.count("127.0.0.1: 1 cores, 1024 MiB") == 2
    assert not lake.storage.has_table("d", "reviews")


def test_executors_have_a_packed_python_and_keys_that_nobody_sees(
    tmp_path: Path, lake: Settings, begin: Begin
) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexport PACKED=yes\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as packed:
        packed.add(python, "bin/python")
    python.unlink()
    without = dict.fromkeys(KEYS, "")
    cluster = SparkCluster(tmp_path, workers=1, environment=without)
    asked = {"MRL4REC_SPARK_MASTER": cluster.url, "MRL4REC_SPARK_EXECUTOR_MEMORY": "1g",
             "MRL4REC_SPARK_ARCHIVE": str(tmp_path / "packed.tar.gz")}  # fmt: skip
    secret = KEYS["AWS_SECRET_ACCESS_KEY"]
    try:
        driver = begin("tests.faults.spark_shows", secret, "spark.archives", environment=asked)
        out, err = driver.communicate(timeout=600)
        logs = cluster.logs()
    finally:
        cluster.end()
    assert driver.returncode == 0, err[-3000:]
    told = json.loads(out)
    assert told["rows"] == 500
    assert told["shown"] == ["spark.archives"]  # that pages were looked at
    assert told["packed"] == "yes"
    assert secret not in logs + err
    assert not inside(lake.warehouse, ".spark/**/*")
