"""One at a time: a lock file that one thread of one process holds.

In a folder the operating system keeps the lock (``filelock``), on one machine: it is free at once
when its process dies, and a process that is stopped keeps it. In an object store it is an object
(``object_lock``), and reaches other machines. Tables stay right without either: each commit is made
against exactly the version that was read.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.object_lock import ObjectLock

TELL_EVERY = 30.0
"""Seconds between two log lines about one wait."""

POLL = 1.0
"""Seconds between two attempts at an object."""
_inside: set[tuple[str, int]] = set()
"""The objects held, and the threads that hold them."""

log = logging.getLogger("mrl4rec.core.locks")


@contextmanager
def locked(path: AnyPath, timeout: float | None = None) -> Iterator[None]:
    """Run the block while no other thread or process holds the lock file ``path``.

    The same thread may enter again what it holds. ``timeout`` is in seconds; None: wait for ever.
    Raises Mrl4recError when it is over, naming the holder.
    """
    lock: FileLock | ObjectLock
    if isinstance(path, Path):
        lock = file = FileLock(path, is_singleton=True, on_acquired=_sign)
        _acquire(path, timeout, lambda seconds: _of_file(file, path, seconds))
    else:
        mine = (str(path), threading.get_ident())
        if mine in _inside:
            yield
            return
        lock = there = ObjectLock(path)
        _acquire(path, timeout, lambda seconds: _of_object(there, seconds))
        _inside.add(mine)
    try:
        yield
    finally:
        if not isinstance(path, Path):
            _inside.discard((str(path), threading.get_ident()))
        lock.release()


def _acquire(path: AnyPath, timeout: float | None, attempt: Callable[[float], str | None]) -> None:
    """``attempt`` for some seconds until it says no holder any more."""
    name = path.stem if path.suffix else path.parent.name  # ".lock" is named by its folder
    left = math.inf if timeout is None else timeout
    began, wait = time.monotonic(), 0.0  # a free lock is taken without a log line
    while (holder := attempt(wait)) is not None:
        left -= wait
        if left <= 0:
            raise Mrl4recError(
                f"{name} is held by {holder}; waited {time.monotonic() - began:.0f} s for it",
                where=str(path),
                todo="wait for the other run to end, or end it, then run this again",
            )
        log.warning("waiting for %s, held by %s", name, holder)
        wait = min(TELL_EVERY, left)


def _of_file(lock: FileLock, path: Path, seconds: float) -> str | None:
    try:
        lock.acquire(seconds)
    except Timeout:
        return _holder(path)
    return None


def _of_object(lock: ObjectLock, seconds: float) -> str | None:
    end = time.monotonic() + seconds
    while (holder := lock.attempt()) is not None and time.monotonic() < end:
        time.sleep(min(POLL, seconds))
    return holder


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
