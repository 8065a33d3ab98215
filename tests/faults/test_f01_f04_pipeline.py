"""Killed between and amid stages, zombies, two at once: every table ends as if nothing happened."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mrl4rec import lease
from mrl4rec.lease import Lease
from mrl4rec.settings import Settings
from tests.faults import scene
from tests.faults.conftest import Undisturbed, settings_of

pytestmark = pytest.mark.slow
Start = Callable[..., subprocess.Popen[str]]
Note = Callable[[str, object], None]

BETWEEN = {
    "ingest": "kill after jobs.ingest_reviews:run 1",
    "kcore": "kill after jobs.filter_kcore:run 1",
    "split": "kill after jobs.split_interactions:run 1",
    "train": "kill after mrl4rec.training:run 1",
    "evaluate": "kill after mrl4rec.evaluation:run 1",
}
AMID = {
    "ingest": "kill after jobs.ingest_gain:commit 2",  # quarantine and reviews, but no sources
    "kcore": "kill after jobs.filter_kcore:_write 2",  # users and items, but no interactions
    "split": "kill file {warehouse}/d/splits/*.parquet",  # rows, but no commit
    "train": "kill after mrl4rec.training.checkpoint:Store.save 5",
    "evaluate": "kill after mrl4rec.evaluation:_write_per_user 1",
}
STOPPED = "stop before jobs.ingest_reviews:write_deltalake 1"
"""All tables of ingest are written, their marker is not."""


@pytest.mark.fault("F1")
@pytest.mark.parametrize("stage", scene.STAGES)
def test_f01_killed_between_stages(
    stage: str, undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """kill -9 of the command after a stage's commit and before its gate; the command again"""
    settings = undisturbed.before(stage, tmp_path)
    scene.killed(children(stage, undisturbed.dump, settings, at=BETWEEN[stage]))
    left = scene.marks(settings)

    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    after = scene.marks(settings)
    assert {name: after[name] for name in left} == left
    record_property("came", "finished stages skipped: same versions; same digests")


