"""The same dump gives the same tables and vectors, whatever the machine is set to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mrl4rec.core.settings import Settings
from mrl4rec.formats import lines
from mrl4rec.transforms import duckdb_engine, spark_engine
from tests.faults import scene
from tests.faults.conftest import Note, Start, Undisturbed, settings_of

ELSEWHERE = {
    "PYTHONHASHSEED": "12345",
    "TZ": "Asia/Kathmandu",
    "LC_ALL": "tr_TR.UTF-8",
    "LANG": "tr_TR.UTF-8",
    "JAVA_TOOL_OPTIONS": "-Duser.timezone=Asia/Kathmandu -Duser.language=tr -Duser.country=TR",
}
"""A zone that is off by a quarter of an hour, and a language with another lower case of I."""
DATA_TABLES = [table for tables in scene.TABLES.values() for table in tables]
CHUNK = 1 << 20
"""Bytes by which a file is read: it cannot be cut into smaller pieces."""


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """50,000 reviews in four pieces and more, and the tables of one thread that reads it whole."""
    folder = tmp_path_factory.mktemp("pieces")
    dump = folder / "reviews.json"
    dump.write_text("\n".join(scene.reviews(users=5000, items=300)) + "\n")
    assert dump.stat().st_size > 4 * CHUNK
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(duckdb_engine, "CORES", 1)
        return dump, tables(settings_of(folder / "warehouse"), dump)


def tables(settings: Settings, dump: Path) -> dict[str, str]:
    """Digests of the tables of the data stages."""
    scene.jobs(settings, [dump])
    found = scene.digests(settings)
    assert sorted(found) == sorted(DATA_TABLES)
    return found


@pytest.mark.fault("F37")
def test_f37_the_number_of_threads(
    settings: Settings,
    pieces: tuple[Path, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Note,
) -> None:
    """Ingest, k-core and split by seven threads of DuckDB, a dump in pieces, against one thread"""
    dump, expected = pieces
    monkeypatch.setattr(duckdb_engine, "CORES", 7)
    monkeypatch.setattr(lines, "BLOCK_BYTES", CHUNK)
    assert tables(settings, dump) == expected
    record_property("came", "same core, ids and folds")


@pytest.mark.slow
@pytest.mark.fault("F37")
@pytest.mark.parametrize("partitions", [1, 7, 64])
def test_f37_the_number_of_partitions(
    spark_settings: Settings,
    pieces: tuple[Path, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    partitions: int,
    record_property: Note,
) -> None:
    """Ingest, k-core and split on Spark in 1 and 7 partitions of a shuffle, the last two in 64"""
    dump, expected = pieces
    begin, keep = spark_engine.Spark.__init__, spark_engine.Spark._kept
    seen = set()

    def begun(engine: spark_engine.Spark, session: Any) -> None:
        session.conf.set("spark.sql.shuffle.partitions", partitions)
        session.conf.set("spark.sql.adaptive.coalescePartitions.enabled", False)
        begin(engine, session)

    def kept(engine: spark_engine.Spark, name: str, frame: Any) -> Any:
        found = keep(engine, name, frame)
        seen.add(found.rdd.getNumPartitions())
        return found

    monkeypatch.setattr(spark_engine.Spark, "__init__", begun)
    monkeypatch.setattr(spark_engine.Spark, "_kept", kept)
    monkeypatch.setattr(spark_engine, "PART_BYTES", CHUNK if partitions > 1 else 1 << 30)
    if partitions == 64:  # a minute of small tasks, of which ids and folds know nothing
        scene.ingest(settings_of(spark_settings.warehouse), [dump])
    assert tables(spark_settings, dump) == expected
    assert partitions in seen
    record_property("came", "same core, ids and folds")


@pytest.mark.slow
@pytest.mark.fault("F38")
def test_f38_another_hash_seed_locale_and_time_zone(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """All stages in a process with another PYTHONHASHSEED, a Turkish locale and Nepal's time"""
    settings = settings_of(tmp_path)
    children("evaluate", undisturbed.dump, settings, **ELSEWHERE).ended()
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", "same digests of every table, the vectors and the results")


@pytest.mark.slow
@pytest.mark.fault("F38")
def test_f38_the_same_on_spark(
    on_spark: dict[str, str],
    undisturbed: Undisturbed,
    tmp_path: Path,
    children: Start,
    record_property: Note,
) -> None:
    """Ingest, k-core and split on Spark with such settings, of its JVM too"""
    settings = settings_of(tmp_path)
    children("split", undisturbed.dump, settings, **on_spark, **ELSEWHERE).ended()
    found = scene.digests(settings)
    assert found == {table: undisturbed.digests[table] for table in DATA_TABLES}
    record_property("came", "same digests of every table")
