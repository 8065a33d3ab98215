"""Commits whose answer is lost, writers and readers at once, dumps in any order, a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from flows.pipeline import Pipeline
from mrl4rec.errors import GateFailed
from mrl4rec.settings import Settings
from mrl4rec.tables import RESULTS, store
from tests.faults import scene
from tests.faults.conftest import Note, Start, Undisturbed, settings_of

LANDED = {
    "ingest": "kill after jobs.ingest_reviews:commit_rows 1",
    "kcore": "kill after jobs.filter_kcore:_write 3",
    "train": "kill after mrl4rec.model_folder.store:_put 1",
    "evaluate": "kill after mrl4rec.tables.store:_merge 1",
}


@pytest.mark.slow
@pytest.mark.fault("F9")
@pytest.mark.parametrize("stage", LANDED)
def test_f09_the_answer_of_a_commit_is_lost(
    stage: str, undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """kill -9 right after a marker's commit has landed, before anybody hears of it; again"""
    settings = undisturbed.before(stage, tmp_path)
    children(stage, undisturbed.dump, settings, at=LANDED[stage]).killed()
    left = scene.marks(settings)
    scene.run(settings, undisturbed.dump, until=stage)
    assert scene.marks(settings) == left
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", "the retry added no version and no row; same digests")


def by_ids(settings: Settings, dumps: Sequence[Sequence[Path]]) -> dict[str, str]:
    """Digests of reviews, interactions and splits after so many ingests, by external ids alone."""
    ingest, core, split = scene.jobs(settings, *dumps)
    return scene.by_ids(settings, {"reviews": ingest, "interactions": core, "splits": split})


@pytest.mark.fault("F10")
@pytest.mark.usefixtures("spark")
def test_f10_dumps_twice_overlapping_and_out_of_order(
    tmp_path: Path, record_property: Note
) -> None:
    """Two dumps that share a third of their rows: in order; the other way, with a copy of one"""
    lines = sorted(scene.reviews(users=30), key=hash_of)  # a user on both sides of the cut
    parts = {"early": lines[:200], "late": lines[100:], "copy": lines[:200]}
    for name, part in parts.items():
        (tmp_path / f"{name}.json").write_text("\n".join(part) + "\n")
    early, late, copy = (tmp_path / f"{name}.json" for name in parts)
    orders = {"a": [[early], [late]], "b": [[late], [copy, early]]}
    found = [by_ids(settings_of(tmp_path / name), dumps) for name, dumps in orders.items()]
    assert found[0] == found[1]
    kept = DeltaTable(settings_of(tmp_path / "a").table_uri(scene.DATASET, "reviews")).count()
    assert kept == len(set(lines))
    record_property("came", "reviews, interactions and splits the same by external ids")


def hash_of(line: str) -> int:
    return scene.chain(3, len(line), *line.encode()[20:34])


def results(*names: str) -> pa.Table:
    row: dict[str, Any] = {"metric": "recall", "k": 10, "width": None, "dataset": "d",
                           "method": "Pop", "levels": None, "seed": None, "protocol": "clean",
                           "epoch": None, "value": 0.5, "run_id": None}  # fmt: skip
    return pa.Table.from_pylist([row | {"stage_key": n} for n in names], schema=RESULTS.schema)


def keys(uri: str) -> set[str]:
    return set(DeltaTable(uri).to_pyarrow_table(columns=["stage_key"])[0].to_pylist())


@pytest.mark.fault("F11")
def test_f11_a_table_is_overwritten_under_a_writer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, record_property: Note
) -> None:
    """Between a writer's look at a table and its commit, another overwrites it with a row more"""
    uri = settings.table_uri("d", RESULTS.name)
    store.commit_rows(uri, RESULTS, results("old"))
    opened: list[int] = []
    look = store.open_table

    def overtaken(uri: str) -> DeltaTable | None:
        seen = look(uri)
        assert seen is not None
        opened.append(seen.version())
        if len(opened) <= 2:
            write_deltalake(uri, results("old", f"theirs {len(opened)}"), mode="overwrite")
        return seen

    monkeypatch.setattr(store, "open_table", overtaken)
    store.commit_rows(uri, RESULTS, results("ours"))
    assert len(opened) == 3  # two conflicts noticed, the third look was fresh
    assert keys(uri) == {"old", "theirs 2", "ours"}
    record_property("came", "two conflicts noticed, committed on the third snapshot; no row lost")


