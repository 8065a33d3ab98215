"""Which files a request means, and the digests of their bytes."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.formats.copies import shown
from mrl4rec.formats.packing import BLOCK, Unpacking, open_zip, opened, packing_of

MOST_MEMBERS = 1000
AUTHOR_FILES = ("train.txt", "test.txt")


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
        """The name in messages and tables; of a copy, the address of what it was copied from."""
        name = shown(self.path)
        return name if self.member is None else f"{name}/{self.member}"

    @property
    def place(self) -> str:
        """The same name, from wherever it is read."""
        return replace(self, path=self.path.absolute()).shown

    def changed(self) -> bool:
        """Whether the file is no longer the one that was digested."""
        return _stamp(self.path) != self.stamp


def _stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def expand(specs: Sequence[str | Path]) -> tuple[Path, ...]:
    """The files that ``--source`` values mean: a file, a folder, or a glob, in the order given.

    A folder stands for the files directly in it, by name; one in the authors' form (train.txt and
    test.txt, plain or .gz) stands for these two, train first. Hidden files are left out.
    A link that a folder or a glob gives has to lead to a file beside it: who may leave dumps there
    may not choose what else is read.
    Raises UsageError where a value means no file at all, Mrl4recError where one cannot be read.
    """
    if not specs:
        todo = "name a file, a folder or a glob: --source FILE"
        raise UsageError("no source was given", todo=todo)
    found: list[Path] = []
    for spec in specs:
        with _readable(path := Path(spec).expanduser()):
            found += _files(path)
    return tuple(found)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files, what = _folder(path), "the folder holds no file"
    elif path.exists():
        return [path]
    else:
        files = sorted(filter(Path.is_file, _hits(str(path))))
        is_glob = glob.has_magic(str(path))
        what = "the glob matches no file" if is_glob else "no such file or folder"
    if not files:
        todo = f"check the path; relative ones start here: {Path.cwd()}"
        raise UsageError(what, where=str(path), todo=todo)
    for file in files:
        if file.is_symlink() and file.parent.resolve() not in file.resolve().parents:
            what = f"it is a link that leads out of its folder, to {file.resolve()}"
            todo = "name the file itself if it is meant, or remove the link"
            raise UsageError(what, where=str(file), todo=todo)
    return files


def _folder(folder: Path) -> list[Path]:
    return [folder / name for name in meant(p.name for p in folder.iterdir() if p.is_file())]


def meant(names: Iterable[str]) -> list[str]:
    """Of the names of a folder's files those that the folder stands for, in their order."""
    there = sorted(name for name in names if not name.startswith("."))
    either = [(name, f"{name}.gz") for name in AUTHOR_FILES]
    author = [name for pair in either for name in [name for name in pair if name in there][:1]]
    return author if len(author) == len(AUTHOR_FILES) else there


def _hits(pattern: str) -> Iterator[Path]:
    """What a glob matches, but for hidden files. ``**`` follows no links: two that lead back to
    their own folder would be two to the power of forty folders.
    """
    if "**" not in pattern:
        yield from map(Path, glob.glob(pattern))
        return
    top = Path(Path(pattern).anchor)
    try:
        for hit in top.glob(str(Path(pattern).relative_to(top))):
            if not any(part.startswith(".") for part in hit.parts):
                yield hit
    except ValueError as error:
        raise UsageError(f"no glob: {error}", where=pattern, todo="write ** by itself") from error


def undigested(path: Path) -> list[SourceFile]:
    """The file without its digest, for who reads only its head; archives are read to their end."""
    with _readable(path):
        if not path.is_file() or packing_of(path) == "zip":
            return digest(path)  # which says what is wrong with it
    stamp = _stamp(path)
    return [SourceFile(path, "", stamp[0], stamp)]


def digest(path: Path, limits: Unpacking | None = None) -> list[SourceFile]:
    """The file with the SHA-256 of its bytes; of a zip archive each member, as it unpacks.

    Hidden members and folders are left out. Raises Mrl4recError if it cannot be read, an archive
    unpacks to more than ``limits``, or holds no file.
    """
    if path.exists() and not path.is_file():
        raise UsageError("not a regular file", where=shown(path), todo="name the dump's own file")
    _check_name(shown(path))
    with _readable(path):
        stamp = _stamp(path)
        if packing_of(path) == "zip":
            return list(_members(path, stamp, limits or Unpacking()))
        return [SourceFile(path, *_sha256(_raw(path)), stamp)]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What the system refuses, as Mrl4recError that names the file or folder."""
    try:
        yield
    except OSError as error:
        what = f"the source cannot be read: {error.strerror or error}"
        todo = "check that it is there and its permissions, or name another: --source FILE"
        raise Mrl4recError(what, where=str(error.filename or path), todo=todo) from error


def _raw(path: Path, member: str | None = None) -> Iterator[bytes]:
    with opened(path, member) as stream:
        yield from iter(partial(stream.read, BLOCK), b"")


def _sha256(blocks: Iterable[bytes]) -> tuple[str, int]:
    sha, size = hashlib.sha256(), 0
    for block in blocks:
        sha.update(block)
        size += len(block)
    return sha.hexdigest(), size


def _members(path: Path, stamp: tuple[int, int], limits: Unpacking) -> Iterator[SourceFile]:
    with open_zip(path) as archive:
        every = [info.filename for info in archive.infolist() if not info.is_dir()]
    hidden = (".", "__MACOSX")
    names = [name for name in every if not any(p.startswith(hidden) for p in name.split("/"))]
    _check_archive(path, names)
    done = 0
    for name in sorted(names):
        sha, size = _sha256(limits.bounded(_raw(path, name), path, done))
        yield SourceFile(path, sha, size, stamp, name)
        done += size


def _check_archive(path: Path, names: Sequence[str]) -> None:
    for name in names:
        _check_name(name)
    what = None
    if "[Content_Types].xml" in names:
        what = "is an Excel or Word file: save the sheet as CSV (UTF-8)"
    elif len(names) > MOST_MEMBERS:
        what = f"holds {len(names):,} files, {MOST_MEMBERS:,} are the most that are read"
    elif len(set(names)) < max(len(names), 1):
        what = "holds two files of one name" if names else "holds no file"
    if what is not None:
        todo = "unpack it, and name the folder"
        raise UsageError(f"the archive {what}", where=shown(path), todo=todo)


def _check_name(name: str) -> None:
    """Names go into tables and log lines, so they have to be text."""
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in name):
        what = "the file's name, or a folder's, holds control characters or bytes that are no UTF-8"
        raise UsageError(what, where=ascii(name), todo="rename it")
