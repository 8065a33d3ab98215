"""Commits whose answer is lost, dumps in any order or damaged, a reader during overwrites."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from flows.pipeline import Pipeline
from mrl4rec.core.errors import GateFailed, Mrl4recError
from mrl4rec.core.settings import Settings
from tests.faults import scene
from tests.faults.conftest import Note, Start, Undisturbed, settings_of

LANDED = {
    "ingest": "kill after mrl4rec.tables.store:append_rows 1",
    "kcore": "kill after jobs.common:Tables.replace 3",
    "train": "kill after mrl4rec.models.model_folder.store:_put 1",
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


def in_two_orders(folder: Path, one: Settings, other: Settings, then: Settings) -> None:
    """Two overlapping dumps into one warehouse; into another the later one, then a copy of both."""
    lines = sorted(scene.reviews(users=30), key=hash_of)  # a user on both sides of the cut
    parts = {"early": lines[:200], "late": lines[100:], "copy": lines[:200]}
    for name, part in parts.items():
        (folder / f"{name}.json").write_text("\n".join(part) + "\n")
    early, late, copy = (folder / f"{name}.json" for name in parts)
    scene.jobs(other, [late])
    assert scene.ids_after(one, [early], [late]) == scene.ids_after(then, [copy, early])
    kept = DeltaTable(one.storage.table_uri(scene.DATASET, "reviews")).count()
    assert kept == len(set(lines))


@pytest.mark.fault("F10")
def test_f10_dumps_twice_overlapping_and_out_of_order(
    settings: Settings, tmp_path: Path, record_property: Note
) -> None:
    """Two dumps that share a third of their rows: in order; the other way, with a copy of one"""
    other = settings_of(tmp_path / "other")
    in_two_orders(tmp_path, settings, other, other)
    record_property("came", "reviews, interactions and splits the same by external ids")


@pytest.mark.fault("F10")
def test_f10_the_same_on_spark(
    settings: Settings, spark_settings: Settings, tmp_path: Path, record_property: Note
) -> None:
    """The same dumps: in order on DuckDB; the other way, the first on DuckDB, then on Spark"""
    other = settings_of(spark_settings.warehouse)
    in_two_orders(tmp_path, settings, other, spark_settings)
    record_property("came", "reviews, interactions and splits the same by external ids")


def hash_of(line: str) -> int:
    return scene.chain(3, len(line), *line.encode()[20:34])


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


def damaged(folder: Path) -> dict[str, Path]:
    """What is said of it → a file: gzip cut off, gzip with a byte flipped, and a binary one."""
    packed = gzip.compress("\n".join(scene.reviews(users=300)).encode())
    middle = len(packed) // 2
    flipped = bytes([packed[middle] ^ 255])
    files = {
        "cut off": ("cut.json.gz", packed[:middle]),
        "damaged": ("flipped.json.gz", packed[:middle] + flipped + packed[middle + 1 :]),
        "binary": ("binary.json", bytes(range(256)) * 100),
    }
    for name, content in files.values():
        (folder / name).write_bytes(content)
    return {said: folder / name for said, (name, _) in files.items()}


def refused_and_counted(folder: Path, settings: Settings, undisturbed: Undisturbed) -> None:
    """Damaged files leave the tables alone; broken lines are quarantined and none is lost."""
    before = scene.digests(undisturbed.before("kcore", settings.warehouse))
    for said, path in damaged(folder).items():
        with pytest.raises(Mrl4recError, match=said) as caught:
            scene.ingest(settings, [path])
        assert str(path) in str(caught.value)
    assert scene.digests(settings) == before
    half = folder / "half.json"
    lines = scene.reviews(users=20)
    half.write_bytes(
        "\n".join([*lines[:150], lines[0], lines[150][:60]]).encode() + b"\n\xc3\x28\n"
    )
    total = scene.ingest(settings, [half]).summary["total"]
    counts = [total[f"rows_{name}"] for name in ("read", "accepted", "duplicate", "quarantined")]
    assert counts == [153, 0, 151, 2]
    kept = DeltaTable(settings.storage.table_uri(scene.DATASET, "quarantine")).to_pyarrow_table()
    assert sorted(kept["rule"].to_pylist()) == [*["not_json"] * 2, *["not_utf8"] * 2, RANGE]


RANGE = "rating_out_of_range"
REFUSED = (
    "refused with file and reason, tables as before; read = accepted + duplicate + quarantined"
)


@pytest.mark.fault("F14")
def test_f14_damaged_dumps(
    settings: Settings, undisturbed: Undisturbed, tmp_path: Path, record_property: Note
) -> None:
    """A gzip cut off, one with a byte flipped, a binary .json; half a line and bytes not UTF-8"""
    refused_and_counted(tmp_path, settings, undisturbed)
    record_property("came", REFUSED)


@pytest.mark.slow
@pytest.mark.fault("F14")
def test_f14_the_same_on_spark(
    spark_settings: Settings, undisturbed: Undisturbed, tmp_path: Path, record_property: Note
) -> None:
    """Such a gzip, binary file, half a line and bytes not UTF-8, decoded by Spark"""
    refused_and_counted(tmp_path, spark_settings, undisturbed)
    record_property("came", REFUSED)


@pytest.mark.slow
@pytest.mark.fault("F16")
def test_f16_a_core_that_empties(
    undisturbed: Undisturbed, tmp_path: Path, record_property: Note
) -> None:
    """A 50-core of users with ten reviews each; then again the core there was"""
    settings = undisturbed.before("done", tmp_path)
    asked = scene.request(undisturbed.dump, kcore=50)
    with pytest.raises(GateFailed, match="core") as caught:
        Pipeline(asked, settings).prepare()
    assert "interactions" in str(caught.value)
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", f"stopped by its gate: {str(caught.value).splitlines()[0]}")


@pytest.mark.slow
@pytest.mark.fault("F17")
def test_f17_one_item_holds_a_tenth_of_all_rows(
    spark_settings: Settings, tmp_path: Path, record_property: Note
) -> None:
    """A dump in which every user has reviewed the same item, peeled by DuckDB and by Spark"""
    lines = scene.reviews(users=400, items=90, each=9)
    hot = [line.replace('"asin": "B', '"asin": "HOT') for line in lines[::9]]
    dump = tmp_path / "hot.json"
    dump.write_text("\n".join([*lines, *hot]) + "\n")
    found = []
    for settings in (settings_of(tmp_path / "duckdb"), spark_settings):
        scene.jobs(settings, [dump])
        found.append(scene.digests(settings))
    assert found[0] == found[1]
    assert len(hot) * 10 == len(lines) + len(hot)
    record_property("came", "both ways the same core, ids and folds")
