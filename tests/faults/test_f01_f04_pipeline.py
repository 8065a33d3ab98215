"""Killed between and amid stages, zombies, two at once: every table ends as if nothing happened."""

from __future__ import annotations

import itertools
import signal
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from mrl4rec.core import locks
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import LostRace
from mrl4rec.tables import store
from mrl4rec.transforms import duckdb_engine
from tests.faults import guards, scene
from tests.faults.conftest import Note, Start, Undisturbed, settings_of
from tests.faults.scene import wait_until

pytestmark = pytest.mark.slow

BETWEEN = {
    "ingest": "kill after jobs.ingest:run 1",
    "kcore": "kill after jobs.kcore:run 1",
    "split": "kill after jobs.split:run 1",
    "train": "kill after mrl4rec.training:run 1",
    "evaluate": "kill after mrl4rec.evaluation.evaluate:run 1",
}
AMID = {
    "ingest": "kill after mrl4rec.transforms.duckdb_engine:DuckDB.write 2",  # all but `sources`
    "kcore": "kill after jobs.common:Tables.replace 2",  # users and items, but no interactions
    "split": "cut before mrl4rec.transforms.duckdb_engine:commit_stream 1",  # half a file
    "train": "kill after mrl4rec.training.checkpoint:Store.save 5",
    "evaluate": "kill after mrl4rec.evaluation.evaluate:write_parquet 1",
}
AMID_SPARK = {
    "ingest": "kill after mrl4rec.transforms.spark_engine:Spark.write 2",
    "split": "kill file {warehouse}/d/splits/*.parquet",  # rows, but no commit
}
STOPPED = "stop before mrl4rec.tables.store:append_rows 1"
"""All tables of ingest are written, and the marker is about to commit."""


