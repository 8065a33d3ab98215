"""Models by name from the command line: listed, exported, registered, recommended from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mrl4rec as mr
from flows.cli.main import main
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.models import resolve
from mrl4rec.models.scorers import CountModel, ItemItemModel, Scorer
from mrl4rec.serving.registry import ledger
from mrl4rec.serving.registry.aliases import Aliases
from tests.mrl4rec.serving import registry_samples as world

DATASET = world.DATASET


@pytest.fixture
def store(settings: Settings, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A k-core; MRL-M with two seeds, EASE and Pop; an MLflow of its own."""
    settings.warehouse.mkdir(parents=True)
    shutil.copy(empty_store, settings.warehouse / "mlflow.db")
    monkeypatch.setenv("MRL4REC_WAREHOUSE", str(settings.warehouse))
    world.core(settings)
    weights = np.arange(25, dtype=np.float32).reshape(5, 5)
    save(settings, "a", "MRL-M", world.factors(), seed=0)
    save(settings, "b", "MRL-M", world.factors(-1), seed=1)
    save(settings, "c", "EASE", ItemItemModel(weights, world.seen()))
    save(settings, "e", "Pop", CountModel(np.array([4, 2, 5, 3, 1]), 6))
    return settings


def save(settings: Settings, letter: str, name: str, scorer: Scorer, **card: Any) -> None:
    method = resolve(name).as_dict()
    world.model(settings, letter, scorer, method_name=name, method=method, **card)


Told = tuple[int, Any]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Told:
    """The exit code and what ``--json`` prints."""
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def tree(settings: Settings) -> set[str]:
    """Every file of the warehouse but MLflow's."""
    files = (str(path.relative_to(settings.warehouse)) for path in settings.warehouse.rglob("*"))
    return {name for name in files if not name.startswith("ml")}


def test_models_are_listed(store: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["promote", "EASE", "--why", "w"]) == 0
    capsys.readouterr()
    code, told = run(capsys, "models", "--dataset", DATASET)
    assert code == 0
    facts = [(one["name"], one["seed"], one["key"][0], one["version"]) for one in told]
    assert sorted(facts, key=str) == [
        ("EASE", None, "c", "1"), ("MRL-M", 0, "a", None), ("MRL-M", 1, "b", None),
        ("Pop", None, "e", None),
    ]  # fmt: skip
    assert [one["aliases"] for one in told if one["name"] == "EASE"] == [["champion"]]
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert "champion" in text
    assert "a" * 12 in text
    assert run(capsys, "models", "--dataset", "none")[0] == 2


@pytest.mark.parametrize("name", ["EASE", "Pop", "aaa"])
def test_every_kind_is_exported_registered_and_promoted(
    store: Settings, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, told = run(capsys, "register", name, "--dataset", DATASET)
    assert (code, told["version"], told["uri"]) == (0, "1", "models:/mrl4rec-d/1")
    assert ledger.champion(store, DATASET) is None
    assert run(capsys, "register", "models:/mrl4rec-d/1")[1] == told  # once
    code, told = run(capsys, "export", "models:/mrl4rec-d/1")
    assert code == 0
    manifest = json.loads((Path(told["export"]) / "manifest.json").read_text())
    assert manifest["what"] == told["what"]
    code, told = run(capsys, "promote", name, "--why", "w")
    assert (code, told["recommendations_ok"], told["model_version"]) == (0, True, "1")
    code, told = run(capsys, "recommend", "--user", "d", "--n", "5")
    had = {f"i{item}" for user, item in world.PAIRS if user == 0}
    assert not had & {row["item_id"] for row in told["rows"]}
    assert Aliases(store, DATASET).version(told["model"]) == "1"


def test_one_users_list_from_any_model(store: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = run(capsys, "recommend", "--user", "a", "--model", "aaa", "--n", "3")
    assert (code, told["source"], told["model"]) == (0, "model", "a" * 64)
    assert [(row["item_id"], row["score"]) for row in told["rows"]] == world.FULL["a"]
    code, told = run(capsys, "recommend", "--user", "a", "--model", "Pop", "--n", "1")
    assert [row["item_id"] for row in told["rows"]] == ["i0"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["export", "MRL-M"], "bbbbbbbbbbbb  MRL-M  seed 1"),
        (["register", "MRL-M"], "seed 0"),
        (["promote", "MRL-M", "--why", "w"], "seed 0"),
        (["recommend", "--user", "a", "--model", "MRL-M"], "seed 0"),
        (["export", "EASY"], "EASE"),
        (["export", "champion"], "champion"),
        (["hierarchy", "EASY", "--dataset", "d"], "EASE"),
        (["hierarchy", "MRL-M", "--dataset", "none"], "none"),
        (["export", "EASE", "--width", "4"], "--width"),
        (["export", "EASE", "--rotate"], "--rotate"),
        (["export", "EASE", "--format", "faiss"], "--format"),
        (["export", "aaa", "--neighbours", "4"], "--neighbours"),
        (["export", "aaa", "--width", "3"], "width 3"),
        (["rollback", "--why", "w", "--to", "aaa"], "aaa"),
    ],
)
def test_refusals_name_what_is_wrong_and_write_nothing(
    store: Settings, capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    before = tree(store)
    code, told = run(capsys, *words)
    assert code == 2
    assert named in told["error"]
    assert tree(store) == before


def test_the_same_names_from_python(store: Settings) -> None:
    place = mr.Warehouse(store.warehouse)
    frame = place.models(DATASET)
    assert sorted(frame["name"]) == ["EASE", "MRL-M", "MRL-M", "Pop"]
    assert sorted(frame["seed"].dropna()) == [0, 1]
    model = place.load("EASE", DATASET)
    assert model.card.stage_key == "c" * 64
    assert mr.load("EASE", dataset=DATASET).card == model.card
    assert mr.load(frame.loc[frame["name"] == "EASE", "folder"].item()).card == model.card
    with pytest.raises(UsageError, match="seed 1"):
        place.load("MRL-M")
    with pytest.raises(UsageError, match="EASE"):
        mr.load("EASY")
