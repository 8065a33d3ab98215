"""Others commit to a table while it is written: noticed, and no row lost or there twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql.readwriter import DataFrameWriter

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import TRIES, LostRace
from mrl4rec.tables import RESULTS, TABLES, store
from mrl4rec.transforms import duckdb_engine
from tests.faults import scene
from tests.faults.conftest import Note, Undisturbed, settings_of


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
    uri = settings.storage.table_uri("d", RESULTS.name)
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


class Rival:
    """Appends rows of nobody's to a stage's tables, right before the stage commits to them."""

    def __init__(self, tables: Sequence[str]) -> None:
        self.tables = list(tables)

    def strike(self, uri: str) -> None:
        """Append a row, if this table is among those that are left."""
        name = Path(uri).name
        if name in self.tables:
            self.tables.remove(name)
            row = {c.name: NOTHING[c.type] for c in TABLES[name].schema}
            rows = pa.Table.from_pylist([row], schema=TABLES[name].schema)
            write_deltalake(uri, rows, mode="append")

    def strike_amid(self, uri: str, save: Callable[[], None]) -> None:
        """The same when the first file of what Spark saves is there, and its commit is not."""

        def files() -> set[Path]:
            return set(Path(uri).glob("*.parquet"))

        def watch() -> None:
            scene.wait_until(lambda: over.is_set() or files() != before)
            self.strike(uri)

        before, over = files(), threading.Event()
        thread = threading.Thread(target=watch)
        thread.start()
        try:
            save()
        finally:
            over.set()
            thread.join()


NOTHING = {
    pa.string(): "nobody's", pa.int32(): 0, pa.int64(): 0, pa.float64(): 1.0,
    pa.timestamp("us", tz="UTC"): datetime(2001, 1, 1, tzinfo=UTC),
}  # fmt: skip
RACES = (["reviews", "sources", "users", "interactions", "splits"], ["quarantine", "items"])
"""Tables of which another writes a version while their stage runs."""


@pytest.fixture
def rival(monkeypatch: pytest.MonkeyPatch) -> Rival:
    """Another writer, once it is given tables; on either engine."""
    found = Rival([])

    def late(delta: DeltaTable, *args: Any, **kwargs: Any) -> None:
        found.strike(delta.table_uri)
        write_deltalake(delta, *args, **kwargs)

    monkeypatch.setattr(duckdb_engine, "write_deltalake", late)
    monkeypatch.setattr(store, "write_deltalake", late)
    save = DataFrameWriter.save

    def amid(writer: DataFrameWriter, uri: str) -> None:
        found.strike_amid(uri, lambda: save(writer, uri))

    monkeypatch.setattr(DataFrameWriter, "save", amid)
    return found


def raced(
    rival: Rival,
    settings: Settings,
    undisturbed: Undisturbed,
    tables: Sequence[str],
    peel: Settings | None = None,
) -> None:
    """Run the data stages while a rival writes to these tables: as if it had not."""
    rival.tables = list(tables)
    scene.jobs(settings, [undisturbed.dump], peel=peel)
    assert rival.tables == []
    found = scene.digests(settings)
    assert found == {table: undisturbed.digests[table] for table in found}
    assert set(found) == {table for tables in scene.TABLES.values() for table in tables}


@pytest.mark.fault("F11")
@pytest.mark.parametrize("tables", RACES)
def test_f11_a_table_is_written_to_while_its_stage_runs(
    tables: list[str],
    rival: Rival,
    settings: Settings,
    undisturbed: Undisturbed,
    record_property: Note,
) -> None:
    """Between a stage's look at a table and its commit, another appends a row, once or twice"""
    raced(rival, settings, undisturbed, tables)
    record_property("came", "noticed, the stage was run again; nothing of it twice, no foreign row")


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_f11_the_same_on_spark(
    rival: Rival, spark_settings: Settings, undisturbed: Undisturbed, record_property: Note
) -> None:
    """Another appends a row while Spark writes: it appends to `reviews`, overwrites `splits`"""
    duckdb = settings_of(spark_settings.warehouse)
    raced(rival, spark_settings, undisturbed, ["reviews", "splits"], peel=duckdb)
    record_property("came", "noticed, the stage was run again; nothing of it twice, no foreign row")


@pytest.mark.fault("F11")
def test_f11_a_stage_that_loses_every_race(
    rival: Rival, settings: Settings, undisturbed: Undisturbed, record_property: Note
) -> None:
    """Another appends a row three times, whenever ingest is about to write"""
    rival.tables = ["reviews"] * TRIES
    with pytest.raises(LostRace, match="then run the same command again"):
        scene.jobs(settings, [undisturbed.dump])
    assert scene.digests(settings) == {}
    raced(rival, settings, undisturbed, [])
    record_property("came", "ended with the reason, nothing half-visible; again: same")


@pytest.mark.fault("F11")
def test_f11_another_dump_is_taken_in_meanwhile(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Note
) -> None:
    """While a dump is decoded, another process that takes no lock takes in another dump"""
    lines = scene.reviews(users=20)
    dumps = [tmp_path / "ours.json", tmp_path / "theirs.json"]
    for number, dump in enumerate(dumps):
        dump.write_text("\n".join(lines[number * 50 : number * 50 + 150]) + "\n")
    decode = duckdb_engine.DuckDB.decode

    def slowly(*args: Any) -> None:
        decode(*args)
        monkeypatch.setattr(duckdb_engine.DuckDB, "decode", decode)
        scene.jobs(settings, [dumps[1]])

    monkeypatch.setattr(duckdb_engine.DuckDB, "decode", slowly)
    found = scene.ids_after(settings, [dumps[0]])
    other = settings_of(tmp_path / "other")
    assert found == scene.ids_after(other, [dumps[1]], [dumps[0]])
    assert DeltaTable(settings.storage.table_uri(scene.DATASET, "reviews")).count() == len(
        set(lines)
    )
    record_property("came", "noticed, the dump was read again; the rows of both are there")
