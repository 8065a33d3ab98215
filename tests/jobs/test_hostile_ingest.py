"""Dumps made to do harm: nothing crashes, hangs or is lost, and each bad record names its rule."""

from __future__ import annotations

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
from hostile_dumps import LONG, TOO_LONG, hostile_dumps, old

from jobs.ingest import COUNTS, IngestRequest, run
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.formats import MAX_RECORD
from tests.listening import listening, reachable_from_outside

AS_OF = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.fault("F14", "F15")
def test_no_record_of_a_hostile_dump_is_lost(settings: Settings, tmp_path: Path) -> None:
    """On DuckDB; that Spark gives the same is in test_engines_agree."""
    dumps = hostile_dumps(tmp_path / "dumps")
    files = tuple(path for path, _ in dumps.values())
    commit = run(IngestRequest("d", files, as_of=AS_OF), settings)
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
    users = {row["user_id"] for row in rows(settings, "reviews", commit)}
    assert {"A4\U0001f600", "A5?", "A6", "A9"} <= users
    assert not {"A?", "A8"} & users


def rows(settings: Settings, table: str, commit: Commit) -> list[dict[str, Any]]:
    version = commit.table_version(table)
    found = (
        DeltaTable(settings.storage.table_uri("d", table), version).to_pyarrow_table().to_pylist()
    )
    return list(found)


@pytest.mark.usefixtures("spark")
def test_spark_is_reached_from_this_machine_alone() -> None:
    assert any("java" in who for who in listening(os.getpid()).values())
    assert reachable_from_outside(os.getpid()) == {}


def test_a_name_cannot_lead_out_of_the_warehouse(settings: Settings, tmp_path: Path) -> None:
    dump = tmp_path / "dump.json"
    dump.write_bytes(old() + b"\n")
    for name in ("..", "../x", "a/b", "/etc", ".hidden", "a\\b/../..", "x" * 300, "", "a\n", "-x"):
        with pytest.raises(UsageError) as caught:
            run(IngestRequest(name, (dump,), as_of=AS_OF), settings)
        assert repr(name) in caught.value.what
    assert not settings.warehouse.exists()


@pytest.mark.parametrize("name", [b"\xff.json", b"a\x1b[2J.json", b"a\nb.json"])
def test_a_file_whose_name_is_no_text_is_refused(
    settings: Settings, tmp_path: Path, name: bytes
) -> None:
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    path.write_bytes(old() + b"\n")
    with pytest.raises(UsageError) as caught:
        run(IngestRequest("d", (path,), as_of=AS_OF), settings)
    assert str(caught.value).isascii()
    assert "\x1b" not in str(caught.value)


def test_a_header_of_a_million_columns_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    header = b"userId,movieId,rating,timestamp," + b",".join(b"c%d" % n for n in range(200_000))
    path.write_bytes(header + b"\n1,2,3.0,964982703" + b"," * 200_000 + b"\n")
    with pytest.raises(Mrl4recError, match=r"1,000|200,004"):
        run(IngestRequest("d", (path,), as_of=AS_OF), settings)


GIB = 1 << 30
MOST_MB = 700
"""Of a process that reads a line of 1 GiB: Python with its libraries takes about 400."""


@pytest.mark.slow
@pytest.mark.fault("F14")
@pytest.mark.parametrize("engine", ["duckdb", "spark"])
@pytest.mark.usefixtures("spark")
def test_a_line_of_a_gigabyte_takes_no_gigabyte_of_memory(tmp_path: Path, engine: str) -> None:
    path = tmp_path / "long.json"
    with path.open("wb") as out:
        out.write(old() + b"\n" + b'{"reviewerID": "')
        for _ in range(1024):
            out.write(b"x" * MAX_RECORD)
        out.write(b'"}\n' + old(reviewerID="A2") + b"\n")
    command = ["--dataset", "d", "--source", str(path), "--warehouse", str(tmp_path / "w")]
    limits = {"MRL4REC_SPARK_MEMORY": "1g", "MRL4REC_SHUFFLE_PARTITIONS": "2",
              "MRL4REC_SPARK_MASTER": "local[2]", "MRL4REC_DATA_ENGINE": engine}  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.ingest", *command], stdout=subprocess.PIPE, text=True,
        env={**os.environ, **limits},
    )  # fmt: skip
    peak = peaks(process)
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


def peaks(process: subprocess.Popen[str]) -> Counter[str]:
    """MB that the process and its children hold at most, by name, until it ends."""
    peak: Counter[str] = Counter()
    while process.poll() is None:
        for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(True)):
            try:
                peak[one.name()] = max(peak[one.name()], one.memory_info().rss >> 20)
            except psutil.NoSuchProcess:
                continue
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    return peak
