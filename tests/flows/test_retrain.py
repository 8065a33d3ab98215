"""Retraining on planted dumps: a story in this process, then real kills, and two at once."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from deltalake import DeltaTable

from flows.pipeline import plain
from flows.retrain import run_retrain
from flows.retraining.outcome import Outcome
from mrl4rec.checks import drift
from mrl4rec.core.errors import GateFailed
from mrl4rec.core.settings import Settings
from mrl4rec.models import model_folder
from mrl4rec.serving.registry import ledger
from mrl4rec.serving.registry.agree import bring_into_agreement
from mrl4rec.serving.registry.ledger import Entry
from mrl4rec.tables import versions
from mrl4rec.tracking.view import LEADERBOARD, RETRAININGS
from tests.flows import night_falls, nights, retrain_alone
from tests.flows.test_drift_gate import shuffled
from tests.flows.weekly import FEW_USERS, week

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # the story is told once, in one fixture

DATASET = "weekly"
WAITS = 10
"""Seconds in which a run that did not wait would be done."""


@dataclass
class Story:
    """One warehouse, week after week, and what was seen on the way."""

    settings: Settings
    dumps: Path
    before: Path
    """The warehouse as a dry run of week 1 left it: all is done but what writes the decision."""
    outcomes: dict[str, Outcome]
    rows: dict[str, list[Entry]]
    """The ledger after each step."""
    tables: dict[str, dict[str, int]]
    refused: str = ""
    """What the gate said of the poisoned week."""


def state(settings: Settings) -> dict[str, int]:
    """Versions of what a dry run must leave alone."""
    names = ("promotions", "recommendations")
    return {name: versions.version(settings, DATASET, name) for name in names}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("retrain")
    settings = Settings(warehouse=folder / "warehouse", retrain_min_users=60)
    dumps = folder / "dumps"
    found = Story(settings, dumps, folder / "before", {}, {}, {})

    def run(name: str, *more: str) -> None:
        outcome = run_retrain(retrain_alone.request(dumps, *more), settings, plain)
        found.outcomes[name] = outcome
        found.rows[name] = ledger.entries(settings, DATASET)
        found.tables[name] = state(settings)

    week(dumps, 0)
    run("first")
    run("again")
    week(dumps, 1)
    run("dry", "--dry-run")
    shutil.copytree(settings.warehouse, found.before)
    run("week 1")
    poison = week(dumps, 2, shuffled)
    with pytest.raises(GateFailed) as caught:
        run("poison")
    found.refused = str(caught.value)
    found.rows["poison"] = ledger.entries(settings, DATASET)
    assert poison.exists()
    week(dumps, 3)
    run("week 3")
    return found


def test_first_load_is_promoted_over_popularity(story: Story) -> None:
    first = story.outcomes["first"]
    (row,) = story.rows["first"]
    assert (first.outcome, first.seq, row.decision) == ("promoted", 0, "promoted")
    assert row.champion_before is None
    assert row.evidence["champion"]["method"] == "Pop"
    assert row.evidence["difference"]["low"] > 0
    (note,) = row.evidence["notes"]
    assert "cold start" in note
    # What serves is the winner refitted on everything; what was judged had seen no test pair.
    served = model_folder.read_card(_folder(story.settings, row.champion))
    judged = model_folder.read_card(_folder(story.settings, row.challenger))
    assert (served.folds, judged.folds) == (("train", "valid", "test"), ("train", "valid"))
    assert served.seed == judged.seed
    assert str(judged.trained_until) < row.evidence["window"]["since"] < str(served.trained_until)
    assert first.report is not None
    assert "Retraining" in first.report.read_text()


def test_the_same_again_is_nothing_new(story: Story) -> None:
    again = story.outcomes["again"]
    assert (again.outcome, again.seq) == ("nothing new", 0)
    assert again.dumps["taken before"] == [str(story.dumps / "week-00.csv")]
    assert story.rows["again"] == story.rows["first"]
    assert story.tables["again"] == story.tables["first"]


def test_a_dry_run_decides_and_changes_nothing(story: Story) -> None:
    dry, real = story.outcomes["dry"], story.outcomes["week 1"]
    assert dry.outcome == f"would be {real.outcome}"
    assert (dry.seq, dry.report) == (None, None)
    assert dry.champion == story.rows["first"][-1].champion
    assert story.rows["dry"] == story.rows["first"]
    assert story.tables["dry"] == story.tables["first"]
    # The decision is the one that is then written down.
    assert dry.why == real.why == story.rows["week 1"][-1].why


def test_a_new_week_is_judged_by_its_newer_half(story: Story) -> None:
    first, row = story.rows["week 1"]
    window = row.evidence["window"]
    assert window["mode"] == "as_in_service"
    assert window["why"].startswith("the newer half")
    champion = model_folder.read_card(_folder(story.settings, first.champion))
    assert str(champion.trained_until) < window["since"]
    assert row.evidence["champion"]["models"] == [first.champion]
    starts = {told["start"]: told for told in row.evidence["contenders"]}
    if "warm" in starts:
        assert {told["valid_recall@10"] is not None for told in starts.values()} == {True}
    else:
        assert any("cold start" in note for note in row.evidence["notes"])


def test_a_poisoned_week_is_refused_and_the_next_goes_on(story: Story) -> None:
    assert "tastes_known" in story.refused
    before, row = story.rows["week 1"], story.rows["poison"][-1]
    assert len(story.rows["poison"]) == len(before) + 1
    assert (row.decision, row.champion) == ("refused", before[-1].champion)
    assert row.evidence["gate"] == "drift"
    assert row.evidence["paths"] == [str(story.dumps / "week-02.csv")]
    assert "tastes_known" in row.why
    # Set aside, without a word in the ledger again; the good week goes in without it.
    last = story.outcomes["week 3"]
    assert last.dumps["set aside before"] == [str(story.dumps / "week-02.csv")]
    assert last.dumps["taken"] == [str(story.dumps / "week-03.csv")]
    assert len(story.rows["week 3"]) == len(story.rows["poison"]) + 1
    sources = DeltaTable(story.settings.storage.table_uri(DATASET, "sources")).to_pyarrow_table()
    names = {Path(path).name for path in sources["path"].to_pylist()}
    assert names == {"week-00.csv", "week-01.csv", "week-03.csv"}
    judged = {row["reviews_version"]: row["judged"] for row in drift.rows(story.settings, DATASET)}
    assert list(judged.values()) == [False, True, True, True]


def test_ledger_alias_and_recommendations_agree(story: Story) -> None:
    found = bring_into_agreement(story.settings, DATASET)
    assert found.ok
    assert found.repaired == []
    assert found.champion == story.rows["week 3"][-1].champion


def test_mlflow_has_a_run_a_row(story: Story) -> None:
    runs = _mlflow_runs(story.settings)
    told = {run["tags"]["seq"]: run for run in runs}
    rows = story.rows["week 3"]
    assert set(told) == {str(row.seq) for row in rows}
    assert [told[str(row.seq)]["tags"]["decision"] for row in rows] == [r.decision for r in rows]
    (refused,) = [row for row in rows if row.decision == "refused"]
    note = told[str(refused.seq)]["tags"]["mlflow.note.content"]
    assert "tastes_known" in note
    judged = [row for row in rows if row.evidence_file]
    for row in judged:
        run = told[str(row.seq)]
        assert run["tags"]["decision"] == row.decision
        sides = (row.evidence["champion"]["ndcg@20"], row.evidence["challenger"]["ndcg@20"])
        metrics = run["metrics"]
        assert (metrics["champion_ndcg_20"], metrics["challenger_ndcg_20"]) == pytest.approx(sides)
        assert metrics["gain_low"] == pytest.approx(row.evidence["difference"]["low"])
    assert "drift_ratings" in told[str(judged[-1].seq)]["metrics"]


def test_mlflows_view_of_retrainings_shows_them_and_the_leaderboard_does_not(story: Story) -> None:
    runs = _mlflow_runs(story.settings, RETRAININGS.only)
    assert len(runs) == len(_mlflow_runs(story.settings)) > 0
    assert not {run["tags"]["seq"] for run in _mlflow_runs(story.settings, LEADERBOARD.only)}
    (latest,) = [run for run in runs if run["tags"]["seq"] == max(r["tags"]["seq"] for r in runs)]
    shown = [column.split(".", 1) for column in RETRAININGS.columns]
    assert all(name.strip("`") in latest[kind] for kind, name in shown)


# --------------------------------------------------------------------------- killed, and at once

POINTS = (
    "kill after mrl4rec.training:run 1",
    "kill after flows.retraining.remembered:write_duel 1",
    "kill after mrl4rec.serving.registry.ledger:append 1",
    "kill after mrl4rec.serving.registry.aliases:Aliases.follow 1",
    "kill after flows.retraining.course:bring_into_agreement 1",
)
"""After a challenger was trained; all but the row; the row; between alias and lists; the rest."""


def test_killed_at_several_points_and_run_again(story: Story, tmp_path: Path) -> None:
    settings, dumps = _week_1(story, tmp_path)
    champion = story.rows["first"][-1].champion
    for folder in settings.storage.models_dir(DATASET).iterdir():
        if folder.name != champion:
            shutil.rmtree(folder)
    for point in POINTS:
        process = retrain_alone.start(dumps, settings, at=point)
        _, said = process.communicate(timeout=240)
        assert process.returncode == -signal.SIGKILL, f"{point}: {said[-2000:]}"
    last = _end(retrain_alone.start(dumps, settings))
    assert last["outcome"] == "nothing new"  # the row was there: the last runs did what follows it
    _same_as_undisturbed(story, settings)


@pytest.mark.parametrize("lock", [True, False], ids=["with the lock", "without it"])
def test_two_at_once_are_one(story: Story, tmp_path: Path, lock: bool) -> None:
    settings, dumps = _week_1(story, tmp_path)
    both = [retrain_alone.start(dumps, settings, lock=lock) for _ in range(2)]
    outcomes = sorted(_end(process)["outcome"] for process in both)
    decided = story.outcomes["week 1"].outcome
    assert outcomes in ([decided, decided], sorted([decided, "nothing new"]))
    if lock:
        assert "nothing new" in outcomes
    _same_as_undisturbed(story, settings)


@pytest.mark.fault("F7")
@pytest.mark.parametrize("lock", [True, False], ids=["with the lock", "without it"])
def test_a_schedule_that_fires_into_a_manual_run(story: Story, tmp_path: Path, lock: bool) -> None:
    """A schedule fires into a manual run that is held with its decision made and not yet written

    With the lock the scheduled one waits for it; without, it does all there is to do, and then the
    manual one goes on.
    """
    settings, dumps = _week_1(story, tmp_path)
    manual = retrain_alone.start(
        dumps, settings, at="stop before mrl4rec.serving.registry.ledger:append 1", lock=lock
    )
    nights.until(lambda: psutil.Process(manual.pid).status() == psutil.STATUS_STOPPED, 240)
    with nights.server(tmp_path / "prefect", settings.warehouse, dumps) as server:
        unlocked = {} if lock else {night_falls.NO_LOCK: "1"}
        environment = {**server.environment, **FEW_USERS, **unlocked, "JAVA_HOME": "/nowhere"}
        with nights.process([sys.executable, "-m", "tests.flows.night_falls"], environment):
            nights.until(lambda: server.states()["RUNNING" if lock else "COMPLETED"], 240)
            if lock:
                time.sleep(WAITS)
                assert server.states()["COMPLETED"] == 0
            manual.send_signal(signal.SIGCONT)
            by_hand = _end(manual)["outcome"]
            before = server.states()["COMPLETED"]
            nights.until(lambda: server.states()["COMPLETED"] > before, 240)  # and a night after it
        assert not server.states().keys() & {"FAILED", "CRASHED"}
    decided = story.outcomes["week 1"].outcome
    assert by_hand in ([decided] if lock else [decided, "nothing new"])
    _same_as_undisturbed(story, settings)


def _week_1(story: Story, place: Path) -> tuple[Settings, Path]:
    """A copy of the warehouse before the decision on week 1, and the dumps of then."""
    shutil.copytree(story.before, place / "warehouse")
    dumps = place / "dumps"
    week(dumps, 0)
    week(dumps, 1)
    return story.settings.model_copy(update={"warehouse": place / "warehouse"}), dumps


def _end(process: subprocess.Popen[str]) -> Any:
    out, said = process.communicate(timeout=240)
    assert process.returncode == 0, said[-3000:]
    return json.loads(out.strip().splitlines()[-1])


def _same_as_undisturbed(story: Story, settings: Settings) -> None:
    rows = ledger.entries(settings, DATASET)
    assert [_plain(row) for row in rows] == [_plain(row) for row in story.rows["week 1"]]
    assert bring_into_agreement(settings, DATASET).repaired == []
    runs = [run["tags"]["seq"] for run in _mlflow_runs(settings)]
    assert sorted(runs) == sorted(str(row.seq) for row in rows)
    lists = DeltaTable(settings.storage.table_uri(DATASET, "recommendations")).to_pyarrow_table()
    at = story.tables["week 1"]["recommendations"]
    wanted = DeltaTable(story.settings.storage.table_uri(DATASET, "recommendations"), at)
    order = [(name, "ascending") for name in ("user_id", "width", "rank")]
    assert lists.sort_by(order).equals(wanted.to_pyarrow_table().sort_by(order))
    assert (settings.warehouse / "report.html").exists()


def _plain(row: Entry) -> Entry:
    """The row without what a clock says."""
    evidence: Mapping[str, Any] = row.evidence
    contenders = [{**told, "seconds": 0} for told in evidence.get("contenders", ())]
    then = datetime(2000, 1, 1, tzinfo=UTC)
    return replace(row, at=then, evidence={**evidence, "contenders": contenders})


def _folder(settings: Settings, key: str | None) -> Path:
    return settings.storage.model_dir(DATASET, str(key))


def _mlflow_runs(
    settings: Settings, only: str = "tags.kind = 'retraining'"
) -> list[dict[str, Any]]:
    """Runs that a filter of MLflow's leaves, as tags and metrics: those of retrainings."""
    import mlflow

    client = mlflow.MlflowClient(settings.mlflow_uri())
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments, only)
    return [{"tags": run.data.tags, "metrics": run.data.metrics} for run in runs]
