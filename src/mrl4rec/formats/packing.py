"""The bytes of a file, unpacked: gzip, bzip2, xz, Zstandard and zip are known by their content."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shlex
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.formats.copies import shown

with lazy.imports():
    import pyarrow as pa

Packing = Literal["plain", "gzip", "bz2", "xz", "zstd", "zip", "parquet"]

BLOCK = 1 << 20
SMALL = 256 << 20
"""Bytes that any file may unpack to: only above is the ratio looked at."""
MOST_DIRECTORY = 4 << 20
"""Bytes of a zip archive's directory, some 60,000 members."""
MAGIC: dict[bytes, Packing] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"PAR1": "parquet",
}
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, OSError, zipfile.BadZipFile, RuntimeError)
_TAIL = "Not a gzipped file"
"""How ``gzip`` calls what follows the last member."""


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
        size = path.stat().st_size
        by_size, by_ratio = self.most_gb * 1e9, max(SMALL, self.most_times * size)
        for chunk in chunks:
            done += len(chunk)
            if done <= min(by_size, by_ratio):
                yield chunk
                continue
            name, said = "RATIO", f"{self.most_times:g} times its size"
            if done > by_size:
                name, said = "GB", f"{self.most_gb:g} GB"
            raise Mrl4recError(
                f"the file unpacks to more than {said} ({done / 1e6:,.0f} MB of "
                f"{size / 1e6:,.1f} MB so far): no dump packs so well",
                where=shown(path),
                todo=f"if it is a dump, allow it: set MRL4REC_MAX_UNPACKED_{name}; "
                "nothing was taken in",
            )


def packing_of(path: Path) -> Packing:
    """How the file is packed, by its first bytes."""
    with path.open("rb") as stream:
        return _by_magic(stream.read(8))


def _by_magic(start: bytes) -> Packing:
    return next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), "plain")


def unpacked(
    path: Path, member: str | None = None, limits: Unpacking | None = None
) -> Iterator[bytes]:
    """The bytes of the file, or of a member of a zip archive, unpacked.

    Raises Mrl4recError where the packing is damaged, cut off, or unpacks to more than ``limits``.
    """
    with opened(path, member) as stream:
        kind = _by_magic(stream.read(8))
        stream.seek(0)
        raw = _unpack(stream, kind, shown(path) if member is None else f"{shown(path)}/{member}")
        is_packed = member is not None or kind not in ("plain", "parquet", "zip")
        yield from (limits or Unpacking()).bounded(raw, path) if is_packed else raw


def _unpack(stream: Any, kind: Packing, where: str) -> Iterator[bytes]:
    with _damage(kind, where):
        if kind in ("bz2", "xz"):
            yield from _streams(stream, kind)
            return
        if kind == "gzip":  # of several members, with zeros behind them
            stream = gzip.GzipFile(fileobj=stream)
        elif kind == "zstd":
            stream = pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd")
        yield from iter(partial(stream.read, BLOCK), b"")


def _streams(stream: IO[bytes], kind: Packing) -> Iterator[bytes]:
    """What streams one after the other hold; ``bz2.open`` and ``lzma.open`` leave out a tail."""
    data = stream.read(BLOCK)
    while data:
        if _by_magic(data) != kind:
            raise OSError(_TAIL)
        one: Any = bz2.BZ2Decompressor() if kind == "bz2" else lzma.LZMADecompressor()
        while True:
            if made := one.decompress(data, BLOCK):
                yield made
            if one.eof:
                break
            data = stream.read(BLOCK) if one.needs_input else b""
            if one.needs_input and not data:
                raise EOFError
        data = (one.unused_data + stream.read(BLOCK)).lstrip(b"\0")
        while not data and (data := stream.read(BLOCK)):
            data = data.lstrip(b"\0")


@contextmanager
def _damage(kind: Packing, where: str) -> Iterator[None]:
    """Failures of unpacking as Mrl4recError."""
    try:
        yield
    except _DAMAGE as error:
        if kind in ("plain", "parquet"):
            raise
        name, said = kind.replace("bz2", "bzip2"), str(error)
        todo = "fetch or copy it again; nothing was taken in"
        if said.startswith(_TAIL):
            what = f"bytes that are no {name} follow the end of the {name} stream"
            todo = "fetch or copy it again; if what is before them is whole, unpack that: " + (
                f"{name} -dc {shlex.quote(where)} > reviews.txt; nothing was taken in"
            )
        elif isinstance(error, EOFError) or "runcated" in said:
            what = f"the {name} file is cut off"
        else:
            known = "is damaged" if not isinstance(error, RuntimeError) else "cannot be unpacked"
            what = f"the {name} file {known} ({said})"
        raise Mrl4recError(what, where=where, todo=todo) from error


@contextmanager
def opened(path: Path, member: str | None = None) -> Iterator[IO[bytes]]:
    """The file, or a member of a zip archive, for reading its bytes as they are."""
    if member is None:
        with path.open("rb") as stream:
            yield stream
    else:
        with open_zip(path) as archive, _damage("zip", f"{shown(path)}/{member}"):
            yield archive.open(member)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive. Raises Mrl4recError where its directory is damaged or longer than 4 MiB."""
    with path.open("rb") as stream, _damage("zip", shown(path)):
        stream.seek(max(path.stat().st_size - (1 << 16) - 22, 0))
        _, found, end = stream.read().rpartition(b"PK\x05\x06")
        if found and int.from_bytes(end[8:12], "little") > MOST_DIRECTORY:
            todo = "unpack it, and name the folder"
            what = "the archive's directory is longer than 4 MiB"
            raise Mrl4recError(what, where=shown(path), todo=todo)
        with zipfile.ZipFile(stream) as archive:
            yield archive
