"""Which rows are compared by their ids, and that it never matters how pairs are numbered."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from test_ingest_reviews import AS_OF, check_conserved, digest_of, replace_warehouse, rows, sha

from jobs import ingest_gain, ingest_scan, ingest_tables, ingest_write
from jobs.ingest_compare import compare, rows_of
from jobs.ingest_gain import Gain
from jobs.ingest_merge import deduplicate, oddities
from jobs.ingest_pairs import Piece, Sieve, read_rows, repeated
from jobs.ingest_reviews import IngestRequest, run
from jobs.ingest_scan import Scanned
from jobs.ingest_write import even_files
from mrl4rec.settings import Settings
from mrl4rec.stage import Commit

T = 10**9
INTS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-4, 4), max_size=40)


@given(st.lists(INTS, max_size=4), st.lists(INTS, max_size=2), st.integers(1, 50))
def test_repeated_are_all_numbers_that_come_again(
    of: list[list[int]], others: list[list[int]], most: int
) -> None:
    arrays, more = ([np.array(x, np.int64) for x in part] for part in (of, others))
    numbers, counts = np.unique(
        np.concatenate([*arrays, *more, np.empty(0, np.int64)]), return_counts=True
    )
    found = repeated(arrays, more, most)
    assert found.tolist() == numbers[counts > 1].tolist()
    sieve = Sieve(found)
    for array in (*arrays, *more):
        assert sieve.holds(array).tolist() == np.isin(array, found).tolist()


@given(st.lists(st.integers(1, 3_000_000), max_size=30), st.integers(1, 8))
@hypothesis_settings(deadline=None)
def test_files_are_few_and_even_and_hold_every_row_once(sizes: list[int], cores: int) -> None:
    files = even_files([Piece(str(n), rows) for n, rows in enumerate(sizes)], cores)
    lengths = [sum(last - first for _, first, last in file) for file in files]
    assert sum(lengths) == sum(sizes)
    assert max(lengths, default=0) - min(lengths, default=0) <= 1
    assert max(lengths, default=0) <= ingest_write.ROWS_PER_FILE
    assert len(files) < sum(sizes) / ingest_write.ROWS_PER_FILE + 1 + cores
    parts = sorted((int(p.path), first, last) for file in files for p, first, last in file)
    ends = dict.fromkeys(range(len(sizes)), 0)
    for number, first, last in parts:
        assert first == ends[number]
        ends[number] = last
    assert list(ends.values()) == sizes


def review(user: str, item: str, rating: Any, day: int) -> str:
    """A line of 2014; a rating of text is left to the strict rules."""
    body = {"reviewerID": user, "asin": item, "overall": rating, "unixReviewTime": T + 86400 * day}
    return json.dumps(body)


def dump(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def dumps(tmp_path: Path) -> list[Path]:
    """Three dumps with clean and strict lines that share keys and pairs, and bad lines."""
    first = [review(f"A{n % 40}", f"B{n % 9:09d}", 1 + n % 5, n % 4) for n in range(300)]
    second = [review(f"A{n % 25}", f"B{n % 7:09d}", str(1 + n % 4), n % 6) for n in range(80)]
    second += [review(f"A{n % 50}", f"B{n % 11:09d}", 1 + n % 3, n % 8) for n in range(200)]
    third = [review(f"C{n}", str(n), 3, n) for n in range(50)]
    third += [review("A1", "B000000001", 9, 1), "{", "", review("C1", "1", 3, 77)]
    third.append(third[0].replace("overall", "over"))
    return [dump(tmp_path / f"{n}.json", lines) for n, lines in enumerate((first, second, third))]


def expected(files: Sequence[Path]) -> dict[tuple[str, str, int], tuple[float, str, int]]:
    """The rows that stay, worked out apart from the code."""
    kept: dict[tuple[str, str, int], tuple[float, str, int]] = {}
    for path in files:
        for number, line in enumerate(path.read_text().split("\n")):
            try:
                body = json.loads(line)
            except ValueError:
                continue
            rating = float(body.get("overall", 0))
            if 1 <= rating <= 5:
                key = (body["reviewerID"], body["asin"], body["unixReviewTime"])
                kept[key] = min(kept.get(key, (9.0, "", 0)), (rating, sha(path), number))
    return kept


def kept(settings: Settings) -> dict[tuple[str, str, int], tuple[float, str, int]]:
    return {
        (r["user_id"], r["item_id"], int(r["reviewed_at"].timestamp())):
        (r["rating"], r["source_sha256"], r["record_no"])
        for r in rows(settings, "reviews")
    }  # fmt: skip


def ingest(settings: Settings, *files: Path) -> Commit:
    commit = run(IngestRequest("d", files, None, AS_OF), settings)
    check_conserved(settings, commit)
    return commit


@pytest.mark.usefixtures("spark")
def test_dumps_of_clean_and_other_lines_in_any_order(
    settings: Settings, dumps: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_scan, "STRETCH", 9_000)  # many stretches
    monkeypatch.setattr(ingest_write, "ROWS_PER_FILE", 200)
    places = [replace_warehouse(settings, tmp_path / name) for name in ("012", "210", "all")]
    ingest(places[0], dumps[0])
    ingest(places[0], *dumps[1:])
    ingest(places[1], *dumps[:0:-1])
    assert len(ingest(places[1], dumps[0]).summary["sources"]) == 1
    summary = ingest(places[2], *dumps).summary
    assert summary["rules"] == {"no_rating": 1, "not_json": 1, "rating_out_of_range": 1}
    for place in places:
        assert kept(place) == expected(dumps)
        assert digest_of(place, "quarantine") == digest_of(places[0], "quarantine")
    (table,) = [DeltaTable(places[2].table_uri("d", "reviews"))]
    sizes = [action["num_records"] for action in pa.table(table.get_add_actions()).to_pylist()]
    assert len(sizes) > 1
    assert max(sizes) - min(sizes) <= 1
    total = summary["total"]
    assert total["users"] == len({user for user, _, _ in expected(dumps)})
    assert total["items"] == len({item for _, item, _ in expected(dumps)})
    monkeypatch.setattr(ingest_gain, "MOST", 0)  # as where too many have to be compared
    spread = replace_warehouse(settings, tmp_path / "spread")
    assert ingest(spread, dumps[1]).summary["notes"]
    assert kept(spread) == expected(dumps[1:2])


@pytest.mark.usefixtures("spark")
def test_a_weak_numbering_of_pairs_costs_time_alone(
    settings: Settings, dumps: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every number collides with every third: all rows are compared, and nothing else changes."""
    plain = replace_warehouse(settings, tmp_path / "plain")
    summaries = [ingest(plain, *dumps[:2]).summary, ingest(plain, dumps[2]).summary]
    real_scan, real_pairs = ingest_tables.scan_here, Gain.pairs

    def weak_scan(*args: Any) -> list[Scanned]:
        found = real_scan(*args)
        for scanned in found:
            table = read_rows(scanned.stretch.rows_path)
            numbers = pa.array(table["pair"].to_numpy() % 3)
            at = table.schema.get_field_index("pair")
            table = table.set_column(at, "pair", numbers)
            path = Path(scanned.stretch.rows_path)
            path.unlink()  # it is mapped
            with pa.ipc.new_file(path, table.schema) as out:
                out.write_table(table)
        return found

    monkeypatch.setattr(ingest_tables, "scan_here", weak_scan)
    monkeypatch.setattr(ingest_gain.Gain, "pairs", lambda *args: real_pairs(*args) % 3)
    weak = replace_warehouse(settings, tmp_path / "weak")
    assert [ingest(weak, *dumps[:2]).summary, ingest(weak, dumps[2]).summary] == summaries
    for table in ("reviews", "quarantine"):
        assert digest_of(weak, table) == digest_of(plain, table)


