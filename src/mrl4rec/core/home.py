"""The user's home: numba, Prefect, MLflow and matplotlib keep files there, and so do we."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mrl4rec.core.errors import Mrl4recError


def cache() -> Path:
    """Folder of what can be made again: downloads, JARs, the note that loops are compiled."""
    ensure()
    return Path.home() / ".cache" / "mrl4rec"


def ensure() -> None:
    """Have HOME name a folder that can be written.

    Where it does not, as in a container whose user has no entry, a folder of this user beside the
    temporary files is made and named instead. Raises Mrl4recError where somebody else owns it.
    """
    if _is_usable():
        return
    folder = Path(tempfile.gettempdir(), f"mrl4rec-home-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise Mrl4recError(
            "HOME cannot be written, and somebody else owns the folder to use instead",
            where=str(folder),
            todo="set HOME to a folder of your own",
        )
    os.environ["HOME"] = str(folder)


def _is_usable() -> bool:
    try:
        return os.access(Path.home(), os.W_OK | os.X_OK)
    except RuntimeError:  # HOME is unset, and the user's number has no entry
        return False
