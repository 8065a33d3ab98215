"""The text of a file as UTF-8; the lines of its beginning, and the refusal of what is no text."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.formats.mapping import BLANKS
from mrl4rec.formats.packing import BLOCK, MAGIC, Unpacking, unpacked
from mrl4rec.formats.sources import SourceFile

SAMPLE_BYTES = 4 << 20
_KINDS = {magic: f"{kind} inside another packing" for magic, kind in MAGIC.items()} | {
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"\x80\x04\x95": "a Python pickle",
}
_MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16",
          b"\xfe\xff": "utf-16"}  # fmt: skip


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
        todo = "name the encoding it has with --encoding; nothing was taken in"
        raise Mrl4recError(
            f"the file is no {encoding} text: {error}", where=shown, todo=todo
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


def read_head(source: SourceFile, encoding: str | None) -> tuple[list[str], str, bool]:
    """The lines of the first 4 MiB that are not blank, as they stand without their line breaks;
    the encoding; and whether that is the whole file.

    Raises Mrl4recError where they are binary, and UsageError where they are in another encoding.
    """
    content, whole = head(source, SAMPLE_BYTES, encoding or "utf-8")
    marked = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
    if encoding is None and marked is not None:
        encoding = marked
        content, whole = head(source, SAMPLE_BYTES, encoding)
    _refuse_binary(source.shown, content)
    lines = content.split(b"\n")
    if not whole and len(lines) > 1:
        lines.pop()  # cut off by the sample, not by the file
    lines = [line for line in lines if line.strip()]
    if encoding is None:
        _refuse_other_encoding(source.shown, lines)
    texts = [line.decode("utf-8", errors="replace") for line in lines]
    return [line for line in texts if line.strip(BLANKS)], encoding or "utf-8", whole


def _refuse_binary(where: str, content: bytes) -> None:
    kind = next((name for magic, name in _KINDS.items() if content.startswith(magic)), None)
    sample = content[: 1 << 16]
    control = sum(sample.count(byte) for byte in range(32) if byte not in b"\t\n\r")
    if kind is None and (b"\0" in sample or control > 0.05 * len(sample)):
        kind = "a tar archive" if content[257:262] == b"ustar" else "binary"
    if kind is not None:
        todo = "unpack or convert it to text (plain or packed once); nothing was taken in"
        raise Mrl4recError(f"not a review dump: its content is {kind}", where=where, todo=todo)


def _refuse_other_encoding(where: str, lines: Sequence[bytes]) -> None:
    """Refuse text of which more than a rare line is no UTF-8."""
    odd = [line for line in lines if not line.isascii()]
    bad = [line for line in odd if "\ufffd" in line.decode("utf-8", "replace")]
    if len(bad) < 2:
        return
    is_json = lines[0].lstrip().startswith((b"{", b"["))
    share = len(bad) / len(lines)
    if share > 0.5 or (len(bad) == len(odd) and share > 0.005 and not is_json):
        shown = bad[0][:80].decode("latin-1").strip()
        what = f"{len(bad):,} of its first {len(lines):,} lines are no UTF-8 text"
        todo = "name the encoding: --encoding latin-1, or the one it has"
        raise UsageError(
            f"{what}; as Latin-1 the first of them is {shown!r}", where=where, todo=todo
        )
