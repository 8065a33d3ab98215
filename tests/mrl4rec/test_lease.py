"""Leases with real processes: one holds, others wait, the dead and the silent are followed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mrl4rec.errors import Mrl4recError
from mrl4rec.lease import Lease, Lost, confirm

HOLD = """
import sys, time
from pathlib import Path
from mrl4rec.lease import Lease
with Lease(Path(sys.argv[1]), float(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""
TAKE = """
import sys, time
from pathlib import Path
from mrl4rec.lease import Lease
log = Path(sys.argv[2])
with Lease(Path(sys.argv[1]), 60):
    with log.open("a") as file: file.write("in\\n")
    time.sleep(0.2)
    with log.open("a") as file: file.write("out\\n")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lease lies."""
    return tmp_path / ".leases" / "ingest.json"


def holder(path: Path, stale: float) -> subprocess.Popen[str]:
    """Another process that holds the lease for a minute."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(stale)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def other(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A holder with stale time 1.5 s, gone after the test."""
    process = holder(path, 1.5)
    yield process
    process.kill()
    process.wait()


def test_the_file_says_who_holds_it_and_goes_with_the_block(path: Path) -> None:
    with Lease(path, 60) as lease:
        assert lease.held
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()
    assert not lease.held


def test_it_is_let_go_when_the_block_raises(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Lease(path, 60):
        1 / 0  # noqa: B018
    assert not path.exists()


def test_the_same_thread_may_enter_again(path: Path) -> None:
    with Lease(path, 60, timeout=1) as outer:
        with Lease(path, 60, timeout=1):
            assert path.exists()
        assert outer.held
    assert not path.exists()


def test_another_thread_waits(path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with Lease(path, 2):
            order.append("second")

    with Lease(path, 2):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


@pytest.mark.usefixtures("other")
def test_a_heartbeat_keeps_it_beyond_the_stale_time(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Held for twice its stale time by a living process, it is still refused, naming the holder."""
    with pytest.raises(Mrl4recError, match=r"held by process \d+ on") as error:
        Lease(path, 1.5, timeout=3).__enter__()
    assert str(path) in str(error.value)
    assert "waiting for ingest, held by process" in caplog.text


@pytest.mark.fault("F3")
def test_a_killed_holder_is_followed_at_once(
    path: Path, other: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    """kill -9 leaves the file; nobody waits for the stale time of a process that is dead."""
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert path.exists()
    began = time.monotonic()
    with Lease(path, 3600, timeout=5):
        assert time.monotonic() - began < 2
    assert "it is dead" in caplog.text


def test_a_killed_holder_that_nobody_reaped_is_dead_too(
    path: Path, other: subprocess.Popen[str]
) -> None:
    other.send_signal(signal.SIGKILL)
    time.sleep(0.3)  # a zombie of this process: its number still exists
    with Lease(path, 3600, timeout=5) as lease:
        assert lease.held


@pytest.mark.fault("F3")
def test_a_stopped_holder_goes_stale_and_learns_that_it_lost(
    path: Path, other: subprocess.Popen[str]
) -> None:
    """A process that is stopped lives but does not touch its lease; woken, it lets ours be."""
    other.send_signal(signal.SIGSTOP)
    with Lease(path, 1.5, timeout=10) as lease:
        other.send_signal(signal.SIGCONT)
        time.sleep(0.5)  # more than one of its heartbeats
        assert lease.held


def test_whoever_lost_its_lease_is_told_before_a_commit(path: Path) -> None:
    """Taken over by another process while this one, its heartbeat too, was not heard of."""
    confirm()  # holds nothing
    with Lease(path, 60):
        confirm()
        inner = path.with_name("other.json")
        with Lease(inner, 60):
            path.write_text(json.dumps(json.loads(path.read_text()) | {"token": "t", "pid": 1}))
            with pytest.raises(Lost, match="ingest was taken over by process 1 on") as caught:
                confirm()
        assert str(path) in str(caught.value)
        with ThreadPoolExecutor(1) as pool, pytest.raises(Lost):  # a stage may commit in a thread
            pool.submit(confirm).result()
    assert path.exists()  # the other's
    confirm()


def test_a_holder_on_another_host_is_believed_until_it_is_stale(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps(
        {"pid": 1, "host": "elsewhere", "started": "then", "born": 0.0, "token": "t"}
    ))  # fmt: skip
    with pytest.raises(Mrl4recError, match="process 1 on elsewhere"):
        Lease(path, 60, timeout=0.2).__enter__()
    os.utime(path, (time.time() - 61, time.time() - 61))
    with Lease(path, 60, timeout=1) as lease:
        assert lease.held


def test_a_number_given_to_another_process_is_not_the_holder(path: Path) -> None:
    """The file names this very process's number, but a process that began at another time."""
    with Lease(path, 60):
        body = json.loads(path.read_text())
    path.write_text(json.dumps(body | {"born": body["born"] - 100}))
    with Lease(path, 3600, timeout=1) as lease:
        assert lease.held


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_file_that_cannot_be_read_is_free_when_stale(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(Mrl4recError):
        Lease(path, 60, timeout=0.2).__enter__()
    os.utime(path, (0, 0))
    with Lease(path, 60, timeout=1) as lease:
        assert lease.held


@pytest.mark.fault("F4")
def test_of_many_takers_of_a_dead_lease_one_is_in_at_a_time(path: Path, tmp_path: Path) -> None:
    """Six processes find the same dead lease at once; their blocks never overlap."""
    dead = holder(path, 60)
    dead.kill()
    dead.wait()
    log = tmp_path / "log"
    takers = [subprocess.Popen([sys.executable, "-c", TAKE, str(path), str(log)]) for _ in range(6)]
    assert [taker.wait(60) for taker in takers] == [0] * 6
    assert log.read_text().split() == ["in", "out"] * 6
    assert not path.exists()
