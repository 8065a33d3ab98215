"""What training says while it runs: one line redrawn on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger("mrl4rec")

SECONDS_BETWEEN_LINES = 10.0
"""In a log; a terminal's one line is redrawn five times a second."""


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch."""

    method: str
    phase: str
    """``search`` or ``refit``."""
    epoch: int
    """From 0."""
    last_epoch: int
    """The epoch after which the phase ends at the latest, as things stand."""
    loss: float
    metric: str | None
    """E.g. ``valid_recall@10``; None in a refit."""
    value: float | None
    """Its value after this epoch; None where it was not looked at."""
    best: float | None
    best_epoch: int | None
    seconds: float
    """Of this epoch, evaluation included."""
    seconds_left: float
    """Until the end at the latest, as things stand (a refit to come included)."""

    def line(self) -> str:
        """``MRL-M epoch 35 loss 0.1234 valid_recall@10 0.0512 (best 0.0519 at 30) 0:12 left``."""
        words = [f"{self.method} {self.phase} epoch {self.epoch}/{self.last_epoch}"]
        words.append(f"loss {self.loss:.5f}")
        if self.value is not None:
            words.append(f"{self.metric} {self.value:.4f}")
        if self.best is not None:
            words.append(f"best {self.best:.4f} at epoch {self.best_epoch}")
        minutes, seconds = divmod(round(self.seconds_left), 60)
        words.append(f"at most {minutes}:{seconds:02d} left")
        return "  ".join(words)


Progress = Callable[[EpochReport], None]


class Line:
    """The default listener: redraws one line on a terminal or in a notebook, else logs at times."""

    def __init__(self) -> None:
        notebook = type(sys.stderr).__module__.startswith("ipykernel.")
        self._terminal = sys.stderr.isatty() or notebook
        self._clear = f"\r{' ' * 110}\r" if notebook else "\r\x1b[2K"  # cells know no such codes
        self._drawn = 0.0

    def __call__(self, report: EpochReport) -> None:
        """Show one epoch."""
        last = report.epoch >= report.last_epoch
        if not self._terminal:
            if last or time.monotonic() - self._drawn > SECONDS_BETWEEN_LINES:
                self._drawn = time.monotonic()
                log.info(report.line())
            return
        if last or report.value is not None or time.monotonic() - self._drawn > 0.2:
            self._drawn = time.monotonic()
            end = "\n" if last else ""
            print(f"{self._clear}{report.line()}", end=end, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the cursor on a fresh line."""
        if self._terminal and self._drawn:
            print(self._clear, end="", file=sys.stderr, flush=True)
