"""The ingest stage: nothing vanishes, nothing is taken twice, order of dumps does not matter."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from jobs import ingest as job
from jobs.ingest import COUNTS, IngestRequest, main, run
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit, history
from mrl4rec.formats import ReadOptions, decode, expand
from mrl4rec.tables import GATES, REVIEWS, SOURCES, versions
from mrl4rec.transforms import duckdb_engine
from tests.conftest import ROOT
from tests.mrl4rec.formats.cases import CASES, ROWS, Case

AS_OF = datetime(2020, 1, 1, tzinfo=UTC)
DAY = 86400
T = 10**9
TABLES = ("reviews", "quarantine", "sources")


def rows(settings: Settings, table: str, commit: Commit | None = None) -> list[dict[str, Any]]:
    """A table's rows in one order: at the head, or as the commit has them."""
    version = commit.table_version(table) if commit else None
    found = DeltaTable(settings.storage.table_uri("d", table), version=version).to_pyarrow_table()
    return sorted(found.to_pylist(), key=lambda row: json.dumps(row, default=str, sort_keys=True))


def digest_of(settings: Settings, table: str) -> str:
    return hashlib.sha256(repr(rows(settings, table)).encode()).hexdigest()


def ingest(settings: Settings, *files: Path, **options: str) -> Commit:
    """Take files in; every record must be accounted for."""
    request = IngestRequest("d", files, ReadOptions.parse(**options), AS_OF)
    commit = run(request, settings)
    check_conserved(settings, commit)
    return commit


def check_conserved(settings: Settings, commit: Commit) -> None:
    listed = rows(settings, "sources", commit)
    for row in listed:
        assert row["rows_read"] == sum(row[name] for name in COUNTS[1:])
    reviews, broken = rows(settings, "reviews", commit), rows(settings, "quarantine", commit)
    assert len(reviews) == sum(row["rows_accepted"] for row in listed)
    assert len(broken) == sum(row["rows_quarantined"] for row in listed)
    places = [(r["source_sha256"], r["record_no"]) for r in (*reviews, *broken)]
    assert len(set(places)) == len(places)
    keys = {(r["user_id"], r["item_id"], r["reviewed_at"]) for r in reviews}
    assert len(keys) == len(reviews)


def counts(commit: Commit) -> list[list[int]]:
    """Read, accepted, duplicate, quarantined of each source that was asked for."""
    return [[source[name] for name in COUNTS] for source in commit.summary["sources"]]


def elsewhere(settings: Settings, folder: Path) -> Settings:
    return settings.model_copy(update={"warehouse": folder})


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Settings) -> None:
        raise AssertionError("an engine was asked for")

    monkeypatch.setattr(job, "open_engine", refuse)


# ---------------------------------------------------------------------- several dumps


def csv(path: Path, lines: Sequence[tuple[str, str, str, int]]) -> Path:
    """Ratings without a header, user first; the last number is a day."""
    path.write_text("".join(f"{u},{i},{r},{T + DAY * day}\n" for u, i, r, day in lines))
    return path


A, B, C = (f"A1YJEY40YUW4S{x}" for x in "EFG")
X, Y = "B00005N7P0", "B00005N7P1"


@pytest.fixture
def dumps(tmp_path: Path) -> tuple[Path, Path]:
    """Two dumps: they share three keys, with other ratings, and one has a row twice."""
    first = [
        (A, X, "5.0", 1),
        (A, X, "4.0", 1),
        (A, X, "5.0", 2),
        (B, X, "3.0", 1),
        (B, Y, "2.0", 1),
    ]
    second = [
        (B, Y, "1.0", 1),
        (B, X, "3.0", 1),
        (A, X, "4.5", 2),
        (C, Y, "5.0", 9),
        (C, Y, "9.0", 9),
    ]
    return csv(tmp_path / "first.csv", first), csv(tmp_path / "second.csv", second)


