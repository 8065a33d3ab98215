"""A file of a source, as it was when it was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourceFile:
    """A file, or a member of a zip archive, known by the SHA-256 of its bytes."""

    path: Path
    sha256: str
    bytes: int
    stamp: tuple[int, int] = (0, 0)
    """Size and time of change (ns) of the file when it was digested."""
    member: str | None = None
    """Its name in the archive that ``path`` is."""

    @property
    def shown(self) -> str:
        """The name in messages and tables."""
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"

    def changed(self) -> bool:
        """Whether the file is no longer the one that was digested."""
        return stamp(self.path) != self.stamp


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of change (ns)."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns
