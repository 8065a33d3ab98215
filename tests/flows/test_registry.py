"""The registry from the command line; promote and rollback killed after each of their steps."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.models import resolve
from mrl4rec.serving.registry import change, ledger
from mrl4rec.serving.registry.agree import bring_into_agreement
from mrl4rec.serving.registry.aliases import TAG_KEY, Aliases, name_of
from mrl4rec.serving.registry.ledger import Entry
from mrl4rec.tracking.push import client
from tests.flows.dumps import mrl4rec
from tests.flows.parsed import answer, parsed
from tests.mrl4rec.models.sequential.sequence_samples import untrained
from tests.mrl4rec.serving import registry_samples as world

DATASET = world.DATASET
FIRST, SECOND = "a" * 64, "b" * 64
Ask = Callable[..., Any]


@pytest.fixture
def store(settings: Settings, empty_store: Path) -> Settings:
    """A warehouse with a k-core, two models and an MLflow of its own."""
    settings.warehouse.mkdir(parents=True)
    shutil.copy(empty_store, settings.warehouse / "mlflow.db")
    world.core(settings)
    world.model(settings, "a")
    world.model(settings, "b", world.factors(-1))
    return settings


@pytest.fixture
def ask(store: Settings, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Run one command in this process; what ``--json`` prints."""
    monkeypatch.setenv("MRL4REC_WAREHOUSE", str(store.warehouse))

    def run(*arguments: str) -> Any:
        return json.loads(json.dumps(answer(*arguments, "--json"), allow_nan=False))

    return run


def test_a_story_from_the_command_line(ask: Ask) -> None:
    assert ask("registry") == {
        "ok": True, "dataset": DATASET, "champion": None, "method": None, "alias_ok": True,
        "recommendations_ok": True, "model_version": None, "recommendations_version": None,
        "repaired": [], "problems": [],
    }  # fmt: skip
    assert ask("ledger") == []
    told = ask("promote", "aaa", "--why", "the first", "--n", "3", "--widths", "1")
    assert (told["row"], told["champion"], told["model_version"]) == (0, FIRST, "1")
    assert ask("promote", SECOND, "--why", "another")["row"] == 1
    assert ask("rollback", "--why", "it was worse")["champion"] == FIRST
    assert ask("rollback", "--why", "not changed", "--to", "aaa")["row"] is None
    with pytest.raises(UsageError, match="zzz"):
        ask("rollback", "--why", "w", "--to", "zzz")
    told = ask("registry", "--dataset", DATASET)
    assert (told["ok"], told["champion"], told["method"]) == (True, FIRST, "MRL-M")
    rows = ask("ledger")
    assert [(row["seq"], row["decision"], row["champion"], row["why"]) for row in rows] == [
        (0, "by_hand", FIRST, "the first"),
        (1, "by_hand", SECOND, "another"),
        (2, "rolled_back", FIRST, "it was worse"),
    ]
    for width, by_hand in ((None, world.FULL), (1, world.NARROW)):
        asked = ["--width", str(width)] if width else []
        found = ask("recommend", "--user", "a", *asked)
        assert (found["source"], found["by"], found["width"]) == ("table", "model", width)
        assert [(row["item_id"], row["score"]) for row in found["rows"]] == by_hand["a"]
    stranger = ask("recommend", "--user", "nobody", "--n", "1")
    assert (stranger["known"], stranger["by"]) == (False, "popularity")
    assert stranger["rows"] == [{"rank": 1, "item_id": "i2", "score": 5}]
    swept = {row["table"]: row["files"] for row in ask("vacuum", "--keep-days", "0", "--dry-run")}
    assert swept == {"users": 0, "items": 0, "interactions": 0, "recommendations": 1}
    assert {r["table"]: r["files"] for r in ask("vacuum", "--keep-days", "0")} == swept
    assert ask("registry")["ok"]


def test_a_history_from_the_command_line(
    ask: Ask, store: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = [[2, 0], [4, 2], [], [0, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3]]
    method = resolve("ComiRec-SA").changed(dim=8)
    said = {"method": method.as_dict(), "method_name": method.name}
    world.model(store, "c", untrained("ComiRec-SA", lists, 5), **said)
    assert ask("promote", "ccc", "--why", "in order", "--n", "3")["champion"] == "c" * 64
    found = ask("recommend", "--history", "i2, i0", "--n", "3")
    assert (found["user_id"], found["by"], found["left_out"]) == (None, "model", 0)
    assert {row["item_id"] for row in found["rows"]} == {"i1", "i3", "i4"}
    of_user = ask("recommend", "--user", "a", "--n", "3")
    assert (of_user["source"], of_user["by"]) == ("table", "model")
    same = ask("recommend", "--history", '["i2", "i0"]', "--n", "3")
    assert same["rows"] == found["rows"]
    assert ask("recommend", "--history", '["i2, i0"]')["left_out"] == 1
    with pytest.raises(UsageError, match="JSON"):
        ask("recommend", "--history", '["i2", null]')
    answer("recommend", "--history", "x")
    text = " ".join(capsys.readouterr().out.split())
    assert "left out: 1" in text
    assert "popularity" in text
    with pytest.raises(UsageError, match="reads no histories"):
        ask("recommend", "--history", "i2", "--model", "aaa")


def test_tables_for_people(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    evidence = {
        "metric": "ndcg@20",
        "difference": {"champion": 0.041, "challenger": 0.0432, "low": 0.001, "high": 0.0034},
    }
    settings = Settings()
    row = Entry(decision="promoted", why="better", champion=FIRST, evidence=evidence)
    ledger.append(settings, DATASET, row, None)

    def printed(*arguments: str) -> str:
        answer(*arguments)
        return " ".join(capsys.readouterr().out.split())

    text = printed("registry")
    assert "version 1" in text
    assert "aaaaaaaaaaaa" in text
    assert "promoted" in printed("ledger")
    assert "popularity" in printed("recommend", "--user", "h")
    assert "nobody" in printed("recommend", "--user", "nobody")
    assert "removed" in printed("vacuum", "--dry-run")
    assert "aaaaaaaaaaaa" in printed("promote", "a", "--why", "w")
    assert "aaaaaaaaaaaa" in printed("rollback", "--why", "w")


def test_which_data_set_is_meant(ask: Ask, store: Settings) -> None:
    for wrong in ("none", "../d", "/"):
        with pytest.raises(UsageError, match=repr(wrong)):
            ask("registry", "--dataset", wrong)
        with pytest.raises(UsageError, match=repr(wrong)):
            ask("promote", "a", "--why", "w", "--dataset", wrong)
    shutil.copytree(
        store.storage.dataset_dir(DATASET) / "users", store.storage.dataset_dir("other") / "users"
    )
    for command in (["registry"], ["ledger"], ["vacuum"], ["rollback", "--why", "w"]):
        with pytest.raises(UsageError, match=r"--dataset d \| other"):
            ask(*command)
    assert ask("promote", "a", "--why", "w")["dataset"] == DATASET  # the model tells


@pytest.mark.parametrize(
    "wrong",
    [
        ["promote", "a"],
        ["rollback"],
        ["registry", "--widths", "8,0"],
        ["recommend", "--n", "3"],
        ["recommend", "--user", "a", "--width", "-1"],
    ],
)
def test_wrong_usage_ends_with_code_2(wrong: list[str]) -> None:
    with pytest.raises(UsageError):
        parsed(*wrong)


@pytest.mark.slow
def test_exit_codes_of_the_commands(store: Settings) -> None:
    def run(*arguments: str) -> tuple[int, Any]:
        done = mrl4rec(*arguments, warehouse=store.warehouse)
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout)

    code, told = run("rollback", "--why", "w")
    assert (code, "has no ledger" in told["error"]) == (2, True)
    (world.folder(store, FIRST) / "model.safetensors").write_bytes(b"")
    code, told = run("promote", "a", "--why", "w")
    assert (code, "was not made champion" in told["error"]) == (3, True)
    row = Entry(decision="promoted", why="w", champion=FIRST)
    ledger.append(store, DATASET, row, None)
    code, told = run("registry")
    assert (code, told["ok"], told["alias_ok"]) == (1, False, False)
    assert "does not load" in told["problems"][-1]


KILLED_AFTER = """
import os, signal, sys
from importlib import import_module
from flows.cli import main
module, _, name = sys.argv[1].partition(":")
place = import_module(module)
*owners, name = name.split(".")
for owner in owners:
    place = getattr(place, owner)
step = getattr(place, name)
def step_then_die(*a, **k):
    step(*a, **k)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(place, name, step_then_die)
main(sys.argv[2:])
"""
STEPS = {
    "the row is in the ledger": "mrl4rec.serving.registry.ledger:append",
    "the model has its run": "mrl4rec.tracking.tracker:Tracker.log",
    "the model is registered": "mrl4rec.serving.registry.aliases:Aliases.register",
    "the alias is set": "mrl4rec.serving.registry.aliases:Aliases.point",
    "the lists are about to be written": "mrl4rec.serving.registry.lists:Lists.batches",
    "the lists are written": "mrl4rec.serving.registry.recommendations:run",
}


def killed_after(step: str, settings: Settings, *arguments: str) -> None:
    """The real command, in a process that dies by SIGKILL when a step has done its work."""
    command = [sys.executable, "-c", KILLED_AFTER, STEPS[step], *arguments]
    done = subprocess.run(
        [*command, "--warehouse", str(settings.warehouse)],
        capture_output=True, text=True, env={**os.environ}, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


def all_name(settings: Settings, champion: str | None) -> None:
    """Ledger, alias and every row of the table name this champion, and nothing is left to do."""
    assert ledger.champion(settings, DATASET) == champion
    aliases = Aliases(settings, DATASET)
    named = aliases.current().get("champion")
    assert named == (aliases.version(champion) if champion else None)
    rows = world.table(settings).to_pyarrow_table(columns=["model_version"])
    assert set(rows["model_version"].to_pylist()) == ({champion} if champion else set())
    assert bring_into_agreement(settings, DATASET).repaired == []


def registered(settings: Settings) -> list[str]:
    found = client(settings.mlflow_uri()).search_model_versions(f"name = '{name_of(DATASET)}'")
    return sorted(version.tags[TAG_KEY] for version in found)


@pytest.mark.fault("F32")
@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_promote_killed_after_each_step_and_typed_again(store: Settings, step: str) -> None:
    change.promote(store, DATASET, FIRST, "w")
    killed_after(step, store, "promote", SECOND, "--why", "better")
    assert [row.champion for row in ledger.entries(store, DATASET)] == [FIRST, SECOND]
    change.promote(store, DATASET, SECOND, "better")
    all_name(store, SECOND)
    assert len(ledger.entries(store, DATASET)) == 2
    assert registered(store) == [FIRST, SECOND]
    assert world.lists(store)["d"][:2] == [("i1", -5), ("i3", -7)]


@pytest.mark.fault("F32", "F35")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "forgotten"),
    [
        ("the row is in the ledger", False),
        ("the alias is set", False),
        ("the lists are about to be written", True),
        ("the lists are written", False),
    ],
)
def test_rollback_killed_after_each_step_and_typed_again(
    store: Settings, step: str, forgotten: bool
) -> None:
    change.promote(store, DATASET, FIRST, "w")
    if forgotten:  # the lists of before: they have to be computed
        shutil.rmtree(store.storage.dataset_dir(DATASET) / "recommendations")
    change.promote(store, DATASET, SECOND, "w")
    killed_after(step, store, "rollback", "--why", "worse")
    assert ledger.champion(store, DATASET) == FIRST
    again = change.rollback(store, DATASET, "worse")
    assert again.entry is None  # it is done, and not done twice
    all_name(store, FIRST)
    assert len(ledger.entries(store, DATASET)) == 3
    assert registered(store) == [FIRST, SECOND]
    assert world.lists(store)["d"][:2] == [("i3", 7), ("i1", 5)]


@pytest.mark.slow
@pytest.mark.fault("F32")
def test_a_rollback_that_a_retraining_finishes(store: Settings) -> None:
    change.promote(store, DATASET, FIRST, "w")
    killed_after("the row is in the ledger", store, "rollback", "--why", "w")
    assert bring_into_agreement(store, DATASET).repaired == [
        "alias champion → none", "recommendations emptied, version 2",
    ]  # fmt: skip
    all_name(store, None)


@pytest.mark.fault("F35")
@pytest.mark.slow
def test_two_promotions_at_once_end_in_one_champion(store: Settings) -> None:
    command = [sys.executable, "-m", "flows.cli", "promote"]
    more = ["--why", "w", "--json", "--warehouse", str(store.warehouse)]
    processes = [
        subprocess.Popen([*command, key, *more], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for key in (FIRST, SECOND)
    ]
    told = [json.loads(process.communicate(timeout=300)[0]) for process in processes]
    rows = ledger.entries(store, DATASET)  # raises where they are no chain
    won = [row.champion for row in rows]
    assert len(won) == sum(process.returncode == 0 for process in processes) > 0
    for process, reply in zip(processes, told, strict=True):
        assert process.returncode == 0 or "champion" in reply["error"]
    all_name(store, won[-1])
