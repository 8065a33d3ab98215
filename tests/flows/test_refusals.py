"""Dumps that were refused: what stands in the ledger of them, and what is set aside. No JVM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.config.retrain import RetrainConfig
from flows.pipeline import plain
from flows.retraining import fresh, refusals
from flows.retraining.drift_gate import check_drift
from flows.retraining.refusals import Refusal
from flows.retraining.stages import Stages
from mrl4rec.core.errors import GateFailed, Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.formats.sources import SourceFile, digest
from mrl4rec.serving.registry import ledger
from mrl4rec.tables import versions
from tests.flows.test_drift_gate import unhappy
from tests.mrl4rec.checks.drift_samples import DATASET, World, take_in

WORLD = World()


def stages(settings: Settings, dumps: Path | str = "dumps", **values: Any) -> Stages:
    return Stages(RetrainConfig(dataset=DATASET, dumps=(str(dumps),), **values), settings, plain)


def file(folder: Path, name: str, text: str) -> SourceFile:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return digest(folder / name)[0]


@pytest.fixture
def poisoned(settings: Settings, tmp_path: Path) -> tuple[Settings, list[SourceFile]]:
    """Three files in a folder: taken in, stopped by the drift gate, not seen yet."""
    files = [file(tmp_path / "dumps", f"{n}.csv", f"week {n}") for n in range(3)]
    take_in(settings, WORLD.rows(0, 60), files[0].sha256)
    bad = take_in(settings, unhappy(WORLD.rows(60, 7)), files[1].sha256)
    with pytest.raises(GateFailed):
        check_drift(DATASET, bad, settings)
    return settings, files


def test_every_dump_is_new_taken_or_set_aside(
    poisoned: tuple[Settings, list[SourceFile]], tmp_path: Path
) -> None:
    settings, _ = poisoned
    (tmp_path / "dumps" / "again.csv").write_text("week 2")  # the same bytes: one dump
    at = stages(settings, tmp_path / "dumps")
    found = fresh.look(at, versions.newest_good(settings, DATASET, "sources"))
    names = {
        name: [f.path.name for f in getattr(found, name)] for name in ("taken", "set_aside", "new")
    }
    assert names == {"taken": ["0.csv"], "set_aside": ["1.csv"], "new": ["2.csv"]}
    retried = stages(settings, tmp_path / "dumps", retry_set_aside=True)
    found = fresh.look(retried, versions.newest_good(settings, DATASET, "sources"))
    assert [f.path.name for f in found.new] == ["1.csv", "2.csv"]
    assert found.set_aside == []
    assert fresh.look(at, None).taken == []


def test_a_stopped_dump_stands_in_the_ledger_once(
    poisoned: tuple[Settings, list[SourceFile]],
) -> None:
    settings, files = poisoned
    asked = [f.sha256 for f in files]
    for _ in range(2):  # the second is a run after a kill, or the next night's
        refusals.record(stages(settings), [], asked)
    (row,) = ledger.entries(settings, DATASET)
    assert (row.decision, row.champion) == ("refused", None)
    assert row.evidence["sources"] == [files[1].sha256]
    assert row.evidence["gate"] == "drift"
    (failed,) = [told for told in row.evidence["failed"] if told["name"] == "ratings_alike"]
    assert failed["seen"] > 0.5
    assert "ratings_alike" in row.why


def test_what_nobody_asks_for_is_left_out(poisoned: tuple[Settings, list[SourceFile]]) -> None:
    settings, files = poisoned
    refusals.record(stages(settings), [], [files[0].sha256, files[2].sha256])
    assert ledger.entries(settings, DATASET) == []


def test_a_file_that_cannot_be_read_is_set_aside_by_the_ledger(
    settings: Settings, tmp_path: Path
) -> None:
    bad = file(tmp_path / "dumps", "cut.csv.gz", "half")
    refusal = Refusal(
        [bad], "cut.csv.gz cannot be taken in: the gzip file is cut off", judged=False
    )
    for _ in range(2):
        refusals.record(stages(settings), [refusal], [bad.sha256])
    (row,) = ledger.entries(settings, DATASET)
    assert row.why == refusal.why
    assert refusals.digests(settings, DATASET) == {bad.sha256}
    found = fresh.look(stages(settings, tmp_path / "dumps"), None)
    assert [f.path.name for f in found.set_aside] == ["cut.csv.gz"]


def test_which_errors_are_about_a_file(tmp_path: Path) -> None:
    files = [file(tmp_path / "d", f"{n}.csv", str(n)) for n in range(2)]
    about = Mrl4recError("binary", where=str(files[1].path))
    assert fresh._unreadable(about, files) is files[1]
    unclear = UsageError("which column is the user?", where=str(files[1].path))
    assert fresh._unreadable(unclear, files) is files[1]
    assert fresh._unreadable(unclear, files, said=True) is None  # the options' fault
    # Not the file's fault: a table, a place nobody names.
    for error in (Mrl4recError("full", where="/table"), Mrl4recError("no Java")):
        assert fresh._unreadable(error, files) is None
    files[1].path.write_text("somebody is still writing")
    assert fresh._unreadable(about, files) is None


def test_a_first_load_goes_in_at_once_and_later_files_one_by_one(tmp_path: Path) -> None:
    files = [file(tmp_path / "d", f"{n}.csv", str(n)) for n in range(3)]
    assert list(fresh._batches(files, first=True)) == [files]
    assert list(fresh._batches(files, first=False)) == [[f] for f in files]
    assert list(fresh._batches([], first=True)) == []
