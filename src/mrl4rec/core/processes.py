"""Processes on this machine: which one this is, whether another still runs, cores to use."""

from __future__ import annotations

import os

import psutil


def this_process() -> tuple[int, float]:
    """The number of this process and when it started, in seconds since 1970.

    The system may give the number to another process later, but not the pair.
    """
    process = psutil.Process()
    return process.pid, process.create_time()


def is_running(pid: int, started: float | None = None) -> bool:
    """Whether a process runs; a zombie does not.

    With ``started``, a later process that was given the same number does not count.
    """
    try:
        process = psutil.Process(pid)
        # The start is known to the second only where it was written down rounded.
        same = started is None or abs(process.create_time() - started) < 2
        return same and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # it exists and is somebody else's
        return True


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> int:
    """Threads to use: ``OMP_NUM_THREADS`` where it is set, else the CPUs this process may use."""
    named = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(named) if named.isdigit() and int(named) > 0 else cores()
