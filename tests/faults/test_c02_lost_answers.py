"""Requests to the object store that are carried out and whose answers are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import ATTEMPT, log_entries
from mrl4rec.core.storage import read_table, table_at
from mrl4rec.tables import RESULTS, TABLES, store, versions
from mrl4rec.transforms import duckdb_engine
from tests.faults import scene
from tests.faults.conftest import Note, Start, Undisturbed, settings_of
from tests.faults.lossy import Proxy
from tests.flows.dumps import WITHOUT_JAVA
from tests.object_store import ObjectStore

COMMITS = r"/_delta_log/\d+\.json$"
LOSES = rf"{COMMITS}|\.lock$|/model\.json$"
ON_DUCKDB = {"MRL4REC_DATA_ENGINE": "duckdb", **WITHOUT_JAVA}


@pytest.fixture
def proxy(object_store: ObjectStore, tmp_path: Path) -> Iterator[Proxy]:
    """A way to the object store by which answers are lost."""
    found = Proxy(object_store.port, LOSES, tmp_path / "lost")
    yield found
    found.end()


@pytest.mark.slow
@pytest.mark.fault("C2")
def test_c02_answers_are_lost_through_a_whole_run(
    lake: Settings, proxy: Proxy, undisturbed: Undisturbed, children: Start, record_property: Note
) -> None:
    """The answers to every commit, lock and model card of a run are lost by a proxy"""
    run = children("run", undisturbed.dump, lake, AWS_ENDPOINT_URL=proxy.url, **ON_DUCKDB)
    run.ended()
    lost = proxy.lost()
    assert all(any(path.endswith(end) for path in lost) for end in (".json", ".lock", "model.json"))
    assert scene.digests(lake) == undisturbed.digests
    quiet = settings_of(undisturbed.states / "done")
    tables = {path.parent.name for path in lake.warehouse.glob("*/*/_delta_log")}
    assert tables == {path.parent.name for path in quiet.warehouse.glob("*/*/_delta_log")}
    for name in tables:
        uri = lake.storage.table_uri(scene.DATASET, name)
        assert versions.version(lake, scene.DATASET, name) == versions.version(
            quiet, scene.DATASET, name
        )
        assert sum(f"/{name}/_delta_log/" in path for path in lost) == len(log_entries(uri))
        no_row_twice(table_at(uri), name)
    locks = sum(n for path, n in lost.items() if path.endswith(".lock"))
    said = f"{sum(lost.values())} answers lost, {locks} of locks; versions as undisturbed, same"
    record_property("came", said)


def no_row_twice(delta: DeltaTable, name: str) -> None:
    """No two rows of a table have one key."""
    keys = read_table(delta, [*TABLES[name].key]).to_pylist()
    assert len({tuple(key.values()) for key in keys}) == len(keys)


def results(*names: str) -> pa.Table:
    row: dict[str, Any] = {"metric": "recall", "k": 10, "dataset": "d", "protocol": "clean",
                           "method": "Pop", "value": 0.5}  # fmt: skip
    return pa.Table.from_pylist([row | {"stage_key": n} for n in names], schema=RESULTS.schema)


def overwrite(settings: Settings, uri: str, base: int) -> object:
    reader = results("a", "b").to_reader()
    return duckdb_engine.commit_stream(uri, reader, "overwrite", "{}", base)


def go_back(settings: Settings, uri: str, base: int) -> object:
    return versions._go_back(table_at(uri), base - 1)


WAYS: dict[str, Callable[[Settings, str, int], object]] = {
    "append": lambda _, uri, base: store.append_rows(uri, results("c"), "{}", base),
    "merge": lambda _, uri, base: store.commit_rows(uri, RESULTS, results("c", "d")),
    "files": lambda _, uri, base: store.commit_files(
        uri, RESULTS.schema, [], "overwrite", "{}", base
    ),
    "overwrite": overwrite,
    "back": go_back,
}
"""Everything that commits to a table."""


@pytest.mark.fault("C2")
def test_c02_each_way_to_commit(
    lake: Settings, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, record_property: Note
) -> None:
    """The answer to a commit is lost by a proxy: create, append, merge, overwrite, restore"""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    uri = lake.storage.table_uri(scene.DATASET, RESULTS.name)
    assert versions.create(lake, scene.DATASET, RESULTS.name).version() == 0
    store.commit_rows(uri, RESULTS, results("a"))
    for base, way in enumerate(WAYS.values(), start=1):
        way(lake, uri, base)
        assert table_at(uri).version() == base + 1
    entries = log_entries(uri)
    assert len({entry[ATTEMPT] for entry in entries}) == len(entries) == len(WAYS) + 2
    assert sum(proxy.lost().values()) == len(entries)
    record_property("came", f"{len(entries)} commits, each made once")
