"""Poison at every stage: the gate stops it with exit code 3, and the next good run heals it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from mrl4rec.tables import REVIEWS
from tests.flows.dumps import answer, mrl4rec, ratings_csv

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A warehouse whose splits are done, and its dump."""
    folder = tmp_path_factory.mktemp("gated")
    dump = ratings_csv(folder / "ratings.csv", users=60, items=30, each=10)
    answer(mrl4rec("split", *named(dump), warehouse=folder / "warehouse"))
    return folder / "warehouse", dump


def named(dump: Path) -> list[str]:
    return ["--dataset", "d", "--source", str(dump), "--kcore", "2"]


@pytest.fixture
def warehouse(clean: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the good warehouse, to be poisoned."""
    return Path(shutil.copytree(clean[0], tmp_path / "warehouse"))


def test_a_blank_user_planted_into_reviews(warehouse: Path, clean: tuple[Path, Path]) -> None:
    uri = str(warehouse / "d" / "reviews")
    row = {
        "user_id": " ", "item_id": "1", "rating": 3.0, "source_sha256": "0" * 64,
        "reviewed_at": datetime(2001, 1, 1, tzinfo=UTC), "record_no": 1,
    }  # fmt: skip
    good = DeltaTable(uri).count()
    write_deltalake(uri, pa.Table.from_pylist([row], schema=REVIEWS.schema), mode="append")

    stopped = answer(mrl4rec("split", *named(clean[1]), warehouse=warehouse), code=3)
    assert "reviews" in stopped["error"]
    assert "blank" in stopped["error"]

    answer(mrl4rec("split", *named(clean[1]), warehouse=warehouse))
    assert DeltaTable(uri).count() == good


def test_a_test_pair_planted_into_train(warehouse: Path, clean: tuple[Path, Path]) -> None:
    uri = str(warehouse / "d" / "splits")
    table = DeltaTable(uri).to_pyarrow_table()
    pair = table.filter(pa.compute.equal(table["fold"], "test")).slice(0, 1)
    planted = pair.set_column(table.column_names.index("fold"), "fold", pa.array(["train"]))
    write_deltalake(uri, planted, mode="append")

    stopped = answer(mrl4rec("train", *named(clean[1]), "--methods", "pop", warehouse=warehouse), 3)
    assert "two folds" in stopped["error"]

    answer(mrl4rec("train", *named(clean[1]), "--methods", "pop", warehouse=warehouse))
    assert DeltaTable(uri).count() == table.num_rows


def test_an_empty_dump(tmp_path: Path, clean: tuple[Path, Path]) -> None:
    empty = tmp_path / "empty.json"
    empty.write_bytes(b"")
    stopped = answer(
        mrl4rec("split", "--dataset", "d", "--source", str(empty), warehouse=tmp_path / "w"), 3
    )
    assert "empty" in stopped["error"]
    healed = answer(mrl4rec("kcore", *named(clean[1]), warehouse=tmp_path / "w"))
    assert healed["users"] == 60


def test_a_core_that_empties(warehouse: Path, clean: tuple[Path, Path]) -> None:
    options = ["--dataset", "d", "--source", str(clean[1]), "--kcore", "50"]
    stopped = answer(mrl4rec("split", *options, warehouse=warehouse), code=3)
    assert "interactions" in stopped["error"] or "core" in stopped["error"]
    assert answer(mrl4rec("split", *named(clean[1]), warehouse=warehouse))["train"] > 0
