"""Compiling all loops in a process beside the work that comes before they are needed.

Only the first run on a machine pays for compiling: what it makes lies in numba's cache on disk.
That run begins with the data, and a second process compiles meanwhile; whoever needs a part waits
for it here. ``python -m mrl4rec.training.compiled`` compiles everything and says so, part by part.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mrl4rec.core import home, lazy
from mrl4rec.core.settings import Settings
from mrl4rec.data.interactions import from_pairs
from mrl4rec.models import resolve
from mrl4rec.models.scorers import FactorModel
from mrl4rec.training.request import TrainRequest, plan
from mrl4rec.training.tasks import tasks

with lazy.imports():
    from mrl4rec.evaluation import ranking
    from mrl4rec.training import fused, fused_graph

if TYPE_CHECKING:
    from mrl4rec.data.interactions import Interactions

log = logging.getLogger("mrl4rec")

ROOMS = ("kernels", "ranking", "training")
"""Folders of the package whose loops are compiled."""

_running: subprocess.Popen[str] | None = None
_made: set[str] = set()


def begin() -> None:
    """Start compiling in a process of its own, unless it was done on this machine."""
    global _running
    if _running is not None or stamp().exists():
        return
    _running = subprocess.Popen(
        [sys.executable, "-m", "mrl4rec.training.compiled"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C is for the run, which then ends this
    )
    atexit.register(_end)
    log.info("compiling the loops beside it, once on this machine")


def wait(part: str) -> None:
    """Until ``part`` is compiled, where that is under way; at once where it is not.

    A process that died leaves the rest to be compiled where it is called, as without it.
    """
    process = _running
    while process is not None and part not in _made:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.wait()
            return
        _made.add(line.strip())


def _end() -> None:
    if _running is not None and _running.poll() is None:
        _running.terminate()
        _running.wait()


def stamp() -> Path:
    """The empty file that says that this code was compiled by this numba into this cache."""
    package = Path(__file__).parent
    parts = [metadata.version("numba"), sys.version, os.environ.get("NUMBA_CACHE_DIR", "")]
    for path in sorted(path for room in ROOMS for path in (package / room).rglob("*.py")):
        state = path.stat()
        parts.append(f"{path} {state.st_mtime_ns} {state.st_size}")  # as numba looks at them
    return home.cache() / "compiled" / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _training() -> None:
    _step("MRL-M", fused.FusedLearner)


def _graph() -> None:
    _step("MRL-M@lightgcn-1", fused_graph.FusedGraph)


def _step(name: str, engine: type[fused.FusedLearner]) -> None:
    asked = TrainRequest(resolve(name), seed=0, device="cpu")
    made = plan(asked, Settings())
    task = tasks(_few(), "paper", made.trained)[0]
    learner = engine(task, made)
    learner.update(learner.loss(task.users_P, task.items_P, 0))
    learner.vectors()


def _ranking() -> None:
    data = _few()
    users, items = (np.ones((n, 64), np.float32) for n in (data.n_users, data.n_items))
    ranking.evaluate(FactorModel(users, items), data.csr("train"), data.csr("test"), ks=(1,))


def _few() -> Interactions:
    pairs = [(user, item) for user in range(8) for item in range(4)]
    return from_pairs(pairs[:24], [(u, i + 4) for u, i in pairs[:4]], [(7, 5)], 8, 32)


PARTS: dict[str, Callable[[], None]] = {
    "training": _training,
    "ranking": _ranking,
    "graph": _graph,
}


def compile_all() -> Iterator[str]:
    """Compile part by part, in the order in which a run needs them; the names of those done."""
    for name, part in PARTS.items():
        part()
        yield name
    stamp().parent.mkdir(parents=True, exist_ok=True)
    stamp().touch()


if __name__ == "__main__":
    for name in compile_all():
        print(name, flush=True)
