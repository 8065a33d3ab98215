"""A disk that fills while a stage writes, or while what does not fit into memory is spilled."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from tests.faults import scene
from tests.faults.conftest import Note, Start, Undisturbed, settings_of

pytestmark = pytest.mark.slow
FULL, TODO = "the disk is full", "make room and run the same command again"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB: a tmpfs of the test's own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "mrl4rec-test", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk needs `mount -t tmpfs`, for root alone: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


ROOM = {"ingest": 40, "kcore": 20, "split": 8, "train": 12, "evaluate": 8}
"""KB left on the disk when a stage begins: enough to begin, and not to end."""


@pytest.mark.fault("F18")
@pytest.mark.parametrize("stage", scene.STAGES)
def test_f18_the_disk_is_full_while_a_stage_writes(
    stage: str, disk: Path, undisturbed: Undisturbed, children: Start, record_property: Note
) -> None:
    """A stage writes to a disk (tmpfs) with a few KB left; then room is made, and it runs again"""
    settings = undisturbed.before(stage, disk)
    before = written(settings)
    fill(disk / "filler", ROOM[stage])
    said = children(stage, undisturbed.dump, settings).ended(code=1)
    assert FULL in said
    assert TODO in said
    assert written(settings) == before
    (disk / "filler").unlink()
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", CAME)


CAME = "the message says so; the version before is readable; again: same"


@pytest.mark.fault("F18")
def test_f18_the_same_on_spark(
    disk: Path, spark_settings: Settings, undisturbed: Undisturbed, record_property: Note
) -> None:
    """Spark writes a k-core to a disk with a few KB left; then room is made; again on DuckDB"""
    settings = undisturbed.before("kcore", disk)
    before = written(settings)
    fill(disk / "filler", ROOM["kcore"])
    with pytest.raises(Mrl4recError, match=f"(?s){FULL}.*{disk}.*{TODO}"):
        scene.jobs(spark_settings.model_copy(update={"warehouse": disk}), [undisturbed.dump])
    assert written(settings) == before
    (disk / "filler").unlink()
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", CAME)


def written(settings: Settings) -> dict[str, str]:
    """The digests of all that holds rows: a table may have been made and not yet filled."""
    return {name: d for name, d in scene.digests(settings).items() if d != scene.digest([])}


def fill(path: Path, room_kb: int) -> None:
    """Write a file that leaves so much room."""
    free = os.statvfs(path.parent)
    path.write_bytes(b"\0" * (free.f_bavail * free.f_frsize - room_kb * 1024))


SMALL_MEMORY = "0.06"
"""GB of memory of which DuckDB can make do with for the dump below, by spilling 20 MB."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300,000 reviews (65 MB) with ids that do not get smaller."""
    path = tmp_path_factory.mktemp("large") / "large.json"
    with path.open("w") as out:
        for n in range(300_000):
            user = hashlib.sha512(b"%d" % (n // 4)).hexdigest()
            body = {"reviewerID": user, "asin": f"B{n * 7919 % 5003:09d}", "overall": 4.0}
            out.write(json.dumps(body | {"unixReviewTime": 10**9 + n}) + "\n")
    return path


@pytest.mark.fault("F18")
def test_f18_the_disk_is_full_while_memory_is_spilled(
    disk: Path,
    large: Path,
    undisturbed: Undisturbed,
    tmp_path: Path,
    children: Start,
    record_property: Note,
) -> None:
    """Ingest of 65 MB with 60 MB of memory spills to a disk of 8 MB; then to one of 64 MB"""
    settings = undisturbed.before("kcore", disk)
    before = scene.digests(settings)
    said = children("ingest", large, settings, MRL4REC_MEMORY_GB=SMALL_MEMORY).ended(code=1)
    assert f"{FULL}: more than {SMALL_MEMORY} GB of memory was needed, the rest was spilled" in said
    assert f"where: {disk}/.spill/" in said
    assert TODO in said
    assert scene.digests(settings) == before
    assert not list(disk.glob(".spill*"))
    resize(disk, "64m")
    spilled = scene.ingest(settings_of(disk, memory_gb=float(SMALL_MEMORY)), [large])
    elsewhere = undisturbed.before("kcore", tmp_path / "w")
    in_memory = scene.ingest(elsewhere, [large])
    assert reviews(settings, spilled).equals(reviews(elsewhere, in_memory))
    record_property("came", "the message says where the space went; then the same as in memory")


@pytest.mark.fault("F2")
def test_f02_killed_while_memory_is_spilled(
    large: Path, undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """kill -9 of an ingest that spills, as soon as it does; then another dump"""
    settings = settings_of(tmp_path)
    at = f"kill file {tmp_path}/.spill/*/*"
    children("ingest", large, settings, at=at, MRL4REC_MEMORY_GB=SMALL_MEMORY).killed()
    assert list(tmp_path.glob(".spill/*/*"))
    assert scene.digests(settings) == {}
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    assert not list(tmp_path.glob(".spill*"))
    record_property("came", "nothing half-visible, what was spilled is removed; same digests")


def reviews(settings: Settings, commit: Commit) -> pa.Table:
    """The rows of `reviews` in one order."""
    uri = settings.storage.table_uri(scene.DATASET, "reviews")
    rows = DeltaTable(uri, commit.table_version("reviews")).to_pyarrow_table()
    return rows.sort_by([("source_sha256", "ascending"), ("record_no", "ascending")])


def resize(disk: Path, size: str) -> None:
    """Give a disk another size."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)
