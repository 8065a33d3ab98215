"""Files that executors write: the tables they make, and what every reader finds in them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake.exceptions import CommitFailedError

from jobs import ingest, kcore, split
from jobs.ingest import IngestRequest
from mrl4rec.core import object_store
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import LostRace, log_entries
from mrl4rec.core.storage import read_table, table_at
from mrl4rec.data.synthetic.dump import write
from mrl4rec.data.synthetic.spec import Planted
from mrl4rec.tables import QUARANTINE, REVIEWS, Table, store, versions
from mrl4rec.transforms import spark_files
from mrl4rec.transforms.engine import Mode
from tests.conftest import SPARK

NOON = datetime(2014, 5, 1, 12, 0, 0, 1, tzinfo=UTC)
LONG = "x" * 40


def reviews(*rows: dict[str, Any]) -> pa.Table:
    known = {"user_id": "u", "item_id": "i", "rating": 3.0, "reviewed_at": NOON,
             "source_sha256": "s", "record_no": 0}  # fmt: skip
    return pa.Table.from_pylist([known | row for row in rows], schema=REVIEWS.schema)


def commit(
    settings: Settings, table: Table, rows: pa.Table, mode: Mode, base: int, schema: Any = None
) -> int:
    """As the driver does it with what one task has written."""
    uri = settings.storage.table_uri("d", table.name)
    schema = schema or table.schema
    done = list(spark_files.write(rows.to_batches(), uri, schema))
    written = spark_files.named(pa.Table.from_batches(done)) if done else []
    return store.commit_files(uri, schema, written, mode, "told", base)


def test_readers_that_skip_files_find_every_row(settings: Settings) -> None:
    base = versions.create(settings, "d", REVIEWS.name).version()
    rows = reviews({"user_id": LONG}, {"rating": None, "record_no": 1}, {"item_id": "\U0010ffff"})
    base = commit(settings, REVIEWS, rows, "append", base)
    delta = table_at(settings.storage.table_uri("d", REVIEWS.name))
    assert delta.version() == base
    for where, found in (
        (pc.field("user_id") == LONG, 1), (pc.field("user_id") == "u", 2),
        (pc.field("item_id") == "\U0010ffff", 1), (pc.field("rating") == 3.0, 2),
        (pc.field("reviewed_at") == NOON, 3), (pc.field("record_no") == 1, 1),
        (pc.field("user_id") > "y", 0),
    ):  # fmt: skip
        assert read_table(delta, where=where).num_rows == found

    base = versions.create(settings, "d", QUARANTINE.name).version()
    record = {"source_sha256": "s", "record_no": 0, "record": "y" * 10_000, "rule": "r"}
    broken = pa.Table.from_pylist([record], schema=QUARANTINE.schema)
    commit(settings, QUARANTINE, broken, "append", base)
    delta = table_at(settings.storage.table_uri("d", QUARANTINE.name))
    assert read_table(delta, where=pc.field("record") > "x").num_rows == 1


def test_a_commit_is_the_next_version_or_none(settings: Settings) -> None:
    base = versions.create(settings, "d", REVIEWS.name).version()
    uri = settings.storage.table_uri("d", REVIEWS.name)
    one = commit(settings, REVIEWS, reviews({}), "append", base)
    for mode in ("append", "overwrite"):
        with pytest.raises(LostRace):
            commit(settings, REVIEWS, reviews({}), mode, base)
    assert table_at(uri).version() == one

    none = commit(settings, REVIEWS, reviews(), "overwrite", one)
    assert (none, read_table(table_at(uri)).num_rows) == (one + 1, 0)
    assert log_entries(uri)[0]["userMetadata"] == "told"
    wider = REVIEWS.schema.append(pa.field("more", pa.int64()))
    rows = reviews({}).append_column("more", pa.array([7]))
    with pytest.raises(Mrl4recError, match="more"):
        commit(settings, REVIEWS, rows, "append", none, wider)
    last = commit(settings, REVIEWS, rows, "overwrite", none, wider)
    assert read_table(table_at(uri, last))["more"].to_pylist() == [7]


def test_a_commit_whose_answer_was_lost_is_recognised(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for again then, and refused, as the version is there."""
    base = versions.create(settings, "d", REVIEWS.name).version()
    real = store.DeltaTable.create_write_transaction

    def lost(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        raise CommitFailedError

    monkeypatch.setattr(store.DeltaTable, "create_write_transaction", lost)
    assert commit(settings, REVIEWS, reviews({}), "append", base) == base + 1
    uri = settings.storage.table_uri("d", REVIEWS.name)
    assert read_table(table_at(uri)).num_rows == 1


def test_row_groups_are_read_once_whatever_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times are read in µs, and a column that a file lacks is null."""
    monkeypatch.setattr(spark_files, "GROUP_BYTES", 1)
    rows = reviews(*({"record_no": n} for n in range(7)))
    batches = rows.to_batches(max_chunksize=1)
    (told,) = spark_files.write(batches, str(tmp_path), REVIEWS.schema)
    (file,) = spark_files.named(pa.Table.from_batches([told]))
    wanted = pa.schema([("record_no", pa.int64()), ("reviewed_at", pa.int64()),
                        ("new", pa.string())])  # fmt: skip
    for size in (1, file.bytes // 3, file.bytes):
        monkeypatch.setattr(spark_files, "PART_BYTES", size)
        parts = spark_files.parts([file])[:50]
        parts = [replace(part, of=len(parts)) for part in parts]
        read = [b for part in parts for b in spark_files.read(part, str(tmp_path), wanted)]
        found = pa.Table.from_batches(read)
        assert found["record_no"].to_pylist() == list(range(7))
        assert set(found["reviewed_at"].to_pylist()) == {int(NOON.timestamp() * 1e6) + 0}
        assert found["new"].null_count == 7


@pytest.fixture
def on_store(lake: Settings, spark: None) -> Settings:
    return lake.model_copy(update=SPARK)


def test_the_stages_on_an_object_store_make_the_same_tables(
    settings: Settings, on_store: Settings, tmp_path: Path
) -> None:
    dump = tmp_path / "planted.json"
    write(Planted(users=200, items=80, reviews=3000, repeats=50, duplicates=50, bad=50), dump)
    digests = []
    for where in (settings, on_store):
        asked = IngestRequest("d", (dump,), as_of=datetime(2020, 1, 1, tzinfo=UTC))
        taken = ingest.run(asked, where)
        core = kcore.run("d", taken, k=3, settings=where)
        done = split.run("d", core, strategy="global_time", settings=where)
        found = {}
        for one in (taken, core, done):
            for name, version in ({one.table: one.version} | one.outputs).items():
                rows = read_table(table_at(where.storage.table_uri("d", name), version))
                lines = sorted(json.dumps(row, default=str) for row in rows.to_pylist())
                found[name] = hashlib.sha256("".join(lines).encode()).hexdigest()
        digests.append(found)
    assert len(digests[0]) == 7
    assert digests[0] == digests[1]


def test_keys_of_the_machine_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"AWS_ACCESS_KEY_ID": "theirs", "AWS_ENDPOINT_URL": "http://there"}
    for name in given:
        monkeypatch.setenv(name, "mine")
    assert given.keys() <= object_store.access().keys()
    for has_keys, kept in ((True, "mine"), (False, "theirs")):
        monkeypatch.setattr(object_store, "HAS_KEYS", has_keys)
        object_store.take(given)
        now = object_store.access()
        assert (now["AWS_ACCESS_KEY_ID"], now["AWS_ENDPOINT_URL"]) == (kept, "http://there")
