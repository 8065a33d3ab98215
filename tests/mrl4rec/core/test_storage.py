"""The warehouse's layout, and tables read from it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake

from mrl4rec.core.errors import UsageError
from mrl4rec.core.storage import Storage, open_table, read_table

ROOT = Path(__file__).parents[3]


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """A warehouse whose path an address has to escape."""
    return Storage(tmp_path / "my wärehouse+1 %x'\"{}*")


def test_an_opened_version_is_read(storage: Storage) -> None:
    uri = storage.table_uri("d", "reviews")
    write_deltalake(uri, pa.table({"n": [1, 2, 3], "s": ["a", "b", "c"]}))
    write_deltalake(uri, pa.table({"n": [9], "s": ["z"]}), mode="overwrite")
    first = DeltaTable(uri, 0)
    assert read_table(first).sort_by("n").to_pydict() == {"n": [1, 2, 3], "s": ["a", "b", "c"]}
    assert read_table(first, ["s"], pc.field("n") == 2).to_pydict() == {"s": ["b"]}
    newest = open_table(uri)
    assert newest is not None
    assert read_table(newest)["n"].to_pylist() == [9]


def test_data_sets_are_what_has_a_table(storage: Storage) -> None:
    assert storage.datasets() == []
    for dataset, table in (("b", "reviews"), ("a", "splits"), ("b", "splits")):
        write_deltalake(storage.table_uri(dataset, table), pa.table({"n": [1]}))
    storage.model_dir("c", "0" * 64).mkdir(parents=True)
    assert storage.datasets() == ["a", "b"]
    assert storage.datasets("reviews") == ["b"]
    assert storage.has_table("b", "reviews")
    assert not storage.has_table("a", "reviews")


def test_a_model_folder_counts_once_its_card_is_there(storage: Storage) -> None:
    for key in ("ab1", "ab2", ".ab3"):
        storage.model_dir("d", key).mkdir(parents=True)
    for key in ("ab1", ".ab3"):
        (storage.model_dir("d", key) / "model.json").write_text("{}")
    assert [folder.name for folder in storage.model_dirs("ab")] == ["ab1"]
    assert list(storage.model_dirs("ab", "other")) == []


@pytest.mark.parametrize("name", ["..", "a/b", "", "-a", "a" * 101])
def test_no_name_leads_out_of_the_warehouse(storage: Storage, name: str) -> None:
    with pytest.raises(UsageError, match="--dataset"):
        storage.dataset_dir(name)


def test_only_storage_reads_through_delta_rs() -> None:
    """Anything else may end a finished process by SIGABRT: see ``storage.dataset_of``."""
    files = [path for name in ("src", "flows", "jobs") for path in (ROOT / name).rglob("*.py")]
    assert len(files) > 100
    reading = [path.name for path in files if "to_pyarrow_" in path.read_text()]
    assert reading == ["storage.py"]
