"""The user's home: numba, Prefect, MLflow and matplotlib keep files there, and so do we."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mrl4rec.core.errors import Mrl4recError

KEPT = {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib", "PREFECT_HOME": "prefect"}
"""Variables by which those who fail without a place to write are given another, and its name."""


def cache() -> Path:
    """Folder of what can be made again: downloads, JARs, the note that loops are compiled."""
    return ensure() / ".cache" / "mrl4rec"


def state() -> Path:
    """Folder of what belongs to this machine and a warehouse that lies elsewhere."""
    return ensure() / ".local" / "state" / "mrl4rec"


def ensure() -> Path:
    """The home, or where it cannot be written a folder beside the temporary files.

    Without a home, as in a container whose user has no entry, HOME names that folder. One that is
    read-only stays the home, because people mount credentials there: only ``KEPT`` lie elsewhere.
    Raises Mrl4recError where somebody else owns the folder.
    """
    home = _home()
    if home is not None and os.access(home, os.W_OK | os.X_OK):
        return home
    folder = Path(tempfile.gettempdir(), f"mrl4rec-home-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise Mrl4recError(
            "HOME cannot be written, and somebody else owns the folder to use instead",
            where=str(folder),
            todo="set HOME to a folder of your own",
        )
    if home is None:
        os.environ["HOME"] = str(folder)
        return folder
    for name, place in KEPT.items():
        os.environ.setdefault(name, str(folder / place))
    profiles = home / ".prefect" / "profiles.toml"
    if profiles.is_file():
        os.environ.setdefault("PREFECT_PROFILES_PATH", str(profiles))
    return folder


def _home() -> Path | None:
    try:
        home = Path.home()
    except RuntimeError:  # HOME is unset, and the user's number has no entry
        return None
    return home if home.is_dir() else None
