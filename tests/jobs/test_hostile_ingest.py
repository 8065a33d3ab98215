"""Dumps made to do harm: nothing crashes, hangs or is lost, and each bad record names its rule."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from deltalake import DeltaTable

from jobs.ingest_reviews import COUNTS, IngestRequest, run
from mrl4rec.errors import Mrl4recError, UsageError
from mrl4rec.formats import MAX_RECORD
from mrl4rec.settings import Settings
from mrl4rec.stage import Commit
from tests.listening import listening, reachable_from_outside

AS_OF = datetime(2020, 1, 1, tzinfo=UTC)
GOOD = {"reviewerID": "A1B2C", "asin": "B00001", "overall": 4.0, "unixReviewTime": 1400630400}
LONG = 3 * MAX_RECORD


def old(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


def raw(before: bytes, after: bytes) -> bytes:
    assert before in old()
    return old().replace(before, after)


TOO_LONG = b'{"reviewerID": "' + b"x" * LONG + b'"}'
# line, the rule it breaks (None: none)
JSON_LINES: list[tuple[bytes, str | None]] = [
    (old(), None),
    (old(reviewerID="A2"), None),
    (TOO_LONG, "record_too_long"),
    (b"y" * LONG, "record_too_long"),
    (old(reviewerID="A3", x="z" * 1_000_000), None),
    (raw(b"A1B2C", b"A\x00B"), "not_json"),
    (old(reviewerID="A\x00B"), "bad_id"),
    (raw(b"A1B2C", b"A\xff"), "not_utf8"),
    (raw(b"A1B2C", b"A\xed\xa0\x80"), "not_utf8"),
    (raw(b"A1B2C", b"A\\ud800"), "bad_id"),
    (raw(b"A1B2C", b"A4\\ud83d\\ude00"), None),
    (old(reviewerID="A5?", x="\ud800"), None),
    (old(reviewerID="A6", x="\ud800"), None),
    (old(reviewerID="A7").replace(b"}", b', "x": ' + b"[" * 100_000 + b"}"), "not_json"),
    (old(reviewerID="A7").replace(b"}", b', "x": ' + b'{"a":' * 100_000 + b"}"), "not_json"),
    (raw(b"1400630400", b"9" * 40), "future_time"),
    (raw(b"1400630400", b"9" * 5000), "not_json"),  # Spark reads no number so long
    (raw(b"1400630400", b"-5"), "negative_time"),
    (raw(b"1400630400", b"1400630400123"), "time_unit"),
    (raw(b"1400630400", b"1e999"), "bad_time"),
    (raw(b"4.0", b"1e400"), "bad_rating"),
    (raw(b"4.0", b"-1e400"), "bad_rating"),
    (raw(b"4.0", b"0"), "rating_out_of_range"),
    (raw(b'"A1B2C"', b'"A8", "reviewerID": "A9"'), None),
    (old(reviewerID="i" * 1_000_000), "bad_id"),
    (old(reviewerID=["A1B2C"]), "bad_id"),
    (old() + b"] " + old(), "not_json"),
    (old() + b"}", "not_json"),
    (raw(b"}", b', "x": "a\x01"}'), "not_json"),
    (raw(b"}", b', "x": tru}'), "not_json"),
    (b"\x00\x01\x02", "not_json"),
    (b"'", "not_json"),
    (b"", "blank"),
    (b" \t\r", "blank"),
    (old()[:-9], "not_json"),
]
LITERALS: list[tuple[bytes, str | None]] = [
    (repr(GOOD).encode(), None),
    (b"{'reviewerID': 0x" + b"f" * 4000 + b", 'asin': 'B1', 'unixReviewTime': 1400630400}",
     "bad_id"),
    (repr(GOOD | {"reviewerID": "A\ud800"}).encode(), "bad_id"),
    (repr(GOOD | {"reviewerID": "A\x00"}).encode(), "bad_id"),
    (repr(GOOD | {"unixReviewTime": 1e400}).encode(), "not_python"),
    (repr(GOOD).replace("4.0", "1e400").encode(), "bad_rating"),
    (b"{'reviewerID': __import__('os').getcwd()}", "not_python"),
    (b"{'reviewerID': " + b"(" * 100_000, "not_python"),
    (b"{'reviewerID': " + b"-" * 100_000 + b"1}", "not_python"),
    (b"{'reviewerID': 'A1', 'x': [" + b"1," * 200_000 + b"]}", "no_item"),
    (b"{'a': '" + b"x" * LONG + b"'}", "record_too_long"),
    (b"{'reviewerID': '\\N{NO SUCH NAME}'}", "not_python"),
]  # fmt: skip
RATINGS: list[tuple[bytes, str | None]] = [
    *[(b"A1YJEY40YUW4S%c,B00005N7P0,5.0,1400630400" % letter, None) for letter in range(65, 91)],
    (b'"A1YJEY40YUW4SG,B00005N7P0,5.0,1400630400', "not_csv"),
    (b'A1YJEY40YUW4SH,"B00005N7P0,5.0,1400630400', "not_csv"),
    (b"," * 1_000_000, "not_csv"),
    (b"A1YJEY40YUW4SI,B00005N7P0,5.0", "not_csv"),
    (b'"' * 999_999, "not_csv"),
    (b"A1YJEY40YUW4SJ,B00005N7P0,5.0,1400630400,6", "not_csv"),
    (b"\x00,B00005N7P0,5.0,1400630400", "bad_id"),
    (b"z" * LONG, "record_too_long"),
]
LISTS = b"0 1 2\n1 " + b"7" * LONG + b" 3 -4 x\n\n" + b"9" * LONG + b" 5\n2\n3 1"
"""Pairs: 0 1, 0 2; 1 …, 1 3, 1 -4, 1 x; … 5; 3 1."""
ARRAY = [old(reviewerID="A1"), old(reviewerID="A2")[:-30] + b", {{", old(reviewerID="A3")]


def write(folder: Path) -> dict[str, tuple[Path, Counter[str | None]]]:
    """The dumps, and how many records of each break which rule."""
    folder.mkdir()
    found: dict[str, tuple[Path, Counter[str | None]]] = {}
    for name, lines in (("json", JSON_LINES), ("loose", LITERALS), ("csv", RATINGS)):
        path = folder / f"{name}.txt"
        path.write_bytes(b"\n".join(line for line, _ in lines))
        found[name] = path, Counter(rule for _, rule in lines if rule != "blank")
    packed = folder / "packed.gz"
    packed.write_bytes(gzip.compress(b"\n".join(line for line, _ in JSON_LINES) + b"\n", 1))
    found["packed"] = packed, found["json"][1]
    (folder / "lists.txt").write_bytes(LISTS)
    found["lists"] = folder / "lists.txt", Counter({None: 4, "bad_id": 4})
    (folder / "array.txt").write_bytes(b"[" + b",\n".join(ARRAY) + b"]")
    found["array"] = folder / "array.txt", Counter({None: 2, "not_json": 1})
    return found


@pytest.mark.fault("F14", "F15")
@pytest.mark.usefixtures("spark")
def test_no_record_of_a_hostile_dump_is_lost(settings: Settings, tmp_path: Path) -> None:
    dumps = write(tmp_path / "dumps")
    files = tuple(path for path, _ in dumps.values())
    commit = run(IngestRequest("d", files, None, AS_OF), settings)
    sources = {Path(row["path"]).name: row for row in rows(settings, "sources", commit)}
    broken = rows(settings, "quarantine", commit)
    for path, rules in dumps.values():
        row = sources[path.name]
        seen = Counter(r["rule"] for r in broken if r["source_sha256"] == row["source_sha256"])
        expected = {rule: n for rule, n in rules.items() if rule is not None}
        assert dict(seen) == expected, path.name
        assert row["rows_read"] == rules.total()
        assert row["rows_read"] == sum(row[name] for name in COUNTS[1:])
        assert row["rows_quarantined"] == sum(expected.values())
    assert len(rows(settings, "reviews", commit)) == commit.summary["total"]["rows_accepted"]
    assert max(len(row["record"]) for row in broken) == 65_536
    long = [row for row in broken if row["rule"] == "record_too_long"]
    sizes = {len(TOO_LONG), LONG, len(b"{'a': ''}") + LONG}
    assert {row["detail"] for row in long} == {f"bytes: {size}" for size in sizes}
    assert not list(settings.dataset_dir("d").glob("unpacked-*"))
    users = {row["user_id"] for row in rows(settings, "reviews", commit)}
    assert {"A4\U0001f600", "A5?", "A6", "A9"} <= users
    assert "A?" not in users


def rows(settings: Settings, table: str, commit: Commit) -> list[dict[str, Any]]:
    version = commit.table_version(table)
    found = DeltaTable(settings.table_uri("d", table), version).to_pyarrow_table().to_pylist()
    return list(found)


@pytest.mark.usefixtures("spark")
def test_spark_is_reached_from_this_machine_alone() -> None:
    assert any("java" in who for who in listening(os.getpid()).values())
    assert reachable_from_outside(os.getpid()) == {}


def test_a_name_cannot_lead_out_of_the_warehouse(settings: Settings, tmp_path: Path) -> None:
    dump = tmp_path / "dump.json"
    dump.write_bytes(old() + b"\n")
    for name in ("..", "../x", "a/b", "/etc", ".hidden", "a\\b/../..", "x" * 300, "", "a\n", "-x"):
        with pytest.raises(UsageError, match="cannot name a folder"):
            run(IngestRequest(name, (dump,), None, AS_OF), settings)
    assert not settings.warehouse.exists()


@pytest.mark.parametrize("name", [b"\xff.json", b"a\x1b[2J.json", b"a\nb.json"])
def test_a_file_whose_name_is_no_text_is_refused(
    settings: Settings, tmp_path: Path, name: bytes
) -> None:
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    path.write_bytes(old() + b"\n")
    with pytest.raises(UsageError, match="control characters or bytes that are no UTF-8") as caught:
        run(IngestRequest("d", (path,), None, AS_OF), settings)
    assert str(caught.value).isascii()
    assert "\x1b" not in str(caught.value)


def test_a_header_of_a_million_columns_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    header = b"userId,movieId,rating,timestamp," + b",".join(b"c%d" % n for n in range(200_000))
    path.write_bytes(header + b"\n1,2,3.0,964982703" + b"," * 200_000 + b"\n")
    with pytest.raises(Mrl4recError, match="names 200,004 columns"):
        run(IngestRequest("d", (path,), None, AS_OF), settings)


GIB = 1 << 30
MOST_MB = 700
"""Of a process that reads a line of 1 GiB: Python with its libraries takes about 400."""


@pytest.mark.slow
@pytest.mark.fault("F14")
def test_a_line_of_a_gigabyte_takes_no_gigabyte_of_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    with path.open("wb") as out:
        out.write(old() + b"\n" + b'{"reviewerID": "')
        for _ in range(1024):
            out.write(b"x" * MAX_RECORD)
        out.write(b'"}\n' + old(reviewerID="A2") + b"\n")
    command = ["--dataset", "d", "--source", str(path), "--warehouse", str(tmp_path / "w")]
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.ingest_reviews", *command], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "MRL4REC_SPARK_MEMORY": "1g", "MRL4REC_SHUFFLE_PARTITIONS": "2"},
    )  # fmt: skip
    peak: Counter[str] = Counter()
    while process.poll() is None:
        for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(True)):
            try:
                used = one.memory_info().rss >> 20
                peak[one.name()] = max(peak[one.name()], used)
            except psutil.NoSuchProcess:
                continue
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    assert process.stdout is not None
    (source,) = json.loads(process.stdout.read())["sources"]
    assert [source[name] for name in COUNTS] == [3, 2, 0, 1]
    found = DeltaTable(str(tmp_path / "w" / "d" / "quarantine")).to_pyarrow_table().to_pylist()
    assert [(row["rule"], row["detail"], row["record_no"]) for row in found] == [
        ("record_too_long", f"bytes: {GIB + 18}", 1)
    ]
    python = {name: used for name, used in peak.items() if "java" not in name}
    assert python
    assert max(python.values()) < MOST_MB, peak
    assert all(used < 2048 for name, used in peak.items() if "java" in name), peak
