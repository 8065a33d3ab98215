"""SIGTERM as a request: finish the step, write a checkpoint, say that the run can be resumed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mrl4rec.core.errors import Mrl4recError


class Interrupted(Mrl4recError):
    """Training was asked to stop and can be resumed. Exit code 75 (EX_TEMPFAIL: try again)."""

    exit_code = 75


class StopFlag:
    """True once the process was asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, *_: int | FrameType | None) -> None:
        """Ask to stop; usable as a signal handler."""
        self.asked = True


@contextmanager
def on_sigterm() -> Iterator[StopFlag]:
    """A flag that SIGTERM sets, while inside; outside the main thread signals are left alone."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = signal.signal(signal.SIGTERM, flag.ask)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGTERM, before)
