"""A measurement as a process of its own: its seconds, its processor time, its peak memory.

Memory is that of the process and all its children, looked at every 50 ms at first and less often
the longer it runs; the Java ones are also counted apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from mrl4rec.core.cost import peak_bytes
from mrl4rec.core.errors import Mrl4recError

EVERY = 0.05, 0.5
"""Least and most seconds between two looks at memory."""
SHARE = 0.02
"""A look comes after this share of the time so far: looking takes milliseconds itself."""
GIB = 2**30


@dataclass(frozen=True)
class Outcome:
    """What one process took."""

    output: str
    seconds: float
    """Of the wall clock, from start to end."""
    cpu_seconds: float
    """User and system, of the process and its children; those it did not wait for (a JVM) as last
    seen, so up to half a second less."""
    peak_gb: float
    """GiB, processes together."""
    peak_java_gb: float
    """GiB of Java processes; 0 where none was seen."""
    peak_python_gb: float
    """GiB of all the others."""

    def answer(self) -> dict[str, Any]:
        """The JSON object on the last line of the output."""
        lines = self.output.strip().splitlines()
        found = json.loads(lines[-1]) if lines else {}
        return found if isinstance(found, dict) else {"rows": found}


def python(*arguments: str, env: Mapping[str, str] | None = None) -> Outcome:
    """Run this Python with these arguments and watch it."""
    return watch([sys.executable, *arguments], env)


def watch(
    command: Sequence[str], env: Mapping[str, str] | None = None, expected: int = 0
) -> Outcome:
    """Run a command to its end. Raises Mrl4recError with its last words where it ends with another
    code than the one that is expected.
    """
    watcher = _Watcher()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=out, stderr=err, env={**os.environ, **(env or {})}
        )
        watcher.begin(process.pid)
        try:  # wait4 alone tells the processor time of just this child
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # stopped by hand: leave nothing running
            process.terminate()
            raise
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        watcher.end()
        out.seek(0)
        err.seek(0)
        output, errors = out.read(), err.read()
    if process.returncode != expected:
        words = (output[-500:] + errors[-1500:]).strip()
        raise Mrl4recError(
            f"a measurement ended with {process.returncode}: {words}",
            where=" ".join(map(str, command[:8])),
        )
    return Outcome(
        output,
        seconds,
        max(usage.ru_utime + usage.ru_stime, sum(watcher.cpu.values())),
        watcher.peak / GIB,
        watcher.peak_java / GIB,
        max(watcher.peak_python, 0) / GIB,
    )


class _Watcher:
    """A thread that adds up resident memory."""

    def __init__(self) -> None:
        self.peak = self.peak_java = self.peak_python = 0
        self.cpu: dict[int, float] = {}
        """Processor seconds of each process of the tree, as last seen."""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, pid: int) -> None:
        self._thread = threading.Thread(target=self._look, args=(pid,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self, pid: int) -> None:
        began = time.monotonic()
        while not self._ended.wait(
            min(max(SHARE * (time.monotonic() - began), EVERY[0]), EVERY[1])
        ):
            java, other = _memory(pid, self.cpu)
            self.peak_java = max(self.peak_java, java)
            self.peak_python = max(self.peak_python, other)
            # The first process's own mark misses nothing between two looks. rusage has one too,
            # which counts what this process held when it started the other.
            mark = peak_bytes(Path("/proc", str(pid))) or 0
            self.peak = max(self.peak, java + other, mark)


def _memory(pid: int, cpu: dict[int, float]) -> tuple[int, int]:
    """Bytes of (Java, other) processes in the tree of ``pid``; their seconds go into ``cpu``."""
    java = other = 0
    try:
        parent = psutil.Process(pid)
        tree = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return 0, 0
    for process in tree:
        try:
            size = process.memory_info().rss
            times = process.cpu_times()
            cpu[process.pid] = times.user + times.system
            if process.name() == "java":
                java += size
            else:
                other += size
        except psutil.Error:  # it has just ended
            continue
    return java, other
