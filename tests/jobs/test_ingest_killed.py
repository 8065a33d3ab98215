"""kill -9 between the commits of ingest: nothing half-visible, and run again it ends the same."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deltalake import DeltaTable

from jobs.ingest_reviews import IngestRequest, run
from mrl4rec import versions
from mrl4rec.settings import Settings

DEADLINE = 240
"""Seconds for a JVM to start and write one table, on a machine that has other things to do."""


def digest(settings: Settings, table: str) -> str:
    found = DeltaTable(settings.table_uri("d", table)).to_pyarrow_table().to_pylist()
    rows = sorted(json.dumps(row, default=str, sort_keys=True) for row in found)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


@pytest.mark.slow
@pytest.mark.usefixtures("spark")
def test_a_run_killed_after_reviews_was_written(settings: Settings, tmp_path: Path) -> None:
    dump = tmp_path / "dump.csv"
    good = [f"A1YJEY40YUW4S{n % 7},B00005N7P{n % 5},{1 + n % 5},{10**9 + n}" for n in range(500)]
    dump.write_text("\n".join([*good, "A1YJEY40YUW4SE,B00005N7P0,9,1000000000"]) + "\n")
    written = settings.warehouse / "d" / "reviews" / "_delta_log" / f"{1:020}.json"

    command = ["--dataset", "d", "--source", str(dump), "--warehouse", str(settings.warehouse)]
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.ingest_reviews", *command],
        env={**os.environ, "TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "7"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # its JVM is killed with it
    )
    try:
        until = time.monotonic() + DEADLINE
        while not written.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    assert written.exists()
    assert DeltaTable(settings.table_uri("d", "reviews")).count() == 500  # written, yet not seen
    assert versions.newest_good(settings, "d", "sources") is None

    again = run(IngestRequest("d", (dump,)), settings)
    assert not again.found
    quiet = settings.model_copy(update={"warehouse": tmp_path / "quiet"})
    undisturbed = run(IngestRequest("d", (dump,)), quiet)
    assert again.key == undisturbed.key
    assert again.summary["total"] == undisturbed.summary["total"]
    for table in ("reviews", "quarantine", "sources"):
        assert digest(settings, table) == digest(quiet, table)
    assert not list(settings.warehouse.glob("d/unpacked-*"))
