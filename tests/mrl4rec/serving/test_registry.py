"""The registry against a real SQLite MLflow: aliases and recommendations follow the ledger."""

from __future__ import annotations

import json
import logging
import shutil
import socket
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deltalake import write_deltalake

from mrl4rec.core import tensor_file
from mrl4rec.core.errors import GateFailed, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder import card as cards
from mrl4rec.serving.registry import change, ledger
from mrl4rec.serving.registry.agree import Agreement, bring_into_agreement
from mrl4rec.serving.registry.aliases import TAG_KEY, Aliases
from mrl4rec.serving.registry.ledger import Entry
from mrl4rec.tables import RECOMMENDATIONS
from mrl4rec.tracking import Tracker, model_run
from mrl4rec.tracking.push import client
from tests.mrl4rec.serving import registry_samples as world
from tests.mrl4rec.tracking.test_tracking import server  # noqa: F401  # a fixture

DATASET = world.DATASET
NAME = f"mrl4rec-{DATASET}"


@pytest.fixture
def store(settings: Settings, empty_store: Path) -> Settings:
    """A warehouse with a k-core, lists of three, and an MLflow of its own."""
    settings.warehouse.mkdir(parents=True)
    shutil.copy(empty_store, settings.warehouse / "mlflow.db")
    settings = settings.model_copy(update={"recommend_n": 3})
    world.core(settings)
    return settings


def api(settings: Settings) -> Any:
    return client(settings.mlflow_uri())


def versions(settings: Settings) -> dict[str, str]:
    """Version → stage key, of all that are registered."""
    found = api(settings).search_model_versions(f"name = '{NAME}'")
    return {str(v.version): v.tags[TAG_KEY] for v in found}


def aliases(settings: Settings) -> dict[str, str]:
    """Alias → stage key."""
    keys = versions(settings)
    return {alias: keys[v] for alias, v in Aliases(settings, DATASET).current().items()}


def listed(settings: Settings) -> set[str]:
    """The models whose lists are in the table."""
    rows = world.table(settings).to_pyarrow_table(columns=["model_version"])
    return set(rows["model_version"].to_pylist())


def agrees(settings: Settings, champion: str | None) -> Agreement:
    """What must hold after anything: ledger, alias and table name one champion; nothing to do."""
    assert ledger.champion(settings, DATASET) == champion
    assert aliases(settings).get("champion") == champion
    assert listed(settings) == ({champion} if champion else set())
    found = bring_into_agreement(settings, DATASET)
    assert (found.ok, found.champion, found.repaired, found.problems) == (True, champion, [], [])
    return found


@pytest.mark.fault("F35")
def test_promote_again_and_roll_back(store: Settings) -> None:
    first, second = world.model(store), world.model(store, "b", world.factors(-1))
    done = change.promote(store, DATASET, first, "the first there is")
    assert done.entry == ledger.entries(store, DATASET)[0]
    assert done.agreement.repaired == [
        "alias champion → version 1", "recommendations of aaaaaaaaaaaa, version 1",
    ]  # fmt: skip
    assert agrees(store, first).model_version == "1"
    assert world.lists(store) == world.FULL

    change.promote(store, DATASET, second, "turned around")
    assert agrees(store, second).model_version == "2"
    assert world.lists(store)["d"] == [("i1", -5), ("i3", -7), ("i5", None)]

    back = change.rollback(store, DATASET, "it turned everything around")
    assert back.note == "rolled back from bbbbbbbbbbbb to aaaaaaaaaaaa"
    assert agrees(store, first).model_version == "1"
    assert world.lists(store) == world.FULL
    told = [
        (r.decision, r.champion_before, r.champion, r.why) for r in ledger.entries(store, DATASET)
    ]
    assert told == [
        ("by_hand", None, first, "the first there is"),
        ("by_hand", first, second, "turned around"),
        ("rolled_back", second, first, "it turned everything around"),
    ]
    assert versions(store) == {"1": first, "2": second}


@pytest.mark.slow
def test_a_command_typed_again_does_nothing_more(store: Settings) -> None:
    first, second = world.model(store), world.model(store, "b", world.factors(-1))
    for key in (first, first, second, second):
        change.promote(store, DATASET, key, "w")
    assert len(ledger.entries(store, DATASET)) == 2
    for _ in range(2):
        again = change.rollback(store, DATASET, "w")
    assert again.entry is None
    assert "row 2 rolled back from bbbbbbbbbbbb to aaaaaaaaaaaa already" in again.note
    agrees(store, first)
    for row, key in ((1, second), (1, second), (0, first)):
        change.rollback(store, DATASET, "w", row)
        agrees(store, key)
    assert [r.champion for r in ledger.entries(store, DATASET)] == [
        first, second, first, second, first,
    ]  # fmt: skip


