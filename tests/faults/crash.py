"""A command that is struck at a named point: ``python -m tests.faults.crash --at POINT -- run …``.

The blow is a real signal: SIGKILL to the whole process group, its JVM with it, SIGSTOP to the
process, or ``cut``: SIGXFSZ, by which the system kills it in the middle of a file, at 3 KB. A POINT
is ``kill after module:function 2`` (when its second call has returned), ``stop before
module:function 1``, or ``kill file PATTERN`` (as soon as such a file is there).
``--without GUARD`` takes one of ``guards`` out first.
"""

from __future__ import annotations

import argparse
import functools
import glob
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

CUT_AT = 3 << 10


def main(argv: Sequence[str] | None = None) -> int:
    """Arm the point, take the guard out, and run the command line; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", metavar="POINT")
    parser.add_argument("--without", metavar="GUARD")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(argv)
    if options.without:
        from tests.faults import guards

        guards.take_out(options.without)
    if options.at:
        arm(options.at)
    from flows.cli import main as command

    return command(options.command)


def arm(point: str) -> None:
    """Lie in wait at a point."""
    blow, when, *where = point.split(" ")
    strike = {"kill": kill, "stop": stop, "cut": cut}[blow]
    if when == "file":
        threading.Thread(target=_watch, args=(where[0], strike), daemon=True).start()
    else:
        _wrap(where[0], int(where[1]), before=when == "before", strike=strike)


def kill() -> None:
    """kill -9 of the process and all it started in its group."""
    os.killpg(0, signal.SIGKILL)
    time.sleep(60)  # the signal is on its way


def stop() -> None:
    """Every thread stands still until somebody sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def cut() -> None:
    """From now on who writes a file beyond 3 KB dies of it; Python itself would look away."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (CUT_AT, CUT_AT))


def _watch(pattern: str, strike: Callable[[], None]) -> None:
    while not glob.glob(pattern):
        time.sleep(0.001)
    strike()


def _wrap(target: str, call: int, *, before: bool, strike: Callable[[], None]) -> None:
    module, _, name = target.partition(":")
    *path, last = name.split(".")
    owner = functools.reduce(getattr, path, import_module(module))
    original = getattr(owner, last)
    calls = 0

    @functools.wraps(original)
    def struck(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        mine = calls == call
        if mine and before:
            strike()
        result = original(*args, **kwargs)
        if mine and not before:
            strike()
        return result

    setattr(owner, last, struck)


if __name__ == "__main__":
    sys.exit(main())
