"""A whole run with secrets in its settings: they are in nothing that it says or leaves behind."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.flows.dumps import answer, mrl4rec, ratings_csv

SECRET = "s3cr3t-9f8e7d"


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_no_secret_is_said_or_kept(tmp_path: Path) -> None:
    """MLflow is away, so that what would go to it lies in the spool; a gate fails, and alerts."""
    secrets = {
        "MRL4REC_TRACKING_URI": f"http://me:{SECRET}@127.0.0.1:{dead_port()}",
        "MRL4REC_ALERT_WEBHOOK": f"http://127.0.0.1:{dead_port()}/services/{SECRET}",
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    warehouse, dump = tmp_path / "w", ratings_csv(tmp_path / "ratings.csv")
    asked = ("--dataset", "d", "--source", str(dump), "--methods", "Pop")
    done = mrl4rec("run", *asked, warehouse=warehouse, **secrets)
    answer(done)
    assert "127.0.0.1" in done.stderr  # the server that is away is named
    assert "http://me:***@127.0.0.1" in done.stderr
    assert list((warehouse / "spool").glob("*.json"))

    with dump.open("a") as out:
        out.write("1,1,9.0,1000000000\n" * 5000)  # most of it is out of range
    failed = mrl4rec("ingest", *asked[:4], warehouse=warehouse, **secrets)
    assert failed.returncode == 3, failed.stderr[-2000:]
    assert "alert gate_failed: d:" in failed.stderr
    assert "alert gate_failed was not delivered" not in failed.stderr  # the exit waited 5 s at most

    for run in (done, failed):
        assert SECRET not in run.stdout + run.stderr
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) > 50
    assert [path for path in kept if SECRET.encode() in path.read_bytes()] == []
