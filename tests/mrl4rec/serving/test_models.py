"""The models of a warehouse: what is listed of them, and which one a name means."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.models import resolve
from mrl4rec.serving import models
from mrl4rec.serving.models import listing
from mrl4rec.serving.registry import change
from mrl4rec.serving.registry.aliases import Aliases
from tests.flows import warehouse
from tests.mrl4rec.serving import registry_samples as world

DATASET = world.DATASET


@pytest.fixture
def store(settings: Settings, empty_store: Path) -> Settings:
    """A warehouse with a k-core and an MLflow of its own."""
    settings.warehouse.mkdir(parents=True)
    shutil.copy(empty_store, settings.warehouse / "mlflow.db")
    world.core(settings)
    return settings


def trained(settings: Settings, letter: str, name: str, **card: Any) -> str:
    """A model of a method and its settings; its stage key."""
    method = resolve(name).changed(**card.pop("changed", {}))
    return world.model(settings, letter, method_name=method.name, method=method.as_dict(), **card)


def found(settings: Settings, text: str, dataset: str | None = None) -> str:
    return models.find(settings, text, dataset).key[0]


def test_splits_of_pairs_and_of_sequences_have_names_of_their_own() -> None:
    summary = {"strategy": "last_out", "split_seed": 3}
    words = [listing.split_words(told) for told in (summary, {**summary, "of": "sequences"})]
    assert words == ["last_out, seed 3", "last_out of sequences, seed 3"]


def test_a_model_is_listed_with_what_sets_it_apart(settings: Settings) -> None:
    split = warehouse.build(settings).split
    made = {"versions": {"split_key": split.key}, "seed": 1, "levels": (4, 8), "epochs_asked": 9}
    history = [{"epoch": n, "valid_recall@10": value} for n, value in enumerate((0.1, 0.3, 0.2))]
    key = trained(settings, "a", "MRL-M", history=history, epoch=1, protocol="paper", **made)
    trained(settings, "b", "EASE", changed={"lam": 5.0}, warm="c" * 64)
    os.utime(world.folder(settings, key) / "model.json", (1_000_000_000, 1_000_000_000))
    places = [("e1", "MRL-M", 8, 0.5), ("e1", "MRL-M", 4, 0.4), ("e2", "MRL-M rotated", 8, 0.9)]
    for evaluation in ("e1", "e2"):
        of_it = [place for place in places if place[0] == evaluation]
        rows = {
            "stage_key": [p[0] for p in of_it], "method": [p[1] for p in of_it],
            "width": [p[2] for p in of_it], "value": [p[3] for p in of_it],
        }  # fmt: skip
        n = len(of_it)
        same = {"metric": "recall", "k": 20, "dataset": DATASET, "levels": "4,8", "seed": 1,
                "protocol": "paper", "epoch": 1, "run_id": None}  # fmt: skip
        told = Commit("evaluate", evaluation, "results", -1, {}, {"model": key})
        warehouse.marker(settings, told, {**rows, **{k: [v] * n for k, v in same.items()}})

    first, second = models.listed(settings, DATASET)
    assert (first.key, first.name, first.levels, first.seed) == (key, "MRL-M", "4,8", 1)
    assert (first.protocol, first.split, first.split_key) == ("paper", "random", split.key)
    assert (first.settings, first.epochs_asked, first.epoch) == ("", 9, 1)
    assert (first.valid_recall_10, first.test_recall_20) == (0.3, 0.5)
    assert first.trained_at == "2001-09-09T01:46:40+00:00"
    assert (first.version, first.aliases) == (None, ())
    assert (second.settings, second.split) == ("lam=5.0, warm start from cccccccc", "unknown")
    assert second.test_recall_20 is None
    (world.folder(settings, key) / "model.json").write_text("{")
    assert [one.key for one in models.listed(settings, DATASET)] == [second.key]


def test_names_of_methods(settings: Settings) -> None:
    names = {"a": "MRL-M", "b": "MRL-M@lightgcn-1", "c": "MRL-M#256", "d": "EASE"}
    for letter, name in names.items():
        trained(settings, letter, name, levels=(4, 8) if letter == "a" else None)
    for letter, name in names.items():
        assert found(settings, name) == letter
        assert found(settings, f" {name.lower()} ", DATASET) == letter
    assert found(settings, "MRL-M@mf") == "a"
    assert found(settings, "MRL-M · 4,8") == "a"
    for unknown in ("MRL-M · 4,16", "MRL-M#128", "Pop", "EASY"):
        with pytest.raises(UsageError, match="no model"):
            found(settings, unknown)
    with pytest.raises(UsageError, match="EASE"):
        found(settings, "EASY")


def test_keys_folders_and_data_sets(settings: Settings, tmp_path: Path) -> None:
    world.core(settings)
    key = trained(settings, "a", "EASE")
    trained(settings, "b", "Pop")
    assert models.find(settings, "aaa") == (DATASET, key, world.folder(settings, key))
    assert found(settings, key, DATASET) == "a"
    outside = shutil.copytree(world.folder(settings, key), tmp_path / "outside")
    assert models.find(settings, str(outside)) == (DATASET, key, outside)
    for text in ("zz", "../d", "", "*", "f" * 32):
        with pytest.raises(UsageError, match=r"(?s)no model.*EASE, Pop"):
            found(settings, text)
    assert not (settings.warehouse / "mlflow.db").exists()
    with pytest.raises(UsageError, match="elsewhere"):
        found(settings, "aaa", "elsewhere")
    with pytest.raises(Mrl4recError, match=r"model\.json"):
        found(settings, str(tmp_path))
    elsewhere = settings.warehouse / "e" / "models"
    shutil.copytree(world.folder(settings, key), elsewhere / key)
    for text in ("aaa", "EASE"):
        with pytest.raises(UsageError, match=r"(?s)2 models.*dataset d.*dataset e"):
            found(settings, text)
        assert models.find(settings, text, "e") == ("e", key, elsewhere / key)


def test_candidates_are_listed_with_what_differs(settings: Settings) -> None:
    for letter, seed in (("a", 0), ("b", 1)):
        trained(settings, letter, "MRL-M", levels=(4, 8), seed=seed)
    trained(settings, "c", "EASE")
    trained(settings, "d", "EASE", changed={"lam": 5.0})
    with pytest.raises(UsageError, match="2 models") as refused:
        found(settings, "MRL-M")
    lines = str(refused.value).splitlines()[-2:]
    assert [line.split() for line in lines] == [
        ["a" * 12, "MRL-M", "seed", "0"], ["b" * 12, "MRL-M", "seed", "1"],
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"(?s)default settings.*lam=5\.0"):
        found(settings, "EASE")
    assert [one.key[0] for one in models.find_all(settings, "MRL-M", DATASET)] == ["a", "b"]
    with pytest.raises(UsageError, match=r"lam=5\.0"):
        models.find_all(settings, "EASE", DATASET)
    assert models.find(settings, "EASE", among={"d" * 64}).key[0] == "d"


def test_the_model_in_service_and_what_mlflow_has(store: Settings) -> None:
    key = trained(store, "a", "MRL-M")
    trained(store, "b", "EASE")
    for text in ("champion", "challenger"):
        with pytest.raises(UsageError, match=text):
            found(store, text)
    change.promote(store, DATASET, key, "w")
    registry = Aliases(store, DATASET)
    version = registry.tracker.client().get_model_version(registry.name, "1")
    run = registry.tracker.client().get_run(version.run_id)
    logged = run.outputs.model_outputs[0].model_id
    for text in (
        "champion", version.run_id, f"runs:/{version.run_id}/recommender",
        f"models:/{registry.name}/1", f"models:/{registry.name}@champion", f"models:/{logged}",
    ):  # fmt: skip
        assert found(store, text) == "a"
        assert found(store, text, DATASET) == "a"
    for text in ("models:/none/1", f"models:/{registry.name}/9", "runs:/none/x", "models:/m-none"):
        with pytest.raises(UsageError, match="no model"):
            found(store, text)
    listed = models.with_versions(store, DATASET, models.listed(store, DATASET))
    assert {one.key[0]: (one.version, one.aliases) for one in listed} == {
        "a": ("1", ("champion",)), "b": (None, ()),
    }  # fmt: skip


def test_without_mlflow_models_are_listed_and_addresses_are_not_read(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = trained(store, "a", "MRL-M")
    away = store.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    (one,) = models.with_versions(away, DATASET, models.listed(away, DATASET))
    assert (one.key, one.version) == (key, None)
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:9"):
        found(away, "models:/mrl4rec-d/1")
    assert found(away, "MRL-M") == "a"
