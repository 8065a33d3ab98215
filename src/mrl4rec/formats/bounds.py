"""What bounds the reading of a dump, whatever it holds: long lines are cut, bombs are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mrl4rec.core.errors import Mrl4recError

if TYPE_CHECKING:
    from mrl4rec.core.settings import Settings

MAX_RECORD = 1 << 20
"""Bytes of the longest record that is parsed; a longer one is quarantined."""
SMALL = 256 << 20
"""Bytes that any file may unpack to: only above is the ratio looked at."""
MARK = b"\x00bytes: "
"""Stands after the first MAX_RECORD bytes of a line that is longer, and before its length. A line
cannot feign it: one that is not longer is not cut, and of one that is the last mark is ours."""


@dataclass(frozen=True)
class Unpacking:
    """How much a file may unpack to."""

    most_gb: float = 200.0
    most_times: float = 100.0
    """Its own size, so many times."""

    @classmethod
    def of(cls, settings: Settings) -> Unpacking:
        """As the settings say."""
        return cls(settings.max_unpacked_gb, settings.max_unpacked_ratio)

    def bounded(self, chunks: Iterable[bytes], path: Path, done: int = 0) -> Iterator[bytes]:
        """The same chunks, ``done`` bytes of the file having been unpacked before.

        Raises Mrl4recError once they are more than the file may unpack to.
        """
        most = self.most_gb * 1e9
        by_ratio = max(SMALL, self.most_times * path.stat().st_size)
        for chunk in chunks:
            done += len(chunk)
            if done > min(most, by_ratio):
                raise self._refused(path, done, by_size=done > most)
            yield chunk

    def _refused(self, path: Path, done: int, by_size: bool) -> Mrl4recError:
        said = f"{self.most_gb:g} GB" if by_size else f"{self.most_times:g} times its size"
        name = "GB" if by_size else "RATIO"
        return Mrl4recError(
            f"the file unpacks to more than {said} ({done / 1e6:,.0f} MB of "
            f"{path.stat().st_size / 1e6:,.1f} MB so far): no dump packs so well",
            where=str(path),
            todo=f"if it is a dump, allow it: set MRL4REC_MAX_UNPACKED_{name}; "
            "nothing was taken in",
        )


def cut_long_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same lines, in pieces of any length; of one longer than MAX_RECORD only its beginning,
    MARK, and its length. No line is held in memory. Chunks are of at most MAX_RECORD bytes, as
    ``packing.chunks`` reads them: a longer one could hold a whole line that is too long.
    """
    size = 0  # of the line so far
    for chunk in chunks:
        first = chunk.find(b"\n")
        of_line = chunk if first < 0 else chunk[:first]
        kept = of_line[: max(MAX_RECORD - size, 0)]
        size += len(of_line)
        if first < 0:
            yield kept
        elif size <= MAX_RECORD:
            yield chunk
        else:
            yield kept + mark(size) + chunk[first:]
        if first >= 0:
            size = len(chunk) - 1 - chunk.rfind(b"\n")
    if size > MAX_RECORD:
        yield mark(size)


def mark(size: int) -> bytes:
    """What stands after the beginning of a line that had ``size`` bytes."""
    return MARK + str(size).encode()