@pytest.mark.fault("F1")
@pytest.mark.parametrize("stage", scene.STAGES)
def test_f01_killed_between_stages(
    stage: str, undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """kill -9 of the command after a stage's commit and before its gate; the command again"""
    settings = undisturbed.before(stage, tmp_path)
    children(stage, undisturbed.dump, settings, at=BETWEEN[stage]).killed()
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
    child = children(stage, undisturbed.dump, settings, at=AMID[stage], **EVERY_STEP)
    child.killed(signal.SIGXFSZ if AMID[stage].startswith("cut") else signal.SIGKILL)
    assert scene.digests(settings) == before

    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    assert not list(tmp_path.glob(".spill/*"))
    record_property("came", "nothing half-visible; again: same digests")


@pytest.mark.fault("F2")
@pytest.mark.parametrize("stage", AMID_SPARK)
def test_f02_killed_in_the_middle_of_a_stage_on_spark(
    stage: str,
    on_spark: dict[str, str],
    undisturbed: Undisturbed,
    tmp_path: Path,
    children: Start,
    record_property: Note,
) -> None:
    """kill -9 amid ingest and split on Spark, of its JVM too; again, on DuckDB"""
    settings = undisturbed.before(stage, tmp_path)
    before = scene.digests(settings)
    at = AMID_SPARK[stage].format(warehouse=tmp_path)
    children(stage, undisturbed.dump, settings, at=at, **on_spark).killed()
    assert scene.digests(settings) == before

    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", "nothing half-visible; again: same digests")


EVERY_STEP = {"MRL4REC_CHECKPOINT_SECONDS": "0"}


@pytest.mark.fault("F3")
def test_f03_a_holder_that_is_stopped_and_woken(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """A training is stopped, a second command waits for it; then the first is woken"""
    settings = undisturbed.before("train", tmp_path)
    first, second = stopped_and_waiting(undisturbed, settings, children)
    first.send(signal.SIGCONT)
    first.ended()
    assert "found done" in second.ended()
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", "it kept its lock; the other waited, named it, and found it done")


@pytest.mark.fault("F3")
def test_f03_a_holder_that_is_stopped_and_killed(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """A training is stopped, a second command waits for it; then the first is killed with -9"""
    settings = undisturbed.before("train", tmp_path)
    first, second = stopped_and_waiting(undisturbed, settings, children)
    first.send(signal.SIGKILL)
    assert "resuming from" in second.ended()
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", "its lock was free; the other resumed; same digests")


def stopped_and_waiting(
    undisturbed: Undisturbed, settings: Settings, start: Start
) -> tuple[scene.Child, scene.Child]:
    """A training that is stopped, and a second one that waits for it and says so."""
    save = "stop after mrl4rec.training.checkpoint:Store.save 5"
    first = start("train", undisturbed.dump, settings, at=save, **EVERY_STEP)
    wait_until(first.is_stopped)
    second = start("train", undisturbed.dump, settings, **EVERY_STEP)
    wait_until(lambda: f"held by process {first.process.pid} on" in second.said())
    return first, second


def zombie(
    undisturbed: Undisturbed, place: Path, start: Start, without: str
) -> tuple[Settings, scene.Child, dict[str, int]]:
    """Ingest that takes no lock, stopped before the commit of its marker, overtaken by another that
    ends, and woken again; with the versions that the other left.
    """
    settings = undisturbed.before("ingest", place)
    late = start("ingest", undisturbed.dump, settings, at=STOPPED, without=without)
    wait_until(late.is_stopped)
    scene.run(settings, undisturbed.dump, until="ingest")
    theirs = scene.marks(settings)
    late.send(signal.SIGCONT)
    return settings, late, theirs


@pytest.mark.fault("F3")
def test_f03_a_late_zombie_commits_nothing(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """Ingest that takes no lock is stopped, as on a second machine; overtaken; then woken"""
    settings, late, theirs = zombie(undisturbed, tmp_path, children, without="lock")
    assert "another commit was made while this stage ran" in late.ended()
    assert scene.marks(settings) == theirs
    scene.run(settings, undisturbed.dump)
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", "woken, it committed nothing and found the other's work done")


@pytest.mark.fault("F3", without="the look at the version in each commit")
def test_f03_the_oracle_notices_a_zombie_that_commits(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """The same zombie, which commits to whatever version is there"""
    settings, late, theirs = zombie(undisturbed, tmp_path, children, without="lock and version")
    wait_until(lambda: scene.marks(settings) != theirs or late.process.poll() is not None)
    assert scene.marks(settings)["sources"] == theirs["sources"] + 1
    record_property("came", "noticed: the zombie made a version of `sources`")


def two_at_once(undisturbed: Undisturbed, place: Path) -> list[BaseException]:
    """Two runs up to the split begin at the same moment; what they raised."""
    settings = settings_of(place)
    start = threading.Barrier(2)
    raised: list[BaseException] = []

    def flow() -> None:
        start.wait()
        try:
            scene.run(settings, undisturbed.dump, until="split")
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
    """Two runs of ingest, k-core and split on one data set at the same moment"""
    once = scene.marks(undisturbed.before("train", tmp_path / "once"))
    assert two_at_once(undisturbed, tmp_path / "twice") == []
    settings = settings_of(tmp_path / "twice")
    found = scene.digests(settings)
    assert found == {table: undisturbed.digests[table] for table in found}
    assert scene.marks(settings) == once
    record_property("came", "one did the work, the other found it done: versions as after one run")


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits: two ingests read everything before either of them commits."""
    from jobs import ingest

    monkeypatch.setattr(locks, "locked", lambda *_: nullcontext())
    both = threading.Barrier(2)
    calls = itertools.count()
    ready = ingest._restore

    def together(plan: Any) -> None:
        ready(plan)
        if next(calls) < 2:
            both.wait(60)

    monkeypatch.setattr(ingest, "_restore", together)


@pytest.mark.fault("F4")
def test_f04_two_flows_that_no_lock_keeps_apart(
    undisturbed: Undisturbed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Note,
) -> None:
    """Two such runs without locks, as of jobs started by hand: both read, then both commit"""
    without_locks(monkeypatch)
    raised = two_at_once(undisturbed, tmp_path)
    assert [error for error in raised if not isinstance(error, LostRace)] == []
    settings = settings_of(tmp_path)
    scene.run(settings, undisturbed.dump, until="split")
    found = scene.digests(settings)
    assert found == {table: undisturbed.digests[table] for table in found}
    record_property("came", "one noticed the other by the tables' versions; one result")


@pytest.mark.fault("F4", without="the locks and the looks at versions")
def test_f04_the_oracle_notices_two_flows_without_locks(
    undisturbed: Undisturbed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Note,
) -> None:
    """Two such runs, which write to whatever version is there"""
    without_locks(monkeypatch)
    monkeypatch.setattr(duckdb_engine, "commit_stream", guards.write_anyway)
    monkeypatch.setattr(store, "append_rows", guards.append_anyway)
    raised = two_at_once(undisturbed, tmp_path)
    found = scene.digests(settings_of(tmp_path))
    wrong = [name for name, rows in found.items() if rows != undisturbed.digests.get(name)]
    assert raised or wrong
    what = f"{type(raised[0]).__name__}: {raised[0]}" if raised else f"other rows in {wrong}"
    record_property("came", f"noticed: {what.splitlines()[0]}")


@pytest.mark.fault("F4")
def test_f04_two_commands_at_once(
    undisturbed: Undisturbed, tmp_path: Path, children: Start, record_property: Note
) -> None:
    """Two processes are told to train and evaluate the same model at the same moment"""
    settings = undisturbed.before("train", tmp_path)
    commands = [children("evaluate", undisturbed.dump, settings) for _ in range(2)]
    said = [command.ended() for command in commands]
    assert sorted(text.count("train MRL-M · 4,8 · seed 0: done") for text in said) == [0, 1]
    assert scene.digests(settings) == undisturbed.digests
    record_property("came", "trained once, evaluated once; same digests")
