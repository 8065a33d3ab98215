"""What each rank says of itself to the process that started it: one small file a rank."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mrl4rec.core import processes
from mrl4rec.core.files import write_whole
from mrl4rec.training.group import Group

SECONDS = 0.5


@dataclass
class Beat:
    """The last words of a rank."""

    rank: int
    pid: int
    started: float
    """Creation time of the process: a number can be given to another one, the pair cannot."""
    at: float = 0.0
    """When this was written, seconds since the epoch."""
    state: str = "running"
    """``running``, ``done``, ``failed`` or ``interrupted``."""
    waiting: str = ""
    """What it waits for with the others, empty while it computes."""
    error: str = ""
    where: str | None = None
    todo: str | None = None
    named: bool = False
    """True for an error of ours, which trying again would only repeat."""


def path(folder: Path, rank: int) -> Path:
    """The file of one rank."""
    return folder / f"rank-{rank}.json"


def write(folder: Path, beat: Beat) -> None:
    """Put a beat in place, whole."""
    beat.at = time.time()
    write_whole(path(folder, beat.rank), json.dumps(asdict(beat)), durable=False)


def read(folder: Path, ranks: int) -> list[Beat]:
    """The beats of the ranks that have said something."""
    found = []
    for rank in range(ranks):
        place = path(folder, rank)
        if place.exists():
            found.append(Beat(**json.loads(place.read_text(encoding="utf-8"))))
    return found


class Heart(threading.Thread):
    """Writes a rank's beat twice a second, and ends the process when its starter is gone."""

    def __init__(self, folder: Path, rank: int, starter: tuple[int, float]) -> None:
        super().__init__(daemon=True)
        self.folder, self.starter = folder, starter
        self.beat = Beat(rank, *processes.this_process())
        self.group: Group | None = None
        self._ended = threading.Event()
        write(folder, self.beat)

    def run(self) -> None:
        """Beat until ``end``."""
        while not self._ended.wait(SECONDS):
            if not processes.is_running(*self.starter):
                os._exit(1)
            self.beat.waiting = self.group.waiting if self.group else ""
            write(self.folder, self.beat)

    def end(self, state: str, error: Exception | None = None) -> None:
        """The last beat: how it ended."""
        self._ended.set()
        self.join()
        self.beat.state = state
        if error is not None:
            self.beat.error = getattr(error, "what", None) or f"{type(error).__name__}: {error}"
            self.beat.where = getattr(error, "where", None)
            self.beat.todo = getattr(error, "todo", None)
            self.beat.named = hasattr(error, "what")
        write(self.folder, self.beat)
