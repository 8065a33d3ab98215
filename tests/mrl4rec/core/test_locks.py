"""Locks with real processes: one holds, others wait and say for whom, the dead hold nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.locks import locked
from mrl4rec.core.settings import Settings

HOLD = """
import sys, time
from pathlib import Path
from mrl4rec.core.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
TAKE = """
import sys, time
from pathlib import Path
from mrl4rec.core.locks import locked
log = Path(sys.argv[2])
with locked(Path(sys.argv[1])):
    with log.open("a") as file: file.write("in\\n")
    time.sleep(0.1)
    with log.open("a") as file: file.write("out\\n")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file to lock, in a folder that is not there yet."""
    return tmp_path / ".locks" / "ingest.lock"


@pytest.fixture
def other(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock for a minute, gone after the test."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def refusal(path: Path) -> str | None:
    """What another thread of this process is told that does not wait; None: it gets the lock."""

    def attempt() -> str | None:
        try:
            with locked(path, timeout=0):
                return None
        except Mrl4recError as error:
            return error.what

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(attempt).result()


def test_it_is_held_by_one_thread_until_the_block_ends(path: Path) -> None:
    with locked(path):
        assert refusal(path) is not None
    assert refusal(path) is None


def test_it_is_free_after_the_block_raised(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(path):
        1 / 0  # noqa: B018
    assert refusal(path) is None


def test_the_same_thread_may_enter_again(path: Path) -> None:
    with locked(path, timeout=1):
        with locked(path, timeout=1):
            pass
        assert refusal(path) is not None
    assert refusal(path) is None


def test_another_thread_waits(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(path):
            order.append("second")

    with locked(path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert f"waiting for ingest, held by process {os.getpid()} on" in caplog.text


def test_whoever_waits_names_the_holder(
    path: Path, other: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Mrl4recError) as error, locked(path, timeout=0.2):
        pass
    assert error.value.where == str(path)
    assert f"process {other.pid} on" in error.value.what
    assert f"held by process {other.pid} on" in caplog.text


def test_a_lock_without_a_name_is_named_by_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "spool" / ".lock"
    with locked(path):
        assert (refusal(path) or "").startswith("spool is held by")


@pytest.mark.fault("F3")
def test_a_killed_holder_holds_nothing(path: Path, other: subprocess.Popen[str]) -> None:
    """kill -9 of the holder; its lock is free at once, reaped or not"""
    other.send_signal(signal.SIGKILL)
    with locked(path, timeout=10):
        pass


@pytest.mark.fault("F3")
def test_a_stopped_holder_keeps_the_lock(path: Path, other: subprocess.Popen[str]) -> None:
    """A holder that is stopped keeps its lock, and frees it when it is killed"""
    other.send_signal(signal.SIGSTOP)
    with pytest.raises(Mrl4recError), locked(path, timeout=0.5):
        pass
    other.send_signal(signal.SIGKILL)
    with locked(path, timeout=10):
        pass


def test_a_child_of_the_holder_does_not_hold_it(path: Path) -> None:
    """A process that was started in the block and outlives it."""
    with locked(path):
        child = subprocess.Popen(["sleep", "60"])
    assert refusal(path) is None
    child.kill()
    child.wait()


@pytest.mark.fault("F4")
def test_of_many_takers_one_is_in_at_a_time(
    path: Path, other: subprocess.Popen[str], tmp_path: Path
) -> None:
    """Six processes wait for one that is killed; their blocks never overlap"""
    log = tmp_path / "log"
    takers = [subprocess.Popen([sys.executable, "-c", TAKE, str(path), str(log)]) for _ in range(6)]
    other.kill()
    assert [taker.wait(60) for taker in takers] == [0] * 6
    assert log.read_text().split() == ["in", "out"] * 6


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"process 1 on elsewhere"])
def test_what_an_earlier_holder_left_does_not_matter(path: Path, body: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(body)
    with locked(path, timeout=0):
        assert f"process {os.getpid()} on" in path.read_text()


def test_the_setting_of_the_former_lease_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRL4REC_LEASE_STALE_SECONDS", "2")
    assert Settings().storage.lock_file("d", "ingest").name == "ingest.lock"
