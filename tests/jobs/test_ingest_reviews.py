"""The ingest stage: nothing vanishes, nothing is taken twice, order of dumps does not matter."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from jobs import ingest_tables
from jobs.ingest_reviews import COUNTS, IngestRequest, main, run
from mrl4rec import versions
from mrl4rec.errors import Mrl4recError, UsageError
from mrl4rec.formats import expand
from mrl4rec.settings import Settings
from mrl4rec.stage import Commit, history
from mrl4rec.tables import GATES, QUARANTINE, REVIEWS, SOURCES

AS_OF = datetime(2020, 1, 1, tzinfo=UTC)
DAY = 86400


def rows(settings: Settings, table: str, commit: Commit | None = None) -> list[dict[str, Any]]:
    """A table's rows in one order: at the head, or as the commit has them."""
    version = commit.table_version(table) if commit else None
    found = DeltaTable(settings.table_uri("d", table), version=version).to_pyarrow_table()
    return sorted(found.to_pylist(), key=lambda row: json.dumps(row, default=str, sort_keys=True))


def digest_of(settings: Settings, table: str) -> str:
    return hashlib.sha256(repr(rows(settings, table)).encode()).hexdigest()


def ingest(settings: Settings, *files: Path, form: str | None = None) -> Commit:
    return run(IngestRequest("d", files, form, AS_OF), settings)


def no_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Settings) -> SparkSession:
        raise AssertionError("Spark was asked for")

    monkeypatch.setattr(ingest_tables.spark_job, "session", refuse)


def check_conserved(settings: Settings, commit: Commit) -> None:
    listed = rows(settings, "sources", commit)
    for row in listed:
        assert row["rows_read"] == sum(row[name] for name in COUNTS[1:])
    reviews, broken = rows(settings, "reviews", commit), rows(settings, "quarantine", commit)
    assert len(reviews) == sum(row["rows_accepted"] for row in listed)
    assert len(broken) == sum(row["rows_quarantined"] for row in listed)
    keys = {(r["user_id"], r["item_id"], r["reviewed_at"]) for r in reviews}
    assert len(keys) == len(reviews)


def csv(path: Path, lines: Sequence[tuple[str, str, str, int]]) -> Path:
    """Ratings without a header, user first; the last number is a day."""
    path.write_text("".join(f"{u},{i},{r},{10**9 + DAY * day}\n" for u, i, r, day in lines))
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


