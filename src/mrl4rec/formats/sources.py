"""Which files a request means, and what bytes they hold: expansion, digests, plain or gzip."""

from __future__ import annotations

import glob
import gzip
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mrl4rec.errors import Mrl4recError, UsageError

GZIP_MAGIC = b"\x1f\x8b"
BLOCK = 1 << 20
AUTHOR_FILES = ("train.txt", "test.txt")


@dataclass(frozen=True)
class SourceFile:
    """A file known by the SHA-256 of its bytes."""

    path: Path
    sha256: str
    bytes: int
    stamp: tuple[int, int] = (0, 0)
    """Size and time of change (ns) when it was digested."""

    def changed(self) -> bool:
        """Whether the file is no longer the one that was digested."""
        return _stamp(self.path) != self.stamp


def expand(specs: Sequence[str | Path]) -> tuple[Path, ...]:
    """The files that ``--source`` values mean: a file, a folder, or a glob, in the order given.

    A folder stands for the files directly in it, by name; one in the authors' form (train.txt and
    test.txt, plain or .gz) stands for these two, train first. Hidden files are left out.
    A link that a folder or a glob gives has to lead to a file beside it: who may leave dumps there
    may not choose what else is read.
    Raises UsageError where a value means no file at all.
    """
    if not specs:
        raise UsageError(
            "no source was given", todo="name a file, a folder or a glob: --source FILE"
        )
    files: list[Path] = []
    for spec in specs:
        path = Path(spec).expanduser()
        if path.is_dir():
            files.extend(map(_beside, _folder(path)))
        elif path.exists():
            files.append(path)
        else:
            files.extend(map(_beside, _glob(str(path))))
    return tuple(files)


def _beside(path: Path) -> Path:
    """The path, where it is no link that leads out of its folder. Raises UsageError."""
    if path.is_symlink() and path.parent.resolve() not in path.resolve().parents:
        raise UsageError(
            f"it is a link that leads out of its folder, to {path.resolve()}",
            where=str(path),
            todo="name the file itself if it is meant, or remove the link",
        )
    return path


def _folder(folder: Path) -> list[Path]:
    author = [_plain_or_gz(folder / name) for name in AUTHOR_FILES]
    if all(author):
        return [path for path in author if path is not None]
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    if not files:
        raise UsageError(
            "the folder holds no file", where=str(folder), todo="name the folder the dump lies in"
        )
    return files


def _plain_or_gz(path: Path) -> Path | None:
    for candidate in (path, path.with_name(path.name + ".gz")):
        if candidate.is_file():
            return candidate
    return None


def _glob(pattern: str) -> list[Path]:
    files = sorted(hit for hit in _hits(pattern) if hit.is_file())
    if not files:
        what = "the glob matches no file" if glob.has_magic(pattern) else "no such file or folder"
        raise UsageError(what, where=pattern, todo="check the path; relative ones start here: "
                         + str(Path.cwd()))  # fmt: skip
    return files


def _hits(pattern: str) -> Iterator[Path]:
    """What a glob matches, but for hidden files. ``**`` follows no links: two that lead back to
    their own folder would be two to the power of forty folders.
    """
    if "**" not in pattern:
        yield from map(Path, glob.glob(pattern))
        return
    path = Path(pattern)
    top = Path(path.anchor)
    try:
        for hit in top.glob(str(path.relative_to(path.anchor))):
            if not any(part.startswith(".") for part in hit.parts):
                yield hit
    except ValueError as error:
        raise UsageError(f"no glob: {error}", where=pattern, todo="write ** by itself") from error


def digest(path: Path) -> SourceFile:
    """The SHA-256 and size of a file, read once. Raises Mrl4recError if it cannot be read."""
    if path.exists() and not path.is_file():
        raise UsageError("not a regular file", where=str(path), todo="name the dump's own file")
    _check_name(path)
    sha, size = hashlib.sha256(), 0
    try:
        stamp = _stamp(path)
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                sha.update(block)
                size += len(block)
    except OSError as error:
        raise Mrl4recError(
            f"the source cannot be read: {error.strerror or error}", where=str(path)
        ) from error
    return SourceFile(path, sha.hexdigest(), size, stamp)


def _check_name(path: Path) -> None:
    """Names go into tables and log lines, so they have to be text."""
    name = str(path)
    odd = any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in name)
    if odd:
        raise UsageError(
            "the file's name, or a folder's, holds control characters or bytes that are no UTF-8",
            where=ascii(name),
            todo="rename it",
        )


def _stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def is_gzip(path: Path) -> bool:
    """Whether the content starts as gzip does, whatever the name says."""
    with path.open("rb") as stream:
        return stream.read(2) == GZIP_MAGIC


def blocks(path: Path) -> Iterator[bytes]:
    """The file's content, decompressed if it is gzip, in blocks of at most 1 MiB.

    Raises Mrl4recError where a gzip file is cut off or damaged.
    """
    opener = gzip.open if is_gzip(path) else open
    try:
        with opener(path, "rb") as stream:
            while block := stream.read(BLOCK):
                yield block
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        cut = isinstance(error, EOFError)
        raise Mrl4recError(
            "the gzip file is cut off" if cut else f"the gzip file is damaged ({error})",
            where=str(path),
            todo="fetch or copy it again; nothing was taken in",
        ) from error


def head(path: Path, size: int) -> tuple[bytes, bool]:
    """The first ``size`` bytes of the content, and whether that is all of it."""
    held = bytearray()
    for block in blocks(path):
        held += block
        if len(held) > size:
            return bytes(held[:size]), False
    return bytes(held), True