OVERWRITE = """
import sys
import pyarrow as pa
from deltalake import write_deltalake
for n in range(1, 61):
    rows = pa.table({"n": [n] * 3000, "place": list(range(3000))})
    write_deltalake(sys.argv[1], rows, mode="overwrite", target_file_size=4000)
    print(n, flush=True)
"""


@pytest.mark.fault("F12")
def test_f12_a_reader_during_overwrites(tmp_path: Path, record_property: Note) -> None:
    """A table is overwritten sixty times while it is read, each time with other rows"""
    uri = str(tmp_path / "table")
    write_deltalake(uri, pa.table({"n": [0] * 3000, "place": list(range(3000))}))
    first = DeltaTable(uri)
    writer = subprocess.Popen([sys.executable, "-c", OVERWRITE, uri], stdout=subprocess.PIPE)
    seen = []
    while writer.poll() is None:
        rows = DeltaTable(uri).to_pyarrow_table()
        (n,) = set(rows["n"].to_pylist())
        assert sorted(rows["place"].to_pylist()) == list(range(3000))
        seen.append(n)
    assert writer.returncode == 0
    assert seen == sorted(seen)
    assert len(set(seen)) > 2
    assert set(first.to_pyarrow_table()["n"].to_pylist()) == {0}  # what was opened stays readable
    record_property("came", "each read saw one version, and never an older one than before")


@pytest.mark.slow
@pytest.mark.fault("F16")
def test_f16_a_core_that_empties(
    undisturbed: Undisturbed, tmp_path: Path, record_property: Note
) -> None:
    """A 50-core of users with ten reviews each; then again the core there was"""
    settings = undisturbed.before("done", tmp_path)
    asked = replace(scene.request(undisturbed.dump), kcore=50)
    with pytest.raises(GateFailed, match="core") as caught:
        Pipeline(asked, settings).prepare()
    assert "interactions" in str(caught.value)
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", f"stopped by its gate: {str(caught.value).splitlines()[0]}")


@pytest.mark.slow
@pytest.mark.fault("F17")
def test_f17_one_item_holds_a_tenth_of_all_rows(
    spark: SparkSession, tmp_path: Path, record_property: Note
) -> None:
    """A dump in which every user has reviewed the same item, peeled in memory and on Spark"""
    lines = scene.reviews(users=400, items=90, each=9)
    hot = [line.replace('"asin": "B', '"asin": "HOT') for line in lines[::9]]
    dump = tmp_path / "hot.json"
    dump.write_text("\n".join([*lines, *hot]) + "\n")
    found = []
    for name, pairs in (("memory", 20_000_000), ("spark", 0)):
        settings = settings_of(tmp_path / name, kcore_driver_pairs=pairs)
        scene.jobs(settings, [dump])
        found.append(scene.digests(settings))
    assert found[0] == found[1]
    assert len(hot) * 10 == len(lines) + len(hot)
    record_property("came", "both ways the same core, ids and folds")


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


@pytest.mark.slow
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
    assert "the disk is full" in said
    assert "make room and run the same command again" in said
    assert written(settings) == before
    (disk / "filler").unlink()
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", "the message says so; the version before is readable; again: same")


def written(settings: Settings) -> dict[str, str]:
    """The digests of all that holds rows: a table may have been made and not yet filled."""
    return {name: d for name, d in scene.digests(settings).items() if d != scene.digest([])}


def fill(path: Path, room_kb: int) -> None:
    """Write a file that leaves so much room."""
    free = os.statvfs(path.parent)
    path.write_bytes(b"\0" * (free.f_bavail * free.f_frsize - room_kb * 1024))
