"""Reading from Python: a path, a pandas frame and an Arrow table give the same interactions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from mrl4rec.core.errors import UsageError
from mrl4rec.formats import ReadOptions
from mrl4rec.formats.reader import read

AS_OF = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = [
    {"customer": f"c{n % 5}", "product": f"p{n}", "stars": 1.0 + n % 5,
     "when": f"2020-02-{1 + n:02d}T00:00:00Z"}
    for n in range(20)
]  # fmt: skip


def test_path_frame_and_table_give_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS)
    path = tmp_path / "own.csv"
    frame.to_csv(path, index=False)
    frame["when"] = pd.to_datetime(frame["when"])
    found = [read(data, as_of=AS_OF) for data in (path, frame, pa.Table.from_pandas(frame))]
    rows = [one.rows.drop_columns("record_no").to_pylist() for one in found]
    assert rows[0] == rows[1] == rows[2]
    assert len(rows[0]) == len(ROWS)
    assert rows[0][3]["reviewed_at"] == datetime(2020, 2, 4, tzinfo=UTC)
    assert [one.quarantined.num_rows for one in found] == [0, 0, 0]
    assert found[0].mapping.user == found[1].mapping.user == "customer"


def test_what_breaks_a_rule_is_told_with_its_row() -> None:
    frame = pd.DataFrame([*ROWS, {**ROWS[0], "customer": " "}, {**ROWS[0], "stars": None}])
    found = read(frame, as_of=AS_OF)
    assert found.quarantined["rule"].to_pylist() == ["no_user", "no_rating"]
    assert found.quarantined["record_no"].to_pylist() == [20, 21]
    assert '"product": "p0"' in found.quarantined["record"][0].as_py()


def test_a_frame_without_any_rating_has_nulls() -> None:
    found = read(pd.DataFrame(ROWS).assign(stars=None), ReadOptions.parse(
        columns="user=customer,item=product,rating=stars,time=when"), AS_OF)  # fmt: skip
    assert found.rows["rating"].null_count == found.rows.num_rows == len(ROWS)


def test_columns_that_do_not_tell_are_refused_with_what_to_give() -> None:
    frame = pd.DataFrame({"a": ["x", "y"], "b": ["u", "v"]})
    with pytest.raises(UsageError, match="--columns"):
        read(frame)
    assert read(frame, ReadOptions.parse(columns="user=a,item=b")).rows.num_rows == 2