def test_back_to_nothing_and_forth(store: Settings) -> None:
    key = world.model(store)
    change.promote(store, DATASET, key, "w")
    done = change.rollback(store, DATASET, "nobody needs it")
    assert done.agreement.repaired == [
        "alias champion → none", "recommendations emptied, version 2",
    ]  # fmt: skip
    agrees(store, None)
    assert versions(store) == {"1": key}
    change.promote(store, DATASET, key, "they do")
    agrees(store, key)
    assert world.lists(store) == world.FULL


def test_a_rollback_that_cannot_be_is_refused(store: Settings) -> None:
    with pytest.raises(UsageError, match="has no ledger"):
        change.rollback(store, DATASET, "w")
    ledger.append(store, DATASET, Entry(decision="kept", why="w"), None)
    with pytest.raises(UsageError, match="nothing to roll back"):
        change.rollback(store, DATASET, "w")
    key = world.model(store)
    ledger.append(store, DATASET, Entry(decision="promoted", why="w", champion=key), None)
    for why, to, said in ((" ", None, "no reason"), ("w", 7, "no row 7"), ("w", -1, "no row -1")):
        with pytest.raises(UsageError, match=said):
            change.rollback(store, DATASET, why, to)
    assert ledger.champion(store, DATASET) == key
    assert versions(store) == {}


@pytest.mark.fault("F36")
def test_nothing_was_ever_promoted(store: Settings) -> None:
    found = bring_into_agreement(store, DATASET)
    assert found == Agreement(DATASET, None, alias_ok=True, recommendations_ok=True)
    assert not (store.storage.dataset_dir(DATASET) / "promotions").exists()
    ledger.append(store, DATASET, Entry(decision="refused", why="NaN", challenger="x"), None)
    found = bring_into_agreement(store, DATASET)
    assert (found.ok, found.champion, found.repaired) == (True, None, [])
    assert versions(store) == {}


def test_what_was_changed_by_hand_is_repaired(store: Settings) -> None:
    first, second = world.model(store), world.model(store, "b", world.factors(-1))
    change.promote(store, DATASET, second, "w")
    change.promote(store, DATASET, first, "w")
    api(store).set_registered_model_alias(NAME, "champion", "1")
    write_deltalake(world.table(store), RECOMMENDATIONS.schema.empty_table(), mode="overwrite")
    found = bring_into_agreement(store, DATASET)
    assert found.repaired == [
        "alias champion → version 2", "recommendations of aaaaaaaaaaaa, version 4",
    ]  # fmt: skip
    agrees(store, first)
    api(store).delete_registered_model(NAME)
    assert bring_into_agreement(store, DATASET).repaired == ["alias champion → version 1"]
    agrees(store, first)
    assert versions(store) == {"1": first}


@pytest.mark.slow
def test_the_challenger_is_the_last_that_was_kept_out(store: Settings) -> None:
    first, second = world.model(store), world.model(store, "b", world.factors(-1))
    refused = world.model(store, "c")
    change.promote(store, DATASET, first, "w")
    for decision, key in (("kept", second), ("refused", refused), ("kept", "gone" * 16)):
        row = Entry(decision=decision, why="w", challenger=key)  # type: ignore[arg-type]
        ledger.append(store, DATASET, row, first)
        bring_into_agreement(store, DATASET)
        there = None if key.startswith("gone") else second
        assert aliases(store).get("challenger") == there
    assert aliases(store)["champion"] == first
    ledger.append(store, DATASET, Entry(decision="kept", why="w", challenger=second), first)
    bring_into_agreement(store, DATASET)
    assert aliases(store) == {"champion": first, "challenger": second}
    change.promote(store, DATASET, second, "after all")
    assert aliases(store) == {"champion": second}


def test_the_registered_model_is_served_from_its_alias(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.pyfunc
    import pandas as pd

    change.promote(store, DATASET, world.model(store), "w")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.mlflow_uri())
    served = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    frame = served.predict(pd.DataFrame({"user_id": ["a"]}), params={"n": 3})
    assert list(zip(frame["item_id"], frame["score"], strict=True)) == world.FULL["a"]
    version = api(store).get_model_version_by_alias(NAME, "champion")
    run = api(store).get_run(version.run_id)
    assert run.data.params["method"] == "MRL-M"
    assert run.data.tags["version.model"] == "a" * 64