@pytest.mark.usefixtures("spark")
def test_workers_of_a_cluster_give_the_tables_that_threads_give(
    settings: Settings, dumps: list[Path], tmp_path: Path
) -> None:
    """The session is there already, so the master's name alone says who scans and writes."""
    here = replace_warehouse(settings, tmp_path / "here")
    there = replace_warehouse(settings, tmp_path / "there").model_copy(
        update={"spark_master": "spark://127.0.0.1:1"}
    )
    assert ingest(there, *dumps).summary == ingest(here, *dumps).summary
    for table in ("reviews", "quarantine"):
        assert digest_of(there, table) == digest_of(here, table)


@pytest.mark.usefixtures("spark")
def test_notes_count_what_was_compared(settings: Settings, dumps: list[Path]) -> None:
    notes = ingest(settings, *dumps).summary["notes"]
    by_file = []
    for path in dumps:
        pairs = [line[0] for line in sorted(expected_rows(path))]
        by_file.append(len(pairs) - len(set(pairs)))
    assert sum(map(bool, by_file)) == 2
    assert [n for n in notes if "repeat a" in n] == [
        f"{path}: {n:,} rows repeat a (user, item) pair of this file"
        for path, n in zip(dumps, by_file, strict=True)
        if n
    ]
    (short,) = [n for n in notes if "shorter than 10 digits" in n]
    assert "50 numeric item ids (51 rows)" in short


