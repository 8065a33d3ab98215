"""Files: whether they can be written; written whole, made durable, their digest."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

from mrl4rec.core.errors import UsageError


def write_whole(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Write a file in its folder, made if need be, so that readers see it whole or as it was.

    ``durable``: it is on disk when this returns. Nothing is left behind where it fails, but by a
    killed process a hidden file that ends in ``.tmp``.
    """
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


def sha256(path: Path) -> str:
    """The digest of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
