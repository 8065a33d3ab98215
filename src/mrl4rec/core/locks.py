"""One at a time on one machine: a lock file that one thread of one process holds.

The operating system keeps the lock (``filelock``). It is free at once when its process dies, and a
process that is stopped keeps it. It does not reach a second machine. Tables stay right without it:
each commit is made against exactly the version that was read.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mrl4rec.core.errors import Mrl4recError

TELL_EVERY = 30.0
"""Seconds between two log lines about one wait."""

log = logging.getLogger("mrl4rec.core.locks")


@contextmanager
def locked(path: Path, timeout: float | None = None) -> Iterator[None]:
    """Run the block while no other thread or process holds the lock file ``path``.

    The same thread may enter again what it holds. ``timeout`` is in seconds; None: wait for ever.
    Raises Mrl4recError when it is over, naming the holder.
    """
    lock = FileLock(path, is_singleton=True, on_acquired=_sign)
    _acquire(lock, path, math.inf if timeout is None else timeout)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, path: Path, left: float) -> None:
    name = path.stem if path.suffix else path.parent.name  # ".lock" is named by its folder
    began, wait = time.monotonic(), 0.0  # a free lock is taken without a log line
    while True:
        try:
            lock.acquire(wait)
            return
        except Timeout as error:
            left -= wait
            holder = _holder(path)
            if left <= 0:
                raise Mrl4recError(
                    f"{name} is held by {holder}; waited {time.monotonic() - began:.0f} s for it",
                    where=str(path),
                    todo="wait for the other run to end, or end it, then run this again",
                ) from error
        log.warning("waiting for %s, held by %s", name, holder)
        wait = min(TELL_EVERY, left)


def _sign(descriptor: int) -> None:
    """Write into the lock file who holds it; on a full disk it stays without the text."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    text = f"process {os.getpid()} on {socket.gethostname()}, since {since}"
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def _holder(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace") or "another process"
    return "another process"
