"""Whether a process runs: this one does, one that ended or has another start does not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mrl4rec.core.processes import cores, is_running, this_process, threads


def test_this_process_runs() -> None:
    pid, started = this_process()
    assert pid == os.getpid()
    assert is_running(pid)
    assert is_running(pid, started)


def test_a_number_given_to_a_later_process_is_not_the_same() -> None:
    pid, started = this_process()
    assert not is_running(pid, started - 100)


def test_a_process_that_ended_does_not_run_reaped_or_not() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(process.pid)
    process.wait()
    assert not is_running(process.pid)


def test_there_is_a_core() -> None:
    assert cores() >= 1


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "none")
    assert threads() == len(os.sched_getaffinity(0))
