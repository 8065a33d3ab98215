"""The text of a file, unpacked: gzip, bzip2, xz, Zstandard and zip are known by their content."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import shlex
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.formats.bounds import Unpacking

if TYPE_CHECKING:
    from mrl4rec.formats.source_file import SourceFile

Packing = Literal["plain", "gzip", "bz2", "xz", "zstd", "zip", "parquet"]

BLOCK = 1 << 20
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
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, OSError, zipfile.BadZipFile, RuntimeError)
TAIL = "Not a gzipped file"
"""How ``gzip`` calls what follows the last member."""


def packing_of(path: Path) -> Packing:
    """How the file is packed, by its first bytes."""
    with path.open("rb") as stream:
        return _by_magic(stream.read(8))


def _by_magic(start: bytes) -> Packing:
    return next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), "plain")


def chunks(
    source: SourceFile, limits: Unpacking | None = None, encoding: str = "utf-8"
) -> Iterator[bytes]:
    """The file's text as UTF-8 without a byte order mark, in pieces of at most 1 MiB.

    What is no text in ``encoding`` stays as it is (bytes that are no UTF-8). Raises Mrl4recError
    where the packing is damaged, cut off, or unpacks to more than ``limits``.
    """
    raw = unpacked(source.path, source.member, limits)
    if encoding != "utf-8":
        yield from _transcoded(raw, encoding, source.shown)
        return
    if first := next(raw, b"").removeprefix(codecs.BOM_UTF8):
        yield first
    yield from raw


def _transcoded(raw: Iterator[bytes], encoding: str, shown: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
    try:
        for chunk in chain(raw, [b""]):
            made = decoder.decode(chunk, final=not chunk).encode("utf-8", "surrogateescape")
            yield from (made[at : at + BLOCK] for at in range(0, len(made), BLOCK))
    except UnicodeError as error:
        raise Mrl4recError(
            f"the file is no {encoding} text: {error}",
            where=shown,
            todo="name the encoding it has with --encoding; nothing was taken in",
        ) from error


def head(source: SourceFile, size: int, encoding: str = "utf-8") -> tuple[bytes, bool]:
    """The first ``size`` bytes of ``chunks``, and whether that is all of it."""
    held = bytearray()
    with closing(chunks(source, None, encoding)) as pieces:  # type: ignore[type-var]
        for piece in pieces:
            held += piece
            if len(held) > size:
                return bytes(held[:size]), False
    return bytes(held), True


def unpacked(
    path: Path, member: str | None = None, limits: Unpacking | None = None
) -> Iterator[bytes]:
    """The bytes of the file, or of a member of a zip archive, unpacked."""
    with opened(path, member) as stream:
        kind = _by_magic(stream.read(8))
        stream.seek(0)
        raw = _unpack(stream, kind, str(path) if member is None else f"{path}/{member}")
        is_packed = member is not None or kind not in ("plain", "parquet", "zip")
        yield from (limits or Unpacking()).bounded(raw, path) if is_packed else raw


def _unpack(stream: Any, kind: Packing, shown: str) -> Iterator[bytes]:
    with _damage(kind, shown):
        if kind in ("bz2", "xz"):
            yield from _streams(stream, kind)
            return
        if kind == "gzip":  # of several members, with zeros behind them
            stream = gzip.GzipFile(fileobj=stream)
        elif kind == "zstd":
            import pyarrow as pa

            stream = pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd")
        while block := stream.read(BLOCK):
            yield block


def _streams(stream: IO[bytes], kind: Packing) -> Iterator[bytes]:
    """What streams one after the other hold; ``bz2.open`` and ``lzma.open`` leave out a tail."""
    data = stream.read(BLOCK)
    while data:
        if _by_magic(data) != kind:
            raise OSError(TAIL)
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
def _damage(kind: Packing, shown: str) -> Iterator[None]:
    """Failures of unpacking as Mrl4recError."""
    try:
        yield
    except DAMAGE as error:
        if kind in ("plain", "parquet"):
            raise
        name, said = kind.replace("bz2", "bzip2"), str(error)
        todo = "fetch or copy it again; nothing was taken in"
        if said.startswith(TAIL):
            what = f"bytes that are no {name} follow the end of the {name} stream"
            todo = "fetch or copy it again; if what is before them is whole, unpack that: " + (
                f"{name} -dc {shlex.quote(shown)} > reviews.txt; nothing was taken in"
            )
        elif isinstance(error, EOFError) or "runcated" in said:
            what = f"the {name} file is cut off"
        else:
            known = "is damaged" if not isinstance(error, RuntimeError) else "cannot be unpacked"
            what = f"the {name} file {known} ({said})"
        raise Mrl4recError(what, where=shown, todo=todo) from error


@contextmanager
def opened(path: Path, member: str | None = None) -> Iterator[IO[bytes]]:
    """The file, or a member of a zip archive, for reading its bytes as they are."""
    if member is None:
        with path.open("rb") as stream:
            yield stream
    else:
        with open_zip(path) as archive, _damage("zip", f"{path}/{member}"):
            yield archive.open(member)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive. Raises Mrl4recError where its directory is damaged or longer than 4 MiB."""
    with path.open("rb") as stream, _damage("zip", str(path)):
        stream.seek(max(path.stat().st_size - (1 << 16) - 22, 0))
        _, found, end = stream.read().rpartition(b"PK\x05\x06")
        if found and int.from_bytes(end[8:12], "little") > MOST_DIRECTORY:
            raise Mrl4recError(
                "the archive's directory is longer than 4 MiB",
                where=str(path),
                todo="unpack it, and name the folder",
            )
        with zipfile.ZipFile(stream) as archive:
            yield archive