@pytest.mark.fault("F10")
def test_the_order_of_dumps_changes_counts_and_nothing_else(
    settings: Settings, dumps: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = dumps
    places = [elsewhere(settings, tmp_path / name) for name in ("12", "21", "both")]
    ingest(places[0], first)
    ingest(places[1], second)
    commits = [
        ingest(places[0], second),
        ingest(places[1], first),
        ingest(places[2], first, second),
    ]
    kept = {
        (row["user_id"], row["item_id"], row["reviewed_at"].timestamp() // DAY - T // DAY):
        (row["rating"], row["record_no"])
        for row in rows(places[0], "reviews")
    }  # fmt: skip
    tie = min(dumps, key=sha)  # ratings tie: by digest
    assert kept == {
        (A, X, 1): (4.0, 1),  # the smaller of two in one dump
        (A, X, 2): (4.5, 2),  # the second dump's is smaller
        (B, X, 1): (3.0, 3 if tie == first else 1),
        (B, Y, 1): (1.0, 0),
        (C, Y, 9): (5.0, 3),
    }
    for place, commit in zip(places, commits, strict=True):
        assert digest_of(place, "reviews") == digest_of(places[0], "reviews")
        assert digest_of(place, "quarantine") == digest_of(places[0], "quarantine")
        assert (commit.summary["total"]["users"], commit.summary["total"]["items"]) == (3, 2)
    assert counts(commits[0]) == [[5, 1, 3, 1]]
    assert commits[0].summary["rules"] == {"rating_out_of_range": 1}
    bad = commits[0].summary["first_bad"]["rating_out_of_range"]
    assert (bad["path"], bad["record_no"]) == (str(second), 4)
    assert bad["record"] == f"{C},{Y},9.0,{T + 9 * DAY}"
    assert sorted(row["source_no"] for row in rows(places[2], "sources")) == [0, 1]


@pytest.mark.fault("F10")
def test_what_was_done_is_not_done_again(
    settings: Settings, dumps: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = dumps
    done = ingest(settings, first)
    ingest(settings, second)
    before = {name: versions.version(settings, "d", name) for name in ("reviews", "quarantine")}
    no_engine(monkeypatch)

    moved = tmp_path / "moved.txt"
    moved.write_bytes(first.read_bytes())
    again = ingest(settings, moved)
    assert again == replace(done, found=True)  # known by its bytes, not by its name

    both = ingest(settings, second, first, moved)  # another request for files that are there
    assert not both.found
    assert dict(both.outputs) == before
    assert both.summary["total"]["rows_read"] == 10
    assert both.summary["total"]["users"] == 3
    assert any("same bytes" in note for note in both.summary["notes"])
    assert sum("taken in before" in note for note in both.summary["notes"]) == 2
    assert ingest(settings, second, first).found
    assert len(rows(settings, "sources")) == 2


def test_strange_and_failed_versions_are_left_behind(
    settings: Settings, dumps: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = dumps
    good = ingest(settings, first)
    uri = settings.storage.table_uri("d", "reviews")
    planted = DeltaTable(uri).to_pyarrow_table().slice(0, 1).to_pylist()[0] | {"user_id": " "}
    write_deltalake(uri, pa.Table.from_pylist([planted], schema=REVIEWS.schema), mode="append")
    third = csv(tmp_path / "third.csv", [(C, X, "1.0", 3)])
    poisoned = ingest(settings, third)
    assert " " not in {row["user_id"] for row in rows(settings, "reviews")}
    assert len(rows(settings, "reviews")) == len(rows(settings, "reviews", good)) + 1

    fail(settings, "reviews", poisoned.outputs["reviews"])
    assert versions.newest_good(settings, "d", "sources") == good
    healed = ingest(settings, second)
    assert {row["source_sha256"] for row in rows(settings, "sources")} == {sha(first), sha(second)}
    assert len(rows(settings, "reviews", poisoned)) == 5  # still there for people to look at

    undisturbed = elsewhere(settings, tmp_path / "undisturbed")
    ingest(undisturbed, first, second)
    assert digest_of(settings, "reviews") == digest_of(undisturbed, "reviews")
    assert len(rows(settings, "reviews", healed)) == 5


def fail(settings: Settings, table: str, version: int) -> None:
    row = {name: "" for name, c in GATES.columns.items() if c.type == pa.string()}
    row |= {"table": table, "version": str(version), "suite": "reviews", "verdict": "fail"}
    uri = settings.storage.table_uri("d", "gates")
    write_deltalake(uri, pa.Table.from_pylist([row], schema=GATES.schema), mode="append")


def review(user: str, item: str, rating: Any, day: int) -> str:
    """A line of 2014; a rating of text is read by the strict rules."""
    body = {"reviewerID": user, "asin": item, "overall": rating, "unixReviewTime": T + DAY * day}
    return json.dumps(body)


@pytest.fixture
def many(tmp_path: Path) -> list[Path]:
    """Three dumps of lines that share keys and pairs, some read strictly, and bad lines."""
    first = [review(f"A{n % 40}", f"B{n % 9:09d}", 1 + n % 5, n % 4) for n in range(300)]
    second = [review(f"A{n % 25}", f"B{n % 7:09d}", f" {1 + n % 4}", n % 6) for n in range(80)]
    second += [review(f"A{n % 50}", f"B{n % 11:09d}", 1 + n % 3, n % 8) for n in range(200)]
    third = [review(f"C{n}", str(n), 3, n) for n in range(50)]
    third += [review("A1", "B000000001", 9, 1), "{", "", review("C1", "1", 3, 77)]
    third.append(third[0].replace("overall", "over"))
    paths = [tmp_path / f"{n}.json" for n in range(3)]
    for path, lines in zip(paths, (first, second, third), strict=True):
        path.write_text("\n".join(lines) + "\n")
    return paths


Key = tuple[str, str, int]


def good_lines(path: Path) -> Iterator[tuple[Key, float, int]]:
    """Key, rating and number of the good lines, worked out apart from the code."""
    for number, line in enumerate(path.read_text().split("\n")):
        try:
            body = json.loads(line)
        except ValueError:
            continue
        rating = float(body.get("overall", 0))
        if 1 <= rating <= 5:
            yield (body["reviewerID"], body["asin"], body["unixReviewTime"]), rating, number


def expected(files: Sequence[Path]) -> dict[Key, tuple[float, str, int]]:
    """The rows that stay: of each key the smallest."""
    kept: dict[Key, tuple[float, str, int]] = {}
    for path in files:
        for key, rating, number in good_lines(path):
            kept[key] = min(kept.get(key, (9.0, "", 0)), (rating, sha(path), number))
    return kept


def kept(settings: Settings) -> dict[Key, tuple[float, str, int]]:
    return {
        (r["user_id"], r["item_id"], int(r["reviewed_at"].timestamp())):
        (r["rating"], r["source_sha256"], r["record_no"])
        for r in rows(settings, "reviews")
    }  # fmt: skip


@pytest.mark.parametrize("weak", [False, True])
def test_of_many_dumps_in_any_order_the_smallest_rows_stay(
    settings: Settings,
    many: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    weak: bool,
) -> None:
    """However few hashes of pairs there are: they narrow down what is compared, and no more."""
    if weak:
        plain = duckdb_engine.DuckDB.hash
        monkeypatch.setattr(duckdb_engine.DuckDB, "hash", lambda *args: f"({plain(*args)} % 3)")
    places = [elsewhere(settings, tmp_path / name) for name in ("012", "210", "all")]
    ingest(places[0], many[0])
    ingest(places[0], *many[1:])
    ingest(places[1], *many[:0:-1])
    assert len(ingest(places[1], many[0]).summary["sources"]) == 1
    summary = ingest(places[2], *many).summary
    assert summary["rules"] == {"no_rating": 1, "not_json": 1, "rating_out_of_range": 1}
    for place in places:
        assert kept(place) == expected(many)
        assert digest_of(place, "quarantine") == digest_of(places[0], "quarantine")
    assert summary["total"]["users"] == len({user for user, _, _ in expected(many)})
    assert summary["total"]["items"] == len({item for _, item, _ in expected(many)})


def test_notes_count_what_was_compared(settings: Settings, many: list[Path]) -> None:
    notes = ingest(settings, *many).summary["notes"]
    pairs = [Counter(key[:2] for key, _, _ in good_lines(path)) for path in many]
    repeated = [counted.total() - len(counted) for counted in pairs]
    assert sum(map(bool, repeated)) == 2 or repeated[2] == 1
    told = [note for note in notes if "repeat a" in note]
    counted = [(path, n) for path, n in zip(many, repeated, strict=True) if n]
    assert len(told) == len(counted)
    for note, (path, n) in zip(told, counted, strict=True):
        assert note.startswith(f"{path}: {n:,} ")
    (short,) = [note for note in notes if "shorter than 10 digits" in note]
    assert "50 " in short
    assert "51 rows" in short


def test_the_table_tells_its_times_in_utc(settings: Settings, many: list[Path]) -> None:
    ingest(settings, many[0])
    found = DeltaTable(settings.storage.table_uri("d", "reviews")).to_pyarrow_table()
    assert str(found.schema.field("reviewed_at").type) == "timestamp[us, tz=UTC]"
    assert min(r["reviewed_at"] for r in found.to_pylist()) == datetime.fromtimestamp(T, UTC)


# ---------------------------------------------------------------------- what is refused


@pytest.mark.fault("F14", "F15")
def test_a_refused_file_leaves_everything_as_it_was(
    settings: Settings, dumps: tuple[Path, Path], tmp_path: Path
) -> None:
    bad = {
        "binary.json": bytes(range(256)) * 9,
        "cut.json.gz": gzip.compress(random.Random(0).randbytes(10).hex().encode() * 9_000)[:-9],
        "late.csv.gz": gzip.compress(dumps[0].read_bytes() * 70_000)[:-9],
        "column.csv": b"user_id,parent_asin,timestamp\nA,B,1\n",
        "broken.json": b'[{"reviewerID": "A", "asin": "B", "unixReviewTime": 1400630400},'
        + b'\n{"a":[' * 9_000,
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    for base in (False, True):
        before = {table: digest_of(settings, table) for table in TABLES} if base else {}
        for name in bad:
            with pytest.raises(Mrl4recError) as caught:
                ingest(settings, dumps[1], tmp_path / name)
            assert str(tmp_path / name) in str(caught.value), name
            assert not list(settings.warehouse.glob("**/.spill*"))
            if base:
                assert {table: digest_of(settings, table) for table in TABLES} == before
            else:
                assert versions.newest_good(settings, "d", "sources") is None
        if not base:
            ingest(settings, dumps[0])


def test_a_file_that_changes_while_it_is_read_is_refused(
    settings: Settings, dumps: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = decode.blocks

    def growing(given: Any) -> Any:
        yield from plain(given)
        with given.source.path.open("a") as out:
            out.write(f"{C},{X},9.0,{T}\n")

    with monkeypatch.context() as patch:
        patch.setattr(decode, "blocks", growing)
        with pytest.raises(Mrl4recError, match=dumps[0].name) as caught:
            ingest(settings, dumps[0])
    assert caught.value.where == str(dumps[0])
    assert versions.newest_good(settings, "d", "sources") is None
    assert counts(ingest(settings, dumps[0])) == [[6, 4, 1, 1]]


def test_a_file_that_was_taken_in_is_not_read_in_another_way(
    settings: Settings, dumps: tuple[Path, Path]
) -> None:
    ingest(settings, dumps[0])
    assert not ingest(settings, dumps[0], format="amazon-ratings-user-item").found
    assert counts(ingest(settings, dumps[0], columns="user=1,item=2,rating=3,time=4")) == [
        [5, 4, 1, 0]
    ]
    for options in (
        {"format": "amazon-ratings-item-user"},
        {"columns": "user=2,item=1,rating=3,time=4"},
        {"columns": "user=1,item=2,rating=3"},
        {"rating_range": "1:10"},
        {"time_unit": "ms"},
    ):
        with pytest.raises(UsageError, match="amazon-ratings-user-item") as caught:
            ingest(settings, dumps[0], **options)
        assert "--dataset" in (caught.value.todo or "")
    with pytest.raises(UsageError, match="amazon-ratings-"):
        ingest(settings, dumps[0], format="amazon-ratings")
    assert counts(ingest(settings, dumps[0])) == [[5, 4, 1, 0]]


@pytest.mark.parametrize("name", ["it's", "a b", "*%{x}", "ü~", 'q"'])
def test_the_warehouse_may_be_called_anything(
    settings: Settings, dumps: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    place = elsewhere(settings, tmp_path / name)
    ingest(place, dumps[0])
    ingest(place, dumps[1])
    ingest(settings, *dumps)
    assert digest_of(place, "reviews") == digest_of(settings, "reviews")


@pytest.mark.parametrize("name", ["a#", "[x]", "a?b", "a%20b", "|", "\\"])
def test_where_no_table_can_lie_nothing_is_written(
    settings: Settings, dumps: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match="MRL4REC_WAREHOUSE"):
        ingest(elsewhere(settings, tmp_path / name), dumps[0])
    assert not (tmp_path / name).exists()


# ---------------------------------------------------------------------- mappings


def stars(path: Path, ratings: Sequence[float], *, step: int = 1, first: int = 0) -> Path:
    """A file of no known form; ``step`` times seconds."""
    lines = [f"u{first + n},i{n},{rating:g},{(T + n) * step}" for n, rating in enumerate(ratings)]
    path.write_text("\n".join(["customer,product,stars,when", *lines]) + "\n")
    return path


def test_the_first_dumps_mapping_holds_for_later_ones(settings: Settings, tmp_path: Path) -> None:
    first = stars(tmp_path / "first.csv", [1, 2.5, 4])
    notes = ingest(settings, first).summary["notes"]
    assert any(str(first) in note and "from 1 to 4" in note for note in notes)

    poisoned = stars(tmp_path / "poisoned.csv", [1, 4, 100, 0.5], first=10)
    commit = ingest(settings, poisoned)
    assert counts(commit) == [[4, 2, 0, 2]]
    assert commit.summary["rules"] == {"rating_out_of_range": 2}
    assert commit.summary["first_bad"]["rating_out_of_range"]["detail"] == "outside 1 to 4: 100"

    other_unit = stars(tmp_path / "ms.csv", [1, 2, 3], step=1000, first=20)
    commit = ingest(settings, other_unit)
    assert counts(commit) == [[3, 0, 0, 3]]
    assert commit.summary["rules"] == {"time_unit": 3}

    asked = stars(tmp_path / "asked.csv", [0.5, 5], first=30)
    assert counts(ingest(settings, asked, rating_range="0:5")) == [[2, 2, 0, 0]]
    later = stars(tmp_path / "later.csv", [0.5, 4], first=40)
    assert counts(ingest(settings, later)) == [[2, 1, 0, 1]]


def test_a_range_that_was_given_holds_and_empty_files_have_none(
    settings: Settings, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text(" \n")
    ingest(settings, empty)
    ingest(settings, stars(tmp_path / "first.csv", [2, 3]), rating_range="1:5")
    assert counts(ingest(settings, stars(tmp_path / "second.csv", [1, 5, 6], first=9))) == [
        [3, 2, 0, 1]
    ]
    mappings = [json.loads(row["mapping"]) for row in rows(settings, "sources")]
    assert sorted(tuple(m.get("rating_range", ())) for m in mappings) == [(), (1, 5), (1, 5)]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.refused])
def test_what_people_bring_is_taken_in_whole(settings: Settings, tmp_path: Path, name: str) -> None:
    case: Case = CASES[name]
    path = tmp_path / "dump"
    path.write_bytes(case.content)
    if case.options:
        with pytest.raises(UsageError):
            ingest(settings, path)
        assert not settings.warehouse.exists()
    commit = ingest(settings, path, **case.options)
    records = case.records
    assert counts(commit)[0][::3] == [records, 0]
    reviews = rows(settings, "reviews", commit)
    if records == len(ROWS) and name not in (
        "cp1252",
        "blanks between",
        "no header, order not clear",
    ):
        assert {(r["user_id"], r["item_id"]) for r in reviews} == {row[:2] for row in ROWS}
        micros = {int(r["reviewed_at"].timestamp()) for r in reviews if r["reviewed_at"]}
        assert len(micros) in (0, 12, 48)
    if name == "cp1252":
        assert "Zoë5" in {r["user_id"] for r in reviews}


def test_each_file_of_an_archive_is_a_source(settings: Settings, tmp_path: Path) -> None:
    import zipfile

    stars(tmp_path / "a.csv", [1, 2])
    stars(tmp_path / "b.csv", [3, 9, 4], first=5)
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        for name in ("a.csv", "b.csv"):
            archive.write(tmp_path / name, f"in/{name}")
    commit = ingest(settings, tmp_path / "both.zip")
    assert [Path(s["path"]).name for s in commit.summary["sources"]] == ["a.csv", "b.csv"]
    assert counts(commit) == [[2, 2, 0, 0], [3, 3, 0, 0]]
    assert {row["path"] for row in rows(settings, "sources")} == {
        f"{tmp_path}/both.zip/in/{name}" for name in ("a.csv", "b.csv")
    }
    again = ingest(settings, tmp_path / "a.csv", tmp_path / "b.csv")  # the same bytes
    assert (again.summary["total"]["rows_read"], again.found) == (5, True)


def test_parquet_is_taken_in_as_csv_is(settings: Settings, tmp_path: Path) -> None:
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    text = stars(tmp_path / "a.csv", [1, 2, 7.5, 5])
    table = pa_csv.read_csv(text)
    pq.write_table(table, tmp_path / "a.parquet")
    other = elsewhere(settings, tmp_path / "other")
    commit = ingest(settings, tmp_path / "a.parquet", rating_range="1:5")
    ingest(other, text, rating_range="1:5")
    facts = [
        [
            (r["user_id"], r["item_id"], r["rating"], r["reviewed_at"])
            for r in rows(place, "reviews")
        ]
        for place in (settings, other)
    ]
    assert sorted(facts[0]) == sorted(facts[1])
    assert counts(commit) == [[4, 3, 0, 1]]
    assert json.loads(rows(settings, "quarantine")[0]["record"])["stars"] == 7.5


ODD = ["007", "7", "07", "-dash", "--user", "a,b", 'say "x"', "  x", "Å", "A\u030a", "USER", "user",
       "😀", "NA", "null-ish", "0x1F", "1e5", "%s", "..", "x/y"]  # fmt: skip


def test_odd_ids_are_neither_lost_nor_merged(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    pairs = [(ODD[n % 20], ODD[(n * 7 + n // 20) % 20]) for n in range(140)]
    names = ("user_id", "parent_asin", "rating", "timestamp")
    lines = [
        dict(zip(names, (u, i, 5.0, T * 1000 + n), strict=True)) for n, (u, i) in enumerate(pairs)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    commit = ingest(settings, path)
    found = {(r["user_id"], r["item_id"]) for r in rows(settings, "reviews", commit)}
    assert found == {(u.strip(), i.strip()) for u, i in pairs}
    assert (commit.summary["total"]["users"], len(found)) == (20, 140)


# ---------------------------------------------------------------------- bounds


def test_an_empty_dump_is_a_source_without_rows(settings: Settings, tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text("\n \n")
    commit = ingest(settings, empty)
    (source,) = commit.summary["sources"]
    assert (source["path"], source["format"]) == (str(empty), "empty")
    assert counts(commit) == [[0, 0, 0, 0]]
    assert rows(settings, "reviews", commit) == []
    configuration = DeltaTable(settings.storage.table_uri("d", "sources")).metadata().configuration
    assert configuration["delta.logRetentionDuration"].startswith("interval")
    assert ingest(settings, empty).found


def test_as_of_is_part_of_the_key_and_read_as_utc(dumps: tuple[Path, Path]) -> None:
    def key(as_of: datetime | None, **options: str) -> str:
        return IngestRequest("d", dumps, ReadOptions.parse(**options), as_of).key([])

    naive, zoned = (
        datetime(2020, 1, 1),
        datetime(2020, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5.5))),
    )
    assert key(naive) == key(AS_OF) == key(zoned)
    assert len({key(None), key(AS_OF), key(AS_OF, format="movielens-csv")}) == 3
    with pytest.raises(UsageError):
        IngestRequest("d", ())


def test_times_after_as_of_are_quarantined(settings: Settings, dumps: tuple[Path, Path]) -> None:
    commit = run(
        IngestRequest("d", dumps[:1], as_of=datetime.fromtimestamp(T + DAY, UTC)), settings
    )
    assert commit.summary["rules"] == {"future_time": 1}
    check_conserved(settings, commit)


KILLED = """
import sys
from tests.faults.crash import arm
arm(f"kill after mrl4rec.transforms.duckdb_engine:commit_stream {sys.argv.pop(1)}")
from jobs.ingest import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(("commits", "written"), [(1, "quarantine"), (2, "reviews")])
@pytest.mark.fault("F10", "F38")
def test_a_run_killed_between_its_commits_leaves_nothing_half_visible(
    settings: Settings, tmp_path: Path, commits: int, written: str
) -> None:
    dump = tmp_path / "dump.csv"
    lines = [(f"{A}{n % 7}", f"B00005N7P{n % 5}", f"{1 + n % 5}", n) for n in range(500)]
    csv(dump, [*lines, (A, "B00005N7P0", "9", 1)])
    command = ["--dataset", "d", "--source", str(dump), "--warehouse", str(settings.warehouse)]
    odd = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(commits), *command, "--as-of", "2020-01-01"],
        env={**os.environ, **odd}, cwd=ROOT, start_new_session=True, check=False,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL
    assert len(rows(settings, written)) > 0  # written, yet not seen
    assert versions.newest_good(settings, "d", "sources") is None
    left = settings.warehouse / ".spill" / "4999999-dead"  # of a process that is no more
    left.mkdir(parents=True)

    again = ingest(settings, dump)
    assert not again.found
    quiet = elsewhere(settings, tmp_path / "quiet")
    undisturbed = ingest(quiet, dump)
    assert again.key == undisturbed.key
    assert again.summary["total"] == undisturbed.summary["total"]
    for table in TABLES:
        assert digest_of(settings, table) == digest_of(quiet, table)
    assert not (settings.warehouse / ".spill").exists()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of so many MB; the test is skipped where none can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.fault("F18")
def test_a_disk_that_fills_while_spilling_leaves_the_tables_as_they_were(
    settings: Settings, tmp_path: Path
) -> None:
    big, dice = tmp_path / "big.csv", random.Random(1)
    with big.open("w") as out:
        for n in range(1_200_000):
            user, item = dice.randrange(400_000), dice.randrange(400_000)
            out.write(f"A{user:020d},B{item:09d},{1 + n % 5},{T + n}\n")
    small = csv(tmp_path / "small.csv", [(A, X, "5.0", 1), (B, Y, "4.0", 2)])
    with small_disk(tmp_path / "disk", 24) as disk:
        place = elsewhere(settings, disk).model_copy(update={"memory_gb": 0.06})
        commit = ingest(place, small)
        before = [rows(place, table, commit) for table in TABLES]
        with pytest.raises(Mrl4recError) as caught:
            ingest(place, big)
        assert ".spill" in (caught.value.where or "")
        assert "MRL4REC_MEMORY_GB" in (caught.value.todo or "")
        assert versions.newest_good(place, "d", "sources") == commit
        assert [rows(place, table, commit) for table in TABLES] == before
        assert not list(disk.glob(".spill/*"))
        assert counts(ingest(place, small)) == [[2, 2, 0, 0]]


# ---------------------------------------------------------------------- real dumps

# file → rows read, accepted, duplicate, quarantined
SAMPLES = {
    "2014_Cell_Phones_and_Accessories_5.first4776.json.gz": [4776, 4776, 0, 0],
    "2014_Musical_Instruments_5.first50.json.gz": [50, 50, 0, 0],
    # 11 of its reviews are in the Cell Phones dump too, counted apart from this code.
    "2014_ratings_Electronics.head.csv.gz": [50009, 49998, 11, 0],
    "2018_AMAZON_FASHION_5.json.gz": [3176, 3065, 111, 0],
    "2018_Gift_Cards_5.json.gz": [2972, 2969, 3, 0],
    "2018_ratings_Magazine_Subscriptions.csv.gz": [89689, 88467, 1222, 0],
    "2023_All_Beauty.train.csv.gz": [19120, 19120, 0, 0],
    "2023_Subscription_Boxes.quoted2.jsonl": [2, 2, 0, 0],
}


@pytest.mark.slow
def test_every_sample_is_conserved_and_its_traps_are_found(
    settings: Settings, real_data: Path
) -> None:
    commit = ingest_now(settings, *expand([str(real_data / "samples" / "*")]))
    check_conserved(settings, commit)
    names = [Path(source["path"]).name for source in commit.summary["sources"]]
    found = dict(zip(names, counts(commit), strict=True))
    array = found.pop("2014_Cell_Phones_and_Accessories_5.first4776.jsonarray.gz")
    lines = found.pop("2014_Cell_Phones_and_Accessories_5.first4776.json.gz")
    # The same reviews twice: whichever file's digest is smaller keeps them.
    assert (lines[0], array[0], array[3]) == (4776, 4777, 1)
    assert sorted([lines[1], array[1]]) == [0, 4776]
    assert found == {name: n for name, n in SAMPLES.items() if name in found}
    assert commit.summary["rules"] == {"not_json": 1}  # the array's last record, cut off
    notes = "\n".join(commit.summary["notes"])
    for trap in (
        r"Gift_Cards_5.json.gz: 7 rows repeat",
        r"AMAZON_FASHION_5.json.gz: 134 rows repeat",
        r"Magazine_Subscriptions.csv.gz: 1,371 rows repeat",
        r"Electronics.head.csv.gz: 41 numeric item ids (1,255 rows) are shorter than 10 digits",
    ):
        assert trap in notes
    assert len(commit.summary["notes"]) == 4
    (broken,) = rows(settings, "quarantine")
    assert broken["record_no"] == 4776
    assert broken["record"].rstrip().endswith('"overall":')
    millis = [r for r in rows(settings, "reviews") if r["reviewed_at"].microsecond % 10**6]
    assert millis  # 2023 keeps milliseconds


def ingest_now(settings: Settings, *files: Path) -> Commit:
    return run(IngestRequest("d", files), settings)


@pytest.mark.slow
def test_the_phones_dump_and_the_authors_files(
    settings: Settings, real_data: Path, tmp_path: Path
) -> None:
    (phones,) = (real_data / "amazon2014").glob("reviews_Cell*")
    commit = ingest_now(settings, phones)
    total = commit.summary["total"]
    assert (total["rows_accepted"], total["users"], total["items"]) == (194439, 27879, 10429)
    assert commit.summary["ids"] == "first_appearance"
    assert datetime.fromisoformat(commit.summary["as_of"]).tzinfo is not None
    reviews = DeltaTable(settings.storage.table_uri("d", "reviews")).to_pyarrow_table()
    assert reviews["rating"].null_count == 194439  # this dump has no `overall`
    assert len(DeltaTable(settings.storage.table_uri("d", "reviews")).file_uris()) == 1
    first = min(reviews.to_pylist(), key=lambda row: row["record_no"])
    assert (first["record_no"], first["user_id"]) == (0, "A30TL5EWN6DFXT")

    lists = elsewhere(settings, tmp_path / "lists")
    commit = ingest_now(lists, *expand([str(real_data / "author-splits" / "phone")]))
    total = commit.summary["total"]
    assert (total["rows_accepted"], total["users"], total["items"]) == (194439, 27879, 10429)
    assert commit.summary["ids"] == "integer"
    reviews = DeltaTable(lists.storage.table_uri("d", "reviews")).to_pyarrow_table()
    assert reviews["reviewed_at"].null_count == 194439
    assert [c.table for c in history(lists.storage.table_uri("d", SOURCES.name), SOURCES.name)] == [
        "sources"
    ]
    assert "quarantine" in commit.outputs


def test_only_sessions_make_a_data_set_of_lists(settings: Settings, tmp_path: Path) -> None:
    lists, dump = tmp_path / "lists.jsonl", tmp_path / "dump.csv"
    lists.write_text("[1, 1]\n[2, 3, 1]\n")
    commit = ingest_now(settings, lists)
    assert commit.summary["lists"] is True
    assert not any("repeat" in note for note in commit.summary["notes"])
    found = sorted(rows(settings, "reviews"), key=lambda row: row["record_no"])
    session = sha(lists)[:12]
    events = [(f"{session}-0", "1")] * 2 + [(f"{session}-1", item) for item in "231"]
    assert [(row["user_id"], row["item_id"]) for row in found] == events
    dump.write_text("user,item\na,1\n")
    assert "lists" not in ingest_now(settings, dump).summary


@pytest.mark.parametrize("name", ["a row of a dump", "sessions taken in before"])
def test_a_row_that_feigns_a_session_replaces_nothing(
    settings: Settings, tmp_path: Path, name: str
) -> None:
    lists, dump = tmp_path / "lists.jsonl", tmp_path / "dump.csv"
    lists.write_text("[1, 1]\n[2, 3, 1]\n")
    dump.write_text(f"user,item,stars\n{sha(lists)[:12]}-0,1,1\nb,1,5\n")
    for file in (lists, dump) if name.startswith("sessions") else (dump, lists):
        commit = ingest_now(settings, file)
        assert commit.summary["total"]["rows_duplicate"] == 0
    assert len(rows(settings, "reviews")) == 7


def test_the_sessions_of_retailrocket(settings: Settings, real_data: Path) -> None:
    (file,) = (real_data / "sequential").glob("CGENet_retailrocket_all*")
    total = ingest_now(settings, file).summary["total"]
    assert (total["users"], total["items"]) == (126_168, 36_968)
    assert total["rows_read"] == total["rows_accepted"] == 685_984


def test_the_events_of_retailrocket(settings: Settings, tmp_path: Path) -> None:
    """Whatever a visitor did with an item is an interaction."""
    file = tmp_path / "events.csv"
    file.write_text(
        "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
        "1433221332117,257597,addtocart,355908,\n1433224214164,992329,transaction,248676,4000\n"
    )
    commit = ingest_now(settings, file)
    assert commit.summary["sources"][0]["format"] == "retailrocket-events"
    assert counts(commit) == [[3, 2, 1, 0]]
    found = {(row["user_id"], row["item_id"]): row for row in rows(settings, "reviews")}
    assert set(found) == {("257597", "355908"), ("992329", "248676")}
    assert found["257597", "355908"]["reviewed_at"].timestamp() == 1433221332.117


def test_the_command_line_prints_the_summary_or_the_reason(
    settings: Settings, dumps: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--dataset", "d", "--warehouse", str(settings.warehouse)]
    assert main([*where, "--source", str(dumps[1]), "--as-of", "2020-01-01"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["rows_quarantined"] == 1
    assert main([*where, "--source", str(dumps[1]) + ".no"]) == 2
    assert f"{dumps[1]}.no" in json.loads(capsys.readouterr().out)["error"]
    assert main([*where, "--source", str(dumps[0]), "--time-unit", "h"]) == 2
    assert "'h'" in json.loads(capsys.readouterr().out)["error"]
    assert main([*where, "--source", str(dumps[0]), "--as-of", "soon"]) == 2


def test_the_data_stages_run_as_processes_of_their_own(settings: Settings, tmp_path: Path) -> None:
    """Without pandas, which a stage on DuckDB hides from pyarrow."""
    dump = csv(tmp_path / "dump.csv", [(f"u{n % 5}", f"i{n // 5}", "3", n) for n in range(25)])
    where = ["--dataset", "d", "--warehouse", str(settings.warehouse)]
    read_as = ["--columns", "user=1,item=2,rating=3,time=4"]
    for command in (
        ["ingest", "--source", str(dump), *read_as],
        ["kcore", "--kcore", "2"],
        ["split"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", f"jobs.{command[0]}", *where, *command[1:]],
            capture_output=True, text=True, check=False, cwd=ROOT,
            env={**os.environ, "MRL4REC_DATA_ENGINE": "duckdb"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)
