"""Stage keys that never drift, and commits found, or left alone, in a table's history."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from mrl4rec.core import stage
from mrl4rec.core.stage import Commit, stage_key
from mrl4rec.core.storage import open_table

INPUTS = {"ingest": "a" * 64, "files": ["b", "c"]}
PARAMS = {"k": 5, "min_rating": None, "share": 0.2}


def test_the_key_of_a_stage_is_golden() -> None:
    """SHA-256 of the canonical JSON, fixed: a change here would redo every warehouse's work."""
    text = (
        '{"code":1,"inputs":{"files":["b","c"],"ingest":"' + "a" * 64 + '"},'
        '"params":{"k":5,"min_rating":null,"share":0.2},"stage":"kcore"}'
    )
    body = {"stage": "kcore", "code": 1, "inputs": INPUTS, "params": PARAMS}
    assert stage.canonical(body) == text
    assert stage_key("kcore", 1, INPUTS, PARAMS) == GOLDEN


GOLDEN = "fdc599871bd3dca6b5f6a606fedcd95aeb22dd7e2e4dfba88231d53c3ada6a97"


@pytest.mark.parametrize(
    "other",
    [
        ("split", 1, INPUTS, PARAMS),
        ("kcore", 2, INPUTS, PARAMS),
        ("kcore", 1, INPUTS | {"files": ["c", "b"]}, PARAMS),
        ("kcore", 1, INPUTS, PARAMS | {"k": 6}),
        ("kcore", 1, INPUTS, PARAMS | {"min_rating": 0}),
    ],
)
def test_every_part_of_a_key_counts(other: tuple[Any, ...]) -> None:
    assert stage_key(*other) != GOLDEN


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.booleans()))
def test_the_order_of_a_mapping_does_not_matter(params: dict[str, Any]) -> None:
    turned = dict(reversed(params.items()))
    assert stage_key("s", 1, {}, params) == stage_key("s", 1, {}, turned)


def test_a_value_without_one_spelling_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        stage_key("s", 1, {}, {"x": float("nan")})


def test_times_and_paths_are_spelled_out() -> None:
    key = stage_key("s", 1, {}, {"at": datetime(2014, 7, 23), "file": Path("a/b")})
    assert key == stage_key("s", 1, {}, {"at": "2014-07-23 00:00:00", "file": "a/b"})


# --------------------------------------------------------------------------------------- commits


def write(uri: str, metadata: str | None) -> None:
    properties = stage.properties(metadata) if metadata is not None else None
    write_deltalake(uri, pa.table({"x": [1]}), mode="append", commit_properties=properties)


def commit(key: str, **summary: Any) -> Commit:
    return Commit("kcore", key, "interactions", -1, {"users": 3}, summary)


def test_a_commit_is_found_by_its_key_at_its_version(tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    write(uri, commit("one", n=1).metadata())
    write(uri, None)
    write(uri, commit("two").metadata())
    found = stage.find(uri, "interactions", "one")
    assert found == Commit("kcore", "one", "interactions", 0, {"users": 3}, {"n": 1}, found=True)
    assert found.table_version("interactions") == 0
    assert found.table_version("users") == 3
    with pytest.raises(KeyError):
        found.table_version("items")


def test_of_one_key_twice_the_newest_commit_is_found(tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    for n in range(3):
        write(uri, commit("one", n=n).metadata())
    found = stage.find(uri, "interactions", "one")
    assert found is not None
    assert (found.version, found.summary) == (2, {"n": 2})


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    assert stage.find(str(tmp_path / "none"), "t", "one") is None
    assert stage.history(str(tmp_path / "none"), "t") == []
    assert open_table(str(tmp_path / "none")) is None
    write(str(tmp_path / "t"), commit("one").metadata())
    assert stage.find(str(tmp_path / "t"), "t", "other") is None


@pytest.mark.parametrize(
    "metadata",
    ["not json", "[1]", "null", "7", '{"key": "one"}', '{"restored_to": 1}', "{}",
     '{"stage": "kcore", "key": "one", "outputs": {}}'],
)  # fmt: skip
def test_other_peoples_metadata_is_no_stage_commit(tmp_path: Path, metadata: str) -> None:
    uri = str(tmp_path / "t")
    write(uri, metadata)
    assert stage.history(uri, "t") == []


def test_a_stage_commit_with_more_in_it_is_read(tmp_path: Path) -> None:
    """A later version of the program may add to the metadata."""
    uri = str(tmp_path / "t")
    body = json.loads(commit("one").metadata()) | {"more": 1}
    write(uri, json.dumps(body))
    assert stage.find(uri, "t", "one") is not None


def test_a_restore_hides_no_earlier_commit(tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    write(uri, commit("one").metadata())
    write(uri, commit("two").metadata())
    DeltaTable(uri).restore(0)
    assert [c.key for c in stage.history(uri, "t")] == ["two", "one"]


def test_metadata_survives_the_round_trip_unchanged(tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    given = commit("one", note='Größe ½ "quoted" \n line', share=0.1, none=None)
    write(uri, given.metadata())
    found = stage.history(uri, "interactions")[0]
    assert found.metadata() == given.metadata()


def test_a_log_that_moved_on_while_it_was_read_is_read_again(tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    for n in range(3):
        note = stage.properties(str(n))
        write_deltalake(uri, pa.table({"n": [n]}), mode="append", commit_properties=note)
    opened = DeltaTable(uri, version=1)
    # What delta-rs says of it: the commits of now, numbered from what was opened.
    entries = [(entry["version"], entry[stage.METADATA]) for entry in opened.history()]
    assert entries == [(1, "2"), (0, "1"), (-1, "0")]
    assert stage.numbered(opened) is None
    assert opened.version() == 2
    entries = [(entry["version"], entry[stage.METADATA]) for entry in stage.log_entries(uri)]
    assert entries == [(2, "2"), (1, "1"), (0, "0")]
    assert stage.log_entries(str(tmp_path / "none")) == []
