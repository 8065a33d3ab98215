"""A Spark cluster of processes whose executors are killed: same rows, same ids."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import inside
from mrl4rec.core.locks import locked
from mrl4rec.core.settings import Settings
from tests.faults import scene
from tests.faults.conftest import Note, Start, Undisturbed, settings_of
from tests.spark_cluster import SparkCluster, works

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STAGES = ("ingest", "kcore", "split")


@pytest.fixture(params=["object store", "shared folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """An empty warehouse that the executors reach."""
    if request.param == "shared folder":
        return settings_of(tmp_path / "w", warehouse_shared=True)
    lake: Settings = request.getfixturevalue("lake")
    return lake


@pytest.mark.fault("F8", "C4")
@pytest.mark.usefixtures("on_spark")
def test_f08_executors_are_killed(
    place: Settings,
    undisturbed: Undisturbed,
    tmp_path: Path,
    children: Start,
    record_property: Note,
) -> None:
    """kill -9 of a busy executor, where the dump is not, in ingest, in k-core and in split"""
    cluster = SparkCluster(tmp_path, hidden=[undisturbed.dump.parent])
    on_cluster = {"MRL4REC_SPARK_MASTER": cluster.url, "MRL4REC_SPARK_EXECUTOR_MEMORY": "1g",
                  "MRL4REC_WAREHOUSE_SHARED": str(place.warehouse_shared)}  # fmt: skip
    struck: list[str] = []
    try:
        run = children("split", undisturbed.dump, place, **on_cluster)
        while run.process.poll() is None:
            stage = under_way(place)
            busy = [one for one in cluster.executors() if works(one)]
            if busy and stage is not None and stage not in struck:
                busy[0].kill()
                struck.append(stage)
            time.sleep(0.02)
        run.ended()
    finally:
        cluster.end()
    assert struck == list(STAGES)
    assert not inside(place.warehouse, ".spark/**/*")
    scene.run(place, undisturbed.dump)
    assert scene.digests(place) == undisturbed.digests
    record_property("came", "same rows, ids and folds, by one command")


def under_way(settings: Settings) -> str | None:
    """The stage that holds its lock now."""
    return next((name for name in STAGES if not is_free(settings, name)), None)


def is_free(settings: Settings, name: str) -> bool:
    """Whether nobody holds the lock of a stage."""
    lock = settings.storage.lock_file(scene.DATASET, name)
    if not isinstance(lock, Path):
        return not lock.exists()
    try:
        with locked(lock, timeout=0):
            return True
    except Mrl4recError:
        return False