@pytest.mark.usefixtures("spark")
@pytest.mark.fault("F10")
def test_the_order_of_dumps_changes_counts_and_nothing_else(
    settings: Settings, dumps: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = dumps
    places = [replace_warehouse(settings, tmp_path / name) for name in ("12", "21", "both")]
    ingest(places[0], first)
    ingest(places[1], second)
    commits = [
        ingest(places[0], second),
        ingest(places[1], first),
        ingest(places[2], first, second),
    ]
    kept = {
        (row["user_id"], row["item_id"], row["reviewed_at"].timestamp() // DAY - 10**9 // DAY):
        (row["rating"], row["record_no"])
        for row in rows(places[0], "reviews")
    }  # fmt: skip
    assert kept == {
        (A, X, 1): (4.0, 1),  # the smaller of two in one dump
        (A, X, 2): (4.5, 2),  # the second dump's is smaller
        (B, X, 1): (3.0, 3 if source_of(places[0], B, X) == sha(first) else 1),
        (B, Y, 1): (1.0, 0),
        (C, Y, 9): (5.0, 3),
    }
    assert source_of(places[0], B, X) == min(sha(first), sha(second))  # ratings tie: by digest
    for place, commit in zip(places, commits, strict=True):
        assert digest_of(place, "reviews") == digest_of(places[0], "reviews")
        assert digest_of(place, "quarantine") == digest_of(places[0], "quarantine")
        assert (commit.summary["total"]["users"], commit.summary["total"]["items"]) == (3, 2)
        check_conserved(place, commit)
    (row,) = commits[0].summary["sources"]
    assert [row[name] for name in COUNTS] == [5, 1, 3, 1]
    assert commits[0].summary["rules"] == {"rating_out_of_range": 1}
    assert [row["source_no"] for row in rows(places[2], "sources")] in ([0, 1], [1, 0])


def replace_warehouse(settings: Settings, folder: Path) -> Settings:
    return settings.model_copy(update={"warehouse": folder})


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def source_of(settings: Settings, user: str, item: str) -> str:
    (source,) = {
        r["source_sha256"]
        for r in rows(settings, "reviews")
        if (r["user_id"], r["item_id"]) == (user, item)
    }
    return str(source)


@pytest.mark.usefixtures("spark")
@pytest.mark.fault("F10")
def test_what_was_done_is_not_done_again(
    settings: Settings, dumps: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = dumps
    done = ingest(settings, first)
    ingest(settings, second)
    before = {name: versions.version(settings, "d", name) for name in ("reviews", "quarantine")}
    no_spark(monkeypatch)

    elsewhere = tmp_path / "moved.txt"
    elsewhere.write_bytes(first.read_bytes())
    again = ingest(settings, elsewhere)
    assert again == replace(done, found=True)  # known by its bytes, not by its name

    both = ingest(settings, second, first, elsewhere)  # another request for files that are there
    assert not both.found
    assert dict(both.outputs) == before
    assert both.summary["total"]["rows_read"] == 10
    assert both.summary["total"]["users"] == 3
    assert any("same bytes" in note for note in both.summary["notes"])
    assert sum("taken in before" in note for note in both.summary["notes"]) == 2
    assert ingest(settings, second, first).found
    assert len(rows(settings, "sources")) == 2

    with pytest.raises(UsageError, match="amazon-ratings-user-item before"):
        ingest(settings, first, form="amazon-ratings-item-user")
    with pytest.raises(UsageError, match="did you mean"):
        ingest(settings, first, form="amazon-ratings")


@pytest.mark.usefixtures("spark")
def test_strange_and_failed_versions_are_left_behind(
    settings: Settings, dumps: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = dumps
    good = ingest(settings, first)
    uri = settings.table_uri("d", "reviews")
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
    check_conserved(settings, healed)

    undisturbed = replace_warehouse(settings, tmp_path / "undisturbed")
    ingest(undisturbed, first, second)
    assert digest_of(settings, "reviews") == digest_of(undisturbed, "reviews")


def fail(settings: Settings, table: str, version: int) -> None:
    row = {name: "" for name, c in GATES.columns.items() if c.type == pa.string()}
    row |= {"table": table, "version": str(version), "suite": "reviews", "verdict": "fail"}
    uri = settings.table_uri("d", "gates")
    write_deltalake(uri, pa.Table.from_pylist([row], schema=GATES.schema), mode="append")


@pytest.mark.usefixtures("spark")
@pytest.mark.fault("F14", "F15")
def test_a_refused_file_leaves_everything_as_it_was(
    settings: Settings, dumps: tuple[Path, Path], tmp_path: Path
) -> None:
    bad = {
        "binary.json": bytes(range(256)) * 9,
        "cut.json.gz": gzip.compress(dumps[0].read_bytes() * 9)[:-9],
        "column.csv": b"user_id,parent_asin,timestamp\nA,B,1\n",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Mrl4recError) as caught:
            ingest(settings, dumps[0], tmp_path / name)
        assert caught.value.where == str(tmp_path / name)
    assert not (settings.warehouse / "d" / "reviews").exists()
    assert not list(settings.warehouse.glob("d/unpacked-*"))


def test_an_empty_dump_is_a_source_without_rows(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_spark(monkeypatch)
    empty = tmp_path / "empty.json"
    empty.write_text("\n \n")
    commit = ingest(settings, empty)
    assert commit.summary["sources"] == [
        {"path": str(empty), "format": "empty"} | dict.fromkeys(COUNTS, 0)
    ]
    assert rows(settings, "reviews", commit) == []
    assert (
        DeltaTable(settings.table_uri("d", "sources"))
        .metadata()
        .configuration["delta.logRetentionDuration"]
        .startswith("interval")
    )


def test_as_of_is_part_of_the_key_and_read_as_utc(dumps: tuple[Path, Path]) -> None:
    def key(as_of: datetime | None, form: str | None = None) -> str:
        return IngestRequest("d", dumps, form, as_of).key([])

    naive, zoned = (
        datetime(2020, 1, 1),
        datetime(2020, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5.5))),
    )
    assert key(naive) == key(AS_OF) == key(zoned)
    assert len({key(None), key(AS_OF), key(AS_OF, "movielens-csv")}) == 3
    with pytest.raises(UsageError):
        IngestRequest("d", ())


# file → rows read, accepted, duplicate, quarantined; users, items where data/README gives them
SAMPLES = {
    "2014_Cell_Phones_and_Accessories_5.first4776.json.gz": (4776, 4776, 0, 0),
    "2014_Musical_Instruments_5.first50.json.gz": (50, 50, 0, 0),
    # 11 of its reviews are in the Cell Phones dump too, counted apart from this code.
    "2014_ratings_Electronics.head.csv.gz": (50009, 49998, 11, 0),
    "2018_AMAZON_FASHION_5.json.gz": (3176, 3065, 111, 0),
    "2018_Gift_Cards_5.json.gz": (2972, 2969, 3, 0),
    "2018_ratings_Magazine_Subscriptions.csv.gz": (89689, 88467, 1222, 0),
    "2023_All_Beauty.train.csv.gz": (19120, 19120, 0, 0),
    "2023_Subscription_Boxes.quoted2.jsonl": (2, 2, 0, 0),
}


@pytest.mark.slow
@pytest.mark.usefixtures("spark")
def test_every_sample_is_conserved_and_its_traps_are_found(
    settings: Settings, real_data: Path
) -> None:
    commit = ingest_now(settings, *expand([str(real_data / "samples" / "*")]))
    check_conserved(settings, commit)
    counts = {Path(s["path"]).name: tuple(s[n] for n in COUNTS) for s in commit.summary["sources"]}
    array = counts.pop("2014_Cell_Phones_and_Accessories_5.first4776.jsonarray.gz")
    lines = counts.pop("2014_Cell_Phones_and_Accessories_5.first4776.json.gz")
    # The same reviews twice: whichever file's digest is smaller keeps them.
    assert (lines[0], array[0], array[3]) == (4776, 4777, 1)
    assert sorted([lines[1], array[1]]) == [0, 4776]
    assert counts == {name: n for name, n in SAMPLES.items() if name in counts}
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
    assert broken["record"].endswith('"overall":')
    millis = [r for r in rows(settings, "reviews") if r["reviewed_at"].microsecond % 10**6]
    assert millis  # 2023 keeps milliseconds


def ingest_now(settings: Settings, *files: Path) -> Commit:
    return run(IngestRequest("d", files), settings)


@pytest.mark.slow
@pytest.mark.usefixtures("spark")
def test_the_phones_dump_and_the_authors_files(
    settings: Settings, real_data: Path, tmp_path: Path
) -> None:
    (phones,) = (real_data / "amazon2014").glob("reviews_Cell*")
    commit = ingest_now(settings, phones)
    total = commit.summary["total"]
    assert (total["rows_accepted"], total["users"], total["items"]) == (194439, 27879, 10429)
    assert commit.summary["ids"] == "first_appearance"
    assert datetime.fromisoformat(commit.summary["as_of"]).tzinfo is not None
    reviews = DeltaTable(settings.table_uri("d", "reviews")).to_pyarrow_table()
    assert reviews["rating"].null_count == 194439  # this dump has no `overall`
    assert len(DeltaTable(settings.table_uri("d", "reviews")).file_uris()) == 1
    first = min(reviews.slice(0, None).to_pylist(), key=lambda row: row["record_no"])
    assert (first["record_no"], first["user_id"]) == (0, "A30TL5EWN6DFXT")

    lists = replace_warehouse(settings, tmp_path / "lists")
    commit = ingest_now(lists, *expand([str(real_data / "author-splits" / "phone")]))
    total = commit.summary["total"]
    assert (total["rows_accepted"], total["users"], total["items"]) == (194439, 27879, 10429)
    assert commit.summary["ids"] == "integer"
    reviews = DeltaTable(lists.table_uri("d", "reviews")).to_pyarrow_table()
    assert reviews["reviewed_at"].null_count == 194439
    assert [c.table for c in history(lists.table_uri("d", SOURCES.name), SOURCES.name)] == [
        "sources"
    ]
    assert QUARANTINE.name in commit.outputs


@pytest.mark.usefixtures("spark")
def test_the_command_line_prints_the_summary_or_the_reason(
    settings: Settings, dumps: tuple[Path, Path], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("jobs.spark.stop", lambda: None)  # the other tests still need it
    where = ["--dataset", "d", "--warehouse", str(settings.warehouse)]
    assert main([*where, "--source", str(dumps[1]), "--as-of", "2020-01-01"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["rows_quarantined"] == 1
    assert main([*where, "--source", str(dumps[1]) + ".no"]) == 2
    assert "no such file" in json.loads(capsys.readouterr().out)["error"]