@hypothesis_settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 2**32))
def test_rows_are_compared_in_memory_as_spark_compares_them(spark: SparkSession, seed: int) -> None:
    dice = np.random.default_rng(seed)
    ids = np.array(["A", "a", "Z", "B00", "12", "123456789", "1234567890", "~"])
    rows = 400
    found = pa.table({
        "user_id": ids[dice.integers(0, 6, rows)],
        "item_id": ids[dice.integers(0, 8, rows)],
        "rating": dice.integers(2, 5, rows) / 2,
        "reviewed_at": pa.array(dice.integers(0, 4, rows) * 10**12).cast(
            pa.timestamp("us", tz="UTC")
        ),
        "source_sha256": np.array(["ff", "0a", "f"])[dice.integers(0, 3, rows)],
        "record_no": dice.permutation(rows),
    })  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{n}.parquet" for n in range(3)]
        for n, path in enumerate(files):
            part = found.slice(n * 150, 150)
            at = part.schema.get_field_index("source_sha256")
            part = part.set_column(at, "source_sha256", part["source_sha256"].dictionary_encode())
            pq.write_table(part, path, store_schema=False)
        assert rows_of(files) == rows
        kept, odd = compare(files)
    frame = spark.createDataFrame(found)
    wanted = deduplicate(frame).toArrow().select(kept.column_names).cast(kept.schema)
    order = [("record_no", "ascending")]
    assert kept.sort_by(order).to_pylist() == wanted.sort_by(order).to_pylist()
    strange = {row["source_sha256"]: row.asDict() for row in oddities(frame).collect()}
    assert {row["source_sha256"]: row for row in odd} == strange


def expected_rows(path: Path) -> list[tuple[tuple[str, str], float]]:
    found = []
    for line in path.read_text().split("\n"):
        try:
            body = json.loads(line)
        except ValueError:
            continue
        if 1 <= float(body.get("overall", 0)) <= 5:
            found.append(((body["reviewerID"], body["asin"]), float(body["overall"])))
    return found


@pytest.mark.usefixtures("spark")
def test_a_dump_that_shares_nothing_with_the_table(settings: Settings, tmp_path: Path) -> None:
    files = [
        dump(tmp_path / f"{n}.json", [review(f"A{n}{k}", f"B{k:09d}", 3, k) for k in range(5)])
        for n in range(2)
    ]
    for path in files:
        ingest(settings, path)
    assert kept(settings) == expected(files)


@pytest.mark.usefixtures("spark")
def test_the_table_tells_its_times_in_utc(settings: Settings, dumps: list[Path]) -> None:
    ingest(settings, dumps[0])
    found = DeltaTable(settings.table_uri("d", "reviews")).to_pyarrow_table()
    assert str(found.schema.field("reviewed_at").type) == "timestamp[us, tz=UTC]"
    assert min(r["reviewed_at"] for r in found.to_pylist()) == datetime.fromtimestamp(T, UTC)
