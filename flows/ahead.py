"""What a run will need is begun beside what it waits for: compiled loops, slow imports."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Callable

from flows.config.run import RunConfig
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.training import compiled

log = logging.getLogger("mrl4rec")

GATES = ("great_expectations", "great_expectations.expectations")
SLOW = (*GATES, "matplotlib.figure")
"""Imports of seconds that come after training: gates and the report."""
SWITCH_SECONDS = 5e-4
"""Python's own is 5 ms: a training step would wait so long each time it asks for its turn."""


def begin(request: RunConfig, settings: Settings) -> None:
    """At the start of a run: where nothing was split yet, training's compiled loops are needed."""
    split = settings.storage.has_table(request.dataset, "splits")
    if not split and any(not cell.method.closed_form for cell in request.cells):
        compiled.begin()


def imports_while_waiting(request: RunConfig, settings: Settings) -> None:
    """While a server starts: what gates and training import, where they have something to do."""
    if not settings.storage.has_table(request.dataset, "splits"):
        for name in GATES:
            importlib.import_module(name)
    trained = settings.storage.models_dir(request.dataset).exists()
    if not trained and any(not cell.method.closed_form for cell in request.cells):
        importlib.import_module("mrl4rec.training.job")


def imports(*also: Callable[[], object]) -> threading.Thread:
    """Import what the end of a run needs, then call ``also``, in a thread beside training.

    Whatever fails there fails again, and is said, where it is needed.
    """

    def run() -> None:
        usual = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            for name in SLOW:
                importlib.import_module(name)
            for call in also:
                call()
        except Exception:
            log.debug("beside training", exc_info=True)
        finally:
            sys.setswitchinterval(usual)

    thread = threading.Thread(target=run, name="ahead", daemon=True)
    thread.start()
    return thread
