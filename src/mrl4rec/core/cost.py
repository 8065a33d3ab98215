"""What a piece of work takes: seconds by the clock and of the processor, and the most memory its
process held.

The kernel keeps the high-water mark of a process (VmHWM); where it lets us, it is set back when the
work begins. The mark is of the whole process: Python, its libraries and the data are in it, other
processes (Spark's, torchrun's ranks) are not.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

from mrl4rec.core import lazy

with lazy.imports():
    import torch

SELF = Path("/proc/self")
MIB = 1 << 20


class Meter:
    """Runs from when it is made."""

    def __init__(self, device: str = "cpu") -> None:
        """``device`` is where the work is done: on a GPU its memory is told too."""
        with contextlib.suppress(OSError):  # some containers do not let it be set back
            (SELF / "clear_refs").write_text("5")
        self.device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        self.began, self.cpu_began = time.monotonic(), time.process_time()

    def read(self) -> dict[str, float]:
        """What is known of ``seconds``, ``cpu_seconds`` (all threads of the process), ``peak_mb``
        and, on a GPU, ``gpu_peak_mb`` (MiB).
        """
        found = {
            "seconds": round(time.monotonic() - self.began, 3),
            "cpu_seconds": round(time.process_time() - self.cpu_began, 3),
        }
        peak = peak_bytes()
        if peak is not None:
            found["peak_mb"] = round(peak / MIB, 1)
        if self.device == "cuda":
            found["gpu_peak_mb"] = round(torch.cuda.max_memory_allocated() / MIB, 1)
        return found


def total(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """The cost of work that several processes did one after the other: seconds are added up."""
    added = {name: round(now[name] + before.get(name, 0.0), 3) for name in now if "seconds" in name}
    return {**now, **added}


def peak_bytes(process: Path = SELF) -> int | None:
    """The most memory a process, this one or another's folder in ``/proc``, has held since it was
    set back; None where it is not told.
    """
    try:
        lines = (process / "status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
