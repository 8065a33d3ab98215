"""A refit on everything: every fold is trained on, for a number of epochs that is given."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import Interactions
from mrl4rec.evaluation import evaluate as evaluation
from mrl4rec.models import model_folder, resolve
from mrl4rec.models.scorers import CountModel, ItemItemModel
from mrl4rec.training import TrainRequest, key, run
from mrl4rec.training.progress import EpochReport
from tests.mrl4rec.training import test_training as toy

EVERY = ("train", "valid", "test")
NAMES = [
    ("MRL-M", "fused"),
    ("MRL-M", "autograd"),
    ("MRL-M@lightgcn-1", "fused"),
    ("MRL-M@lightgcn-1", "autograd"),
]


def merged() -> Interactions:
    """The same pairs with those of test in train."""
    data = toy.small()
    return dataclasses.replace(data, fold_P=np.where(data.fold_P == 2, 0, data.fold_P))


def loaded(commit: Commit) -> model_folder.Loaded:
    return model_folder.load(Path(commit.summary["folder"]))


@pytest.mark.parametrize(("name", "engine"), NAMES)
def test_it_is_training_on_all_folds_for_so_many_epochs(
    name: str, engine: str, settings: Settings
) -> None:
    """``clean`` on the merged folds, told that epoch 5 is the best, refits on all of them."""
    asked = toy.request(name, engine=engine, protocol="clean", epochs=6)
    expected = toy.loop(settings, [0.1, 0.5], asked).train(merged()).vectors
    model = loaded(toy.train(settings, toy.request(name, engine=engine, refit_epochs=6))).model
    for side, array in expected.items():
        assert np.array_equal(getattr(model, side), array)


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_nothing_is_looked_at_and_the_card_says_what_was_done(
    protocol: str, settings: Settings
) -> None:
    reports: list[EpochReport] = []
    commit = toy.train(settings, toy.request(protocol=protocol, refit_epochs=4), reports.append)
    assert [(r.phase, r.epoch) for r in reports] == [("refit", n) for n in range(4)]
    assert {r.last_epoch for r in reports} == {3}
    assert {r.metric for r in reports} == {r.best for r in reports} == {None}
    assert reports[-1].seconds_left == 0
    card, seen = loaded(commit).card, loaded(commit).seen
    assert (card.epoch, card.protocol, card.folds, card.warm) == (3, protocol, EVERY, None)
    assert [sorted(row) for row in card.history] == [["epoch", "loss", "phase"]] * 4
    assert commit.summary["best"] is None
    assert np.array_equal(seen.indices, toy.small().csr(*EVERY).indices)
    plain = loaded(toy.train(settings, toy.request(protocol=protocol, epochs=4)))
    assert plain.card.folds == ("train", "valid")
    assert np.array_equal(plain.seen.indices, toy.small().csr("train", "valid").indices)


def test_closed_forms_are_fitted_on_every_fold(settings: Settings) -> None:
    data = toy.small()
    users, items = data.pairs(*EVERY)
    pop = loaded(toy.train(settings, TrainRequest(resolve("Pop"), refit_epochs=9)))
    assert isinstance(pop.model, CountModel)
    assert np.array_equal(pop.model.counts, np.bincount(items, minlength=40))
    assert (pop.card.folds, pop.card.epoch) == (EVERY, None)
    assert len(pop.seen.indices) == len(users)
    ease = loaded(toy.train(settings, TrainRequest(resolve("EASE"), refit_epochs=1)))
    assert isinstance(ease.model, ItemItemModel)
    assert np.array_equal(ease.model.history.indices, data.csr(*EVERY).indices)


def test_keys_tell_a_refit_apart_by_what_it_is_a_function_of(settings: Settings) -> None:
    def one(asked: TrainRequest) -> str:
        return key("toy", toy.SPLIT, asked, settings)

    plain, refit = one(toy.request()), one(toy.request(refit_epochs=12))
    assert len({plain, refit, one(toy.request(refit_epochs=13))}) == 3
    assert one(toy.request(refit_epochs=12, epochs=99)) == refit  # the cap is not looked at
    pop = [TrainRequest(resolve("Pop"), refit_epochs=n) for n in (None, 1, 7)]
    assert one(pop[0]) != one(pop[1]) == one(pop[2])


@pytest.mark.parametrize("epochs", [0, -3])
@pytest.mark.parametrize("name", ["MRL-M", "Pop"])
def test_no_epoch_is_no_refit(name: str, epochs: int, settings: Settings) -> None:
    asked = TrainRequest(resolve(name), seed=1, refit_epochs=epochs)
    with pytest.raises(UsageError, match=f"refit of {epochs} epochs"):
        toy.train(settings, asked)


@pytest.mark.parametrize(("name", "engine"), NAMES)
@pytest.mark.parametrize("warm", [False, True])
def test_a_refit_cut_off_ends_with_the_same_vectors(
    name: str, engine: str, warm: bool, tmp_path: Path
) -> None:
    calm = Settings(warehouse=tmp_path / "calm")
    rough = Settings(warehouse=tmp_path / "rough", checkpoint_seconds=0)
    values: dict[str, Any] = {"engine": engine, "refit_epochs": 9}
    if warm:
        first = toy.train(calm, toy.request(name, engine=engine, epochs=2))
        values["warm"] = Path(first.summary["folder"])
    undisturbed = toy.train(calm, toy.request(name, **values))
    with pytest.raises(toy.Cut):
        toy.train(rough, toy.request(name, **values), toy.cut_at(6, "refit"))
    epochs: list[int] = []
    resumed = toy.train(rough, toy.request(name, **values), lambda r: epochs.append(r.epoch))
    assert epochs == [6, 7, 8]
    assert toy.digest(resumed) == toy.digest(undisturbed)
    first_card, second_card = loaded(undisturbed).card, loaded(resumed).card
    assert first_card == second_card
    assert (first_card.warm is not None) == warm


def test_it_may_start_from_any_model_of_its_split(settings: Settings) -> None:
    """Nothing is judged on what it has seen, so a start that has seen all is as good."""
    first = toy.train(settings, toy.request(refit_epochs=2))
    folder = Path(first.summary["folder"])
    second = toy.train(settings, toy.request(refit_epochs=3, warm=folder))
    assert loaded(second).card.warm == first.key
    with pytest.raises(UsageError, match="on its test fold"):
        toy.train(settings, toy.request(epochs=3, warm=folder))


def test_it_has_seen_its_newest_pair(settings: Settings) -> None:
    data = toy.small()
    days = np.datetime64("2014-01-01") + data.fold_P.astype("timedelta64[D]")
    dated = dataclasses.replace(data, reviewed_at_P=days.astype("datetime64[us]"))
    until = {}
    for asked in (toy.request(refit_epochs=1), toy.request(epochs=1)):
        commit = run("toy", toy.SPLIT, asked, settings, lambda _: None, data=lambda: dated)
        card = loaded(commit).card
        until[card.folds] = card.trained_until
    assert until[EVERY] == "2014-01-03T00:00:00Z"
    assert until["train", "valid"] == "2014-01-02T00:00:00Z"


def test_it_is_not_evaluated_on_the_pairs_it_was_trained_on(settings: Settings) -> None:
    refit = toy.train(settings, toy.request(refit_epochs=2))

    def evaluate(split: Commit, train: Commit) -> Commit:
        return evaluation.run("toy", split, train, settings, ks=(5,), data=toy.small, device="cpu")

    with pytest.raises(UsageError, match="the test fold of this split too"):
        evaluate(toy.SPLIT, refit)
    assert not list(settings.storage.dataset_dir("toy").glob("results*"))
    later = dataclasses.replace(toy.SPLIT, key="ef" * 32)
    assert evaluate(later, refit).summary["users"] > 0
    plain = toy.train(settings, toy.request(epochs=2))
    assert evaluate(toy.SPLIT, plain).summary["users"] > 0