@pytest.mark.parametrize("experiment", [f"mrl4rec-{DATASET}", "mrl4rec"])
def test_a_model_with_a_run_is_registered_from_it(store: Settings, experiment: str) -> None:
    key = world.model(store)
    folder = world.folder(store, key)
    record = model_run(
        DATASET, asdict(model_folder.read_card(folder)), [("recall", 20, None, 0.5)],
        key="evaluated", parent_key="benchmark", model_folder=folder,
    )  # fmt: skip
    record = replace(record, experiment=experiment)  # older versions had one for all data sets
    run_id = Tracker(store).log(record)
    change.promote(store, DATASET, key, "w")
    assert api(store).get_model_version(NAME, "1").run_id == run_id
    experiments = [e.experiment_id for e in api(store).search_experiments()]
    assert len(api(store).search_runs(experiments)) == 2  # it and its parent, no other


def test_a_model_too_large_for_mlflow_is_registered_by_its_place(store: Settings) -> None:
    small = store.model_copy(update={"mlflow_max_model_mb": 0})
    key = world.model(small)
    change.promote(small, DATASET, key, "w")
    agrees(small, key)
    version = api(small).get_model_version(NAME, "1")
    assert version.tags["mrl4rec.model_folder"] == str(world.folder(small, key))
    assert not list((small.warehouse / "mlartifacts").rglob("model.safetensors"))


