"""Commands on machines of their own: mount namespaces that share the network and nothing of what
this machine keeps.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.faults import scene
from tests.listening import free_port

EMPTY = (Path("/tmp"), Path("/var/tmp"), Path.home() / ".local" / "state", Path.home() / ".prefect")
"""What another machine has of its own. The code is the same on both, wherever it lies here."""


class Machines:
    """Two that train together, and the command that is given on each. ``folder`` has their logs."""

    def __init__(self, folder: Path, warehouse: str) -> None:
        self.folder, self.warehouse = folder, warehouse
        self.rendezvous = f"127.0.0.1:{free_port()}"
        self.started: list[scene.Child] = []

    def start(self, node: int, command: Sequence[str], **environment: str) -> scene.Child:
        """Give the command on one of them."""
        place = self.folder / f"{len(self.started)}-machine-{node}"
        place.mkdir(parents=True)
        words = [sys.executable, "-m", "flows.cli", *command, "--warehouse", self.warehouse]
        settings = {
            "MRL4REC_NODES": "2",
            "MRL4REC_NODE": str(node),
            "MRL4REC_RENDEZVOUS": self.rendezvous,
            "MRL4REC_RENDEZVOUS_SECONDS": "240",
            "MRL4REC_DATA_ENGINE": "duckdb",
            "PYTHONPATH": f"{scene.ROOT / 'src'}{os.pathsep}{scene.ROOT}",
        }
        self.started.append(scene.Child(_hidden(words), place, settings | environment))
        return self.started[-1]

    def both(self, command: Sequence[str], **environment: str) -> list[scene.Child]:
        """Give it on both, on the second one first."""
        return [self.start(node, command, **environment) for node in (1, 0)][::-1]

    def end(self) -> None:
        """kill -9 of all that is left."""
        for child in self.started:
            crash(child)


def crash(child: scene.Child) -> None:
    """The machine goes: kill -9 of all that runs there, at once."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(child.process.pid)
        for process in (*parent.children(recursive=True), parent):
            with suppress(psutil.NoSuchProcess):
                process.kill()
    child.end()


def _hidden(words: Sequence[str]) -> list[str]:
    code = shlex.quote(str(scene.ROOT))
    steps = [
        f"mount --bind {code} /mnt",
        *(f"mount -t tmpfs none {shlex.quote(str(place))}" for place in EMPTY if place.is_dir()),
        f"mkdir -p {code}",
        f"mount --bind /mnt {code}",
        f"cd {code}",
        f"exec {shlex.join(words)}",
    ]
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", "--mount", *user, "sh", "-c", " && ".join(steps)]
