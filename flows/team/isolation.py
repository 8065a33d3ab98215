"""Processes that see nothing of the driver's disk: as on another machine, but on this one."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
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
    """The command in a mount namespace in which those places are empty (``check``)."""
    places: list[Path] = []
    for place in sorted(filter(Path.is_dir, hidden(folder))):
        if not any(place.is_relative_to(other) for other in places):
            places.append(place)
    mounts = [f"mount -t tmpfs -o mode=1777 none {shlex.quote(str(place))}" for place in places]
    begin = f"PREFECT_HOME=/tmp/prefect exec {shlex.join(command)}"
    script = " && ".join([*mounts, begin])
    return [*_namespace(), "sh", "-c", script]


def check(folder: Path) -> None:
    """Raise UsageError where no namespace can be made, or workers would not see the project."""
    if subprocess.run([*_namespace(), "true"], capture_output=True, check=False).returncode:
        raise UsageError(
            "no mount namespace can be made here",
            where=shlex.join(_namespace()),
            todo="leave --isolate out, or run where user namespaces are allowed (Linux)",
        )
    for code in (Path(__file__).resolve(), Path(sys.prefix).resolve()):
        if any(code.is_relative_to(place) for place in hidden(folder)):
            raise UsageError(
                "the project lies where isolated workers see nothing",
                where=str(code),
                todo="leave --isolate out, or install it elsewhere",
            )


def _namespace() -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", "--mount", *user]
