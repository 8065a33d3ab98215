"""Files: whether they can be written; written whole, made durable, their digest.

``AnyPath`` is a file or folder of this machine, or one in an object store. There a file is written
by one request, whole or not at all, and a folder is complete when the file that says what is in it
is there.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from upath import UPath

from mrl4rec.core.errors import UsageError

AnyPath: TypeAlias = Path | UPath


def write_whole(path: AnyPath, content: str | bytes, *, durable: bool = True) -> None:
    """Write a file in its folder, made if need be, so that readers see it whole or as it was.

    ``durable``: it is on disk when this returns. Nothing is left behind where it fails, but by a
    killed process a hidden file that ends in ``.tmp``.
    """
    if not isinstance(path, Path):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        if durable:
            sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


@contextmanager
def here(place: AnyPath) -> Iterator[Path]:
    """A file or folder on this machine: itself, or a copy of what lies elsewhere, for the while.

    Raises FileNotFoundError where there is none.
    """
    if not place.exists():
        raise FileNotFoundError(str(place))
    if isinstance(place, Path):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="mrl4rec-") as folder:
        copy = Path(folder, place.name)
        place.fs.get(place.path, str(copy), recursive=place.is_dir())
        yield copy


def put_folder(made: Path, place: UPath, last: str | None = None) -> None:
    """Copy the files of a folder to an object store, ``last`` after all others."""
    for file in sorted(made.rglob("*"), key=lambda file: file.name == last):
        if file.is_file():
            there = place / file.relative_to(made).as_posix()
            place.fs.put_file(str(file), there.path)


@contextmanager
def filled(folder: AnyPath) -> Iterator[Path]:
    """The folder to write into; where it lies elsewhere one of this machine, then copied there."""
    if isinstance(folder, Path):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mrl4rec-") as made:
        yield Path(made)
        put_folder(Path(made), folder)


def relative(path: AnyPath, beside: AnyPath) -> str:
    """The path as a link of a page in the folder ``beside``; whole where they share no root."""
    if isinstance(path, Path) and isinstance(beside, Path):
        return Path(os.path.relpath(path, beside)).as_posix()
    if isinstance(path, UPath) and isinstance(beside, UPath):
        return posixpath.relpath(path.path, beside.path)
    return str(path)


def inside(folder: AnyPath, pattern: str) -> dict[str, tuple[int, str]]:
    """The files of a folder that a pattern like ``*/runs/*.yaml`` or ``gx/**/*.html`` fits, by
    their names in it: bytes, and what changes where a file is written again.
    """
    if isinstance(folder, Path):
        told = ((file, file.stat()) for file in folder.glob(pattern) if file.is_file())
        return {
            file.relative_to(folder).as_posix(): (stat.st_size, str(stat.st_mtime_ns))
            for file, stat in told
        }
    root = folder.path.rstrip("/") + "/"
    fixed = pattern[: pattern.index("*")].rpartition("/")[0]
    found = folder.fs.find(root + fixed, detail=True)
    fits = re.compile(
        re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    ).fullmatch
    return {
        name: (told["size"], told["ETag"])
        for path, told in found.items()
        if fits(name := path.removeprefix(root))
    }


def remove(place: AnyPath) -> None:
    """Remove a file or folder with all that is in it; what is not there is left so."""
    if not isinstance(place, Path):
        if place.exists():
            place.fs.rm(place.path, recursive=True)
    elif place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


def check_folder(folder: Path, what: str, todo: str) -> None:
    """Raise UsageError, calling it ``what``, where this user may not write into the folder or make
    it. Nothing is written.
    """
    there = next(at for at in (folder, *folder.absolute().parents) if at.exists())
    if not there.is_dir():
        raise UsageError(f"{what} cannot be written: this is a file", where=str(there), todo=todo)
    if not os.access(there, os.W_OK | os.X_OK):
        read_only = os.statvfs(there).f_flag & os.ST_RDONLY
        why = "the file system is read-only" if read_only else "permission denied"
        raise UsageError(f"{what} cannot be written: {why}", where=str(there), todo=todo)


def check_file(file: Path, option: str) -> None:
    """Raise UsageError where the file that an option names cannot be written."""
    if file.is_dir():
        todo = f"name a file in it: {option} {file / 'NAME'}"
        raise UsageError(f"{option} is a folder", where=str(file), todo=todo)
    check_folder(file.parent, option, "name another place, or change its permissions")


def sync(path: Path) -> None:
    """Have the system put a file's bytes, or a folder's names, on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: AnyPath) -> str:
    """The digest of a file's bytes, as 64 hex digits."""
    if not isinstance(path, Path):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
