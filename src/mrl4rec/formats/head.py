"""The beginning of a file as lines of text, and the refusal of what is no text."""

from __future__ import annotations

from collections.abc import Sequence

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.formats.mapping import BLANKS
from mrl4rec.formats.packing import MAGIC, head
from mrl4rec.formats.source_file import SourceFile

SAMPLE_BYTES = 4 << 20
_KINDS = {
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"\x80\x04\x95": "a Python pickle",
}
_MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16",
          b"\xfe\xff": "utf-16"}  # fmt: skip


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
    if encoding is None and lines:
        _refuse_other_encoding(source.shown, lines)
    texts = [line.decode("utf-8", errors="replace") for line in lines]
    return [line for line in texts if line.strip(BLANKS)], encoding or "utf-8", whole


def _refuse_binary(where: str, content: bytes) -> None:
    kinds = {magic: f"{kind} inside another packing" for magic, kind in MAGIC.items()} | _KINDS
    kind = next((name for magic, name in kinds.items() if content.startswith(magic)), None)
    sample = content[: 1 << 16]
    control = sum(sample.count(byte) for byte in range(32) if byte not in b"\t\n\r")
    if kind is None and (b"\0" in sample or control > 0.05 * len(sample)):
        kind = "a tar archive" if content[257:262] == b"ustar" else "binary"
    if kind is not None:
        raise Mrl4recError(
            f"not a review dump: its content is {kind}",
            where=where,
            todo="unpack or convert it to text (plain or packed once); nothing was taken in",
        )


def _refuse_other_encoding(where: str, lines: Sequence[bytes]) -> None:
    """Refuse text of which more than a rare line is no UTF-8."""
    odd = [line for line in lines if not line.isascii()]
    bad = [line for line in odd if "\ufffd" in line.decode("utf-8", "replace")]
    is_json = lines[0].lstrip().startswith((b"{", b"["))
    share = len(bad) / len(lines)
    if len(bad) > 1 and (share > 0.5 or (len(bad) == len(odd) and share > 0.005 and not is_json)):
        shown = bad[0][:80].decode("latin-1").strip()
        raise UsageError(
            f"{len(bad):,} of its first {len(lines):,} lines are no UTF-8 text; as Latin-1 the "
            f"first of them is {shown!r}",
            where=where,
            todo="name the encoding: --encoding latin-1, or the one it has",
        )
