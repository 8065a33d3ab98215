"""The warehouse in an object store that goes away, and runs on it that are killed."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from mrl4rec.core import object_lock
from mrl4rec.core.settings import Settings
from tests.faults import scene
from tests.faults.conftest import Note, Start, Undisturbed
from tests.object_store import ObjectStore

AWAY = 60.0
"""Seconds."""


@pytest.mark.slow
@pytest.mark.fault("C1")
@pytest.mark.timeout(1200)
def test_c01_the_store_is_away_in_the_middle_of_each_stage(
    lake: Settings, object_store: ObjectStore, undisturbed: Undisturbed, record_property: Note
) -> None:
    """The object store is killed with -9 in the middle of each stage, back 60 s later"""
    struck = []

    def strike() -> None:
        time.sleep(0.2)
        object_store.end()
        time.sleep(AWAY)
        object_store.start()

    def step(name: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        if name.split()[0] not in scene.STAGES:
            return function(*args, **kwargs)
        struck.append(name.split()[0])
        thread = threading.Thread(target=strike)
        thread.start()
        try:
            return function(*args, **kwargs)
        finally:
            thread.join()

    scene.run(lake, undisturbed.dump, step)
    assert struck == list(scene.STAGES)
    assert scene.digests(lake) == undisturbed.digests
    record_property("came", "asked again until it was back; same digests")


@pytest.mark.slow
@pytest.mark.parametrize("table", ["sources", "splits"])
def test_a_run_is_killed_and_run_again(
    lake: Settings, undisturbed: Undisturbed, children: Start, table: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """kill -9 once a table is there: the lock it held falls to the next, who goes on."""
    monkeypatch.setattr(object_lock, "STALE", 5.0)
    run = children("run", undisturbed.dump, lake)
    scene.wait_until(lambda: lake.storage.has_table(scene.DATASET, table))
    run.end()
    scene.run(lake, undisturbed.dump)
    assert scene.digests(lake) == undisturbed.digests