@pytest.mark.fault("F2")
@pytest.mark.parametrize("stage", scene.STAGES)
def test_f02_killed_in_the_middle_of_a_stage(
    stage: str, undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """kill -9 when a part of a stage's output is on disk and its commit is not; again"""
    settings = undisturbed.before(stage, tmp_path)
    before = scene.digests(settings)
    at = AMID[stage].format(warehouse=tmp_path)
    scene.killed(children(stage, undisturbed.dump, settings, at=at, **EVERY_STEP))
    assert scene.digests(settings) == before

    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    assert not list(tmp_path.glob("d/unpacked-*"))
    record_property("came", "nothing half-visible; again: same digests")


EVERY_STEP = {"MRL4REC_CHECKPOINT_SECONDS": "0"}


@pytest.mark.fault("F3")
def test_f03_a_killed_holder_is_followed_within_two_heartbeats(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """A training is stopped, a second command waits for it; then the first is killed with -9"""
    settings = undisturbed.before("train", tmp_path)
    save = "stop after mrl4rec.training.checkpoint:Store.save 5"
    first = children("train", undisturbed.dump, settings, at=save, **EVERY_STEP)
    wait_until(lambda: is_stopped(first))
    second = children("train", undisturbed.dump, settings, **EVERY_STEP)
    (path,) = tmp_path.glob("d/.leases/train*.json")
    wait_until(lambda: psutil.Process(second.pid).num_threads() > 1)
    time.sleep(2)  # it waits: its holder lives
    assert holder(path) == first.pid
    assert second.poll() is None

    first.send_signal(signal.SIGKILL)
    began = time.monotonic()
    wait_until(lambda: holder(path) in (second.pid, None))
    seconds = time.monotonic() - began
    heartbeat = settings.lease_stale_seconds / lease.BEATS
    assert seconds < 2 * heartbeat
    said = scene.ended(second)
    assert "taking over" in said
    assert "resuming from" in said
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property(
        "came", f"followed after {seconds:.1f} s (a heartbeat is {heartbeat:.0f} s), resumed; same"
    )


def zombie(undisturbed: Undisturbed, place: Path, start: Start, without: str | None) -> Settings:
    """Ingest stopped before its marker, overtaken by another that ends, and woken again."""
    settings = undisturbed.before("ingest", place)
    hasty = {"MRL4REC_LEASE_STALE_SECONDS": "2"}
    late = start("ingest", undisturbed.dump, settings, at=STOPPED, without=without, **hasty)
    wait_until(lambda: is_stopped(late))
    scene.run(settings_of(place, lease_stale_seconds=2), undisturbed.dump, until="ingest")
    ours = scene.marks(settings)
    late.send_signal(signal.SIGCONT)
    said = scene.ended(late, code=0 if without else 1)
    if without is None:
        assert "was taken over by" in said
        assert scene.marks(settings) == ours
    return settings


@pytest.mark.fault("F3")
def test_f03_a_late_zombie_commits_nothing(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """Ingest stopped for longer than its lease lasts; another does it; then the first is woken"""
    settings = zombie(undisturbed, tmp_path, children, without=None)
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", "the zombie ended with the reason and committed nothing; same digests")


@pytest.mark.fault("F3", without="the look at the lease before each commit")
def test_f03_the_oracle_notices_a_zombie_that_commits(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """The same zombie, which does not look at its lease before it commits"""
    settings = zombie(undisturbed, tmp_path, children, without="fence")
    found = scene.digests(settings)
    assert found["sources"] != undisturbed.digests["sources"]
    record_property("came", "noticed: `sources` has the dump twice")


def two_at_once(undisturbed: Undisturbed, place: Path) -> list[BaseException]:
    """Two runs of all stages begin at the same moment; what they raised."""
    settings = settings_of(place)
    start = threading.Barrier(2)
    raised: list[BaseException] = []

    def flow() -> None:
        start.wait()
        try:
            scene.run(settings, undisturbed.dump)
        except BaseException as error:
            raised.append(error)

    flows = [threading.Thread(target=flow) for _ in range(2)]
    for thread in flows:
        thread.start()
    for thread in flows:
        thread.join()
    return raised


@pytest.mark.fault("F4")
def test_f04_two_flows_at_once(
    undisturbed: Undisturbed, tmp_path: Path, record_property: Note
) -> None:
    """Two runs of every stage on one data set at the same moment"""
    once = scene.marks(undisturbed.before("done", tmp_path / "once"))
    assert two_at_once(undisturbed, tmp_path / "twice") == []
    settings = settings_of(tmp_path / "twice")
    assert scene.digests(settings) == undisturbed.digests
    assert without_inodes(scene.marks(settings)) == without_inodes(once)
    record_property("came", "one did the work, the other found it done: versions as after one run")


def without_inodes(marks: dict[str, int]) -> dict[str, int | None]:
    return {name: None if "/" in name else mark for name, mark in marks.items()}


@pytest.mark.fault("F4", without="the lease")
def test_f04_the_oracle_notices_two_flows_without_a_lease(
    undisturbed: Undisturbed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Note,
) -> None:
    """The same two runs, neither waiting for the other"""
    monkeypatch.setattr(Lease, "__enter__", lambda self: self)
    monkeypatch.setattr(Lease, "__exit__", lambda *_: None)
    raised = two_at_once(undisturbed, tmp_path)
    found = scene.digests(settings_of(tmp_path))
    assert raised or found != undisturbed.digests
    what = f"{type(raised[0]).__name__}: {raised[0]}" if raised else "other digests"
    record_property("came", f"noticed: {what.splitlines()[0]}")


@pytest.mark.fault("F4")
def test_f04_two_commands_at_once(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """Two processes are told to train and evaluate the same model at the same moment"""
    settings = undisturbed.before("train", tmp_path)
    commands = [children("evaluate", undisturbed.dump, settings) for _ in range(2)]
    said = [scene.ended(command) for command in commands]
    assert sorted(text.count("train MRL-M · 4,8 · seed 0: done") for text in said) == [0, 1]
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", "trained once, evaluated once; same digests")


def is_stopped(process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, (process.communicate()[1] or "")[-3000:]
    return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


def holder(path: Path) -> int | None:
    found = lease._read(path)
    return found.pid if found else None


def wait_until(ready: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)
