"""Processes that see nothing of the driver's disk: as on another machine, but on this one."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from mrl4rec.core import home
from mrl4rec.core.errors import UsageError


def hidden(folder: Path) -> list[Path]:
    """What a worker in a namespace of its own has empty: temporary files, what commands keep in
    the home, the default warehouse, and ``folder``, where the servers of the stack keep theirs.
    """
    user = home.ensure()
    own = [user / ".local" / "state", user / ".prefect", user / ".cache" / "mrl4rec" / "downloads"]
    return [Path("/tmp"), Path("/var/tmp"), *own, Path("warehouse").absolute(), folder.absolute()]


def isolated(command: Sequence[str], folder: Path) -> list[str]:
    """The command in a mount namespace in which those places are empty.

    Raises UsageError where the system makes none.
    """
    places: list[Path] = []
    for place in sorted(filter(Path.is_dir, hidden(folder))):
        if not any(place.is_relative_to(other) for other in places):
            places.append(place)
    mounts = [f"mount -t tmpfs -o mode=1777 none {shlex.quote(str(place))}" for place in places]
    begin = f"PREFECT_HOME=/tmp/prefect exec {shlex.join(command)}"
    script = " && ".join([*mounts, begin])
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", "--mount", *user, "sh", "-c", script]


def check() -> None:
    """Raise UsageError where no namespace can be made."""
    if os.system("unshare --mount --user --map-root-user true 2>/dev/null") and os.system(
        "unshare --mount true 2>/dev/null"
    ):
        raise UsageError(
            "no mount namespace can be made here",
            where="unshare --mount",
            todo="leave --isolate out, or run where user namespaces are allowed (Linux)",
        )
