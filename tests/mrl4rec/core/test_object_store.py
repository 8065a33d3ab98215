"""Conditional writes and locks in an object store, against a real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from upath import UPath

from mrl4rec.core import files, locks, object_lock, object_store
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.object_lock import ObjectLock
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import opened
from mrl4rec.training.checkpoint import State, Store


@pytest.fixture
def place(lake: Settings) -> UPath:
    root = lake.warehouse
    assert isinstance(root, UPath)
    return root / "locks" / "a.lock"


@pytest.fixture
def waiter(place: UPath) -> Iterator[ObjectLock]:
    lock = ObjectLock(place)
    yield lock
    lock.release()


def test_an_object_is_written_where_it_is_as_it_was_read(place: UPath) -> None:
    assert object_store.read(place) is None
    first = object_store.put(place, b"one", None)
    assert first is not None
    assert object_store.put(place, b"two", None) is None
    second = object_store.put(place, b"two", first)
    assert second is not None
    assert object_store.put(place, b"three", first) is None
    assert object_store.read(place) == object_store.Found(b"two", second)
    place.unlink()
    assert object_store.put(place, b"four", second) is None


def test_a_write_whose_answer_was_lost_is_recognised(place: UPath) -> None:
    """It is made again, and refused: what is there is what it wrote."""
    tag = object_store.put(place, b"mine", None)
    assert object_store.put(place, b"mine", None) == tag


def test_of_many_writers_one_wins(place: UPath) -> None:
    for n in range(5):
        assert object_store.race(place.parent / f"race-{n}") is None
    assert abs(object_store.clock_behind(place.parent)) < 5


def test_a_lock_has_one_holder_until_it_is_released(place: UPath, waiter: ObjectLock) -> None:
    with locks.locked(place), locks.locked(place):  # the same thread may enter again
        assert str(waiter.attempt()).startswith("process ")
        with pytest.raises(Mrl4recError, match="is held by process"):
            _in_a_thread(lambda: locks.locked(place, timeout=0).__enter__())
    assert waiter.attempt() is None


def test_a_silent_holder_loses_its_lock_and_one_that_writes_keeps_it(
    place: UPath, waiter: ObjectLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_lock, "BEAT", 0.05)
    monkeypatch.setattr(object_lock, "STALE", 0.0)
    holder = ObjectLock(place)
    assert holder.attempt() is None
    for _ in range(3):
        assert waiter.attempt() is not None  # it has not seen this writing before
        seen = object_store.read(place)
        _until(lambda seen=seen: object_store.read(place) != seen)
    holder._ended.set()  # as a process that was stopped: it writes no more
    _until(lambda: waiter.attempt() is None)
    holder.release()  # late: what is there is not its own
    assert object_store.read(place) is not None


def test_a_warehouse_is_refused_where_no_bucket_can_be_read(lake: Settings) -> None:
    for url in ("s3://none-of-this-name/x", "s3://lake//x", "s3://lake/a?b"):
        with pytest.raises(UsageError) as refused:
            Settings(warehouse=opened(url)).check()
        assert refused.value.where == url
    with pytest.raises(UsageError, match="gs://"):
        opened("gs://lake/x")
    lake.check()
    lake.storage.check_writable()
    assert list(opened(str(lake.warehouse)).glob("*")) == []


def test_files_of_a_folder_by_a_pattern(lake: Settings) -> None:
    for name in ("runs/a.yaml", "runs/b.txt", "gx/x/y/p.html", "gx/q.html", "t/_delta_log/0.json"):
        files.write_whole(lake.warehouse / name, name)
    found = {
        pattern: sorted(files.inside(lake.warehouse, pattern))
        for pattern in ("runs/*.yaml", "gx/**/*.html", "*/_delta_log/*.json", "none/*")
    }
    assert found == {
        "runs/*.yaml": ["runs/a.yaml"],
        "gx/**/*.html": ["gx/q.html", "gx/x/y/p.html"],
        "*/_delta_log/*.json": ["t/_delta_log/0.json"],
        "none/*": [],
    }
    with files.here(lake.warehouse / "gx") as copy:
        assert (copy / "x" / "y" / "p.html").read_text() == "gx/x/y/p.html"
    files.remove(lake.warehouse / "gx")
    assert sorted(files.inside(lake.warehouse, "gx/**/*.html")) == []


def _until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _in_a_thread(function: Callable[[], object]) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def test_checkpoints_lie_there_too(lake: Settings) -> None:
    """Two are kept, the newest whole one is taken up, and none is left of a finished training."""
    folder = lake.storage.checkpoints_dir("d", "k")
    store = Store(folder, {"key": "k"}, 0)
    for epoch in range(3):
        store.save(State(epoch=epoch), {"users": np.full((2, 2), float(epoch))})
    assert len(files.inside(folder, "*")) == 2
    state, arrays = Store(folder, {"key": "k"}, 0).load()
    assert (state.epoch, arrays["users"].tolist()) == (2, [[2.0, 2.0], [2.0, 2.0]])
    newest = max(folder.glob("*"), key=str)
    newest.write_bytes(newest.read_bytes()[:-1])
    assert store.load()[0].epoch == 1
    store.clear()
    assert not folder.exists()