def blocked(place: Path) -> None:
    """A file where the artifact store wants a folder: what it is asked to write there fails."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("in the way")


@pytest.mark.fault("F31")
@pytest.mark.parametrize("half_way", ["mlartifacts", "mlartifacts/models"])
def test_an_artifact_store_that_fails_registers_nothing_and_later_once(
    store: Settings, half_way: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = world.model(store)
    blocked(store.warehouse / half_way)
    with caplog.at_level(logging.WARNING, logger="mrl4rec"):
        found = change.promote(store, DATASET, key, "w").agreement
    assert (found.alias_ok, found.recommendations_ok) == (False, True)
    assert "could not be registered" in caplog.text
    assert versions(store) == {}
    assert world.lists(store) == world.FULL
    assert not bring_into_agreement(store, DATASET).alias_ok
    (store.warehouse / half_way).unlink()
    for _ in range(2):
        assert bring_into_agreement(store, DATASET).ok
    agrees(store, key)
    assert versions(store) == {"1": key}


@pytest.mark.fault("F30")
def test_mlflow_away_costs_a_warning_and_is_made_good(
    store: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:  # a port where nobody listens
        taken.bind(("127.0.0.1", 0))
        uri = f"http://u:secret-word@127.0.0.1:{taken.getsockname()[1]}"
    away = store.model_copy(update={"tracking_uri": uri})
    key = world.model(store)
    with caplog.at_level(logging.WARNING, logger="mrl4rec"):
        found = change.promote(away, DATASET, key, "w").agreement
    assert (found.alias_ok, found.recommendations_ok) == (False, True)
    assert found.problems == ["MLflow is away"]
    assert "repairs it later" in caplog.text
    assert "secret-word" not in caplog.text
    assert world.lists(store) == world.FULL
    assert bring_into_agreement(store, DATASET).repaired == ["alias champion → version 1"]
    agrees(store, key)


@pytest.mark.fault("F36")
def test_a_champion_whose_folder_is_gone_is_said(store: Settings) -> None:
    first, second = world.model(store), world.model(store, "b", world.factors(-1))
    change.promote(store, DATASET, first, "w")
    change.promote(store, DATASET, second, "w")
    for key in (first, second):
        shutil.rmtree(world.folder(store, key))
    found = bring_into_agreement(store, DATASET)
    assert found.ok  # alias and table are its own still
    world.core(store, pairs=[*world.PAIRS, (3, 1)], key="later")
    found = bring_into_agreement(store, DATASET)
    assert "the model folder of the champion bbbbbbbbbbbb does not load" in found.problems[0]
    assert listed(store) == {second}
    with pytest.raises(GateFailed, match="does not load"):
        change.rollback(store, DATASET, "w")
    assert ledger.champion(store, DATASET) == second
    change.promote(store, DATASET, world.model(store, "c"), "a sound one")
    agrees(store, "c" * 64)


def test_no_core_goes_on_from_the_champion(store: Settings) -> None:
    key = world.model(store)
    change.promote(store, DATASET, key, "w")
    for table in ("interactions", "users", "items"):
        shutil.rmtree(store.storage.dataset_dir(DATASET) / table)
    world.core(store, users=list(reversed(world.USERS)), key="other")
    found = bring_into_agreement(store, DATASET)
    assert not found.ok
    assert "no k-core that passed its gate goes on from" in found.problems[0]
    assert world.lists(store) == world.FULL


def unfit(settings: Settings, what: str) -> str:
    """A model that may not be promoted."""
    key = world.model(settings, "e")
    folder = world.folder(settings, key)
    if what == "cut":
        file = folder / model_folder.MODEL
        file.write_bytes(file.read_bytes()[:-4])
    elif what == "flipped":
        file = folder / model_folder.MODEL
        body = bytearray(file.read_bytes())
        body[-1] ^= 1
        file.write_bytes(body)
    elif what == "no card":
        (folder / "model.json").unlink()
    elif what == "NaN":
        tensors = dict(tensor_file.read(folder / model_folder.MODEL))
        tensors["item_vectors"] = np.full_like(tensors["item_vectors"], np.nan)
        tensor_file.write(folder / model_folder.MODEL, tensors)
        card = model_folder.read_card(folder)
        (folder / "model.json").unlink()
        cards.write_card(folder, card)
    elif what == "another data set":
        card = replace(model_folder.read_card(folder), dataset="other")
        (folder / "model.json").unlink()
        cards.write_card(folder, card)
    return key


@pytest.mark.fault("F34")
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("cut", "bytes"),
        ("flipped", "not what was written"),
        ("no card", r"model\.json is missing"),
        ("NaN", "not finite"),
        ("another data set", "of another model, eeeeeeeeeeee of 'other'"),
    ],
)
def test_what_is_not_fit_to_serve_is_not_promoted(settings: Settings, what: str, said: str) -> None:
    world.core(settings)
    first = world.model(settings)
    ledger.append(settings, DATASET, Entry(decision="promoted", why="w", champion=first), None)
    key = unfit(settings, what)
    with pytest.raises(GateFailed, match=f"eeeeeeeeeeee was not made champion: .*{said}"):
        change.promote(settings, DATASET, key, "w")
    assert [row.champion for row in ledger.entries(settings, DATASET)] == [first]
    assert not (settings.storage.dataset_dir(DATASET) / "recommendations").exists()


@pytest.mark.fault("F34")
def test_a_model_of_other_people_is_not_promoted(settings: Settings) -> None:
    key = world.model(settings)
    with pytest.raises(GateFailed, match="not the first of any k-core"):
        change.promote(settings, DATASET, key, "w")
    world.core(settings, users=list(reversed(world.USERS)))
    with pytest.raises(GateFailed, match="not the first of any k-core"):
        change.promote(settings, DATASET, key, "w")
    assert ledger.entries(settings, DATASET) == []


def test_widths_that_cannot_be_are_refused_before_anything_is_written(store: Settings) -> None:
    key = world.model(store)
    with pytest.raises(UsageError, match="--widths 3,4: MRL-M has 2 dimensions"):
        change.promote(store, DATASET, key, "w", widths=[1, 3, 4])
    assert ledger.entries(store, DATASET) == []
    change.promote(store, DATASET, key, "w", widths=[1])
    assert world.lists(store, 1) == world.NARROW
    agrees(store, key)  # and keeps the widths it was made with


def test_a_damaged_record_of_what_is_registered_does_not_matter(store: Settings) -> None:
    key = world.model(store)
    change.promote(store, DATASET, key, "w")
    for path in (store.warehouse / "spool" / "done").glob("*.json"):
        path.write_text(json.dumps({"run_id": "another"}))
    api(store).delete_model_version(NAME, "1")
    assert bring_into_agreement(store, DATASET).ok
    assert list(versions(store).values()) == [key]


@pytest.mark.slow
def test_a_server_takes_it_as_sqlite_does(server: Any, store: Settings) -> None:  # noqa: F811
    away = server.tracked  # not started yet
    first, second = world.model(store), world.model(store, "b", world.factors(-1))
    assert not change.promote(away, DATASET, first, "w").agreement.alias_ok
    tracked = server()
    assert bring_into_agreement(tracked, DATASET).repaired == ["alias champion → version 1"]
    change.promote(tracked, DATASET, second, "w")
    agrees(tracked, second)
    large = tracked.model_copy(update={"mlflow_max_model_mb": 0})
    change.promote(large, DATASET, world.model(store, "c"), "w")
    agrees(large, "c" * 64)
    change.rollback(tracked, DATASET, "w", 0)
    agrees(tracked, first)
    assert versions(store) == {"1": first, "2": second, "3": "c" * 64}
