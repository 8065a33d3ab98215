"""Pairs that an older model knows by heart do not choose the epoch of its successors."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import Interactions, from_pairs
from mrl4rec.evaluation import valid
from mrl4rec.models import model_folder, resolve
from mrl4rec.tables.splits import FOLDS
from mrl4rec.training import TrainRequest, key, run
from mrl4rec.training.unseen import known_pairs, unseen
from tests.mrl4rec.training import test_training as toy

NOW = Commit("split", "cd" * 32, "splits", 4, {"users": 1, "items": 2})


def old() -> np.ndarray:
    """(P,) the pairs that were there when the older model was made: two in three."""
    return np.random.default_rng(3).random(len(toy.small().users_P)) < 2 / 3


def before() -> Interactions:
    """The data of that time."""
    data = toy.small()
    keep = {name: getattr(data, name)[old()] for name in ("users_P", "items_P", "fold_P")}
    return dataclasses.replace(data, **keep)


def champion(settings: Settings, epochs: int = 60) -> Path:
    """A model refitted on everything there was then."""
    asked = toy.request(refit_epochs=epochs)
    commit = run("toy", toy.SPLIT, asked, settings, lambda _: None, data=before)
    return Path(commit.summary["folder"])


def best(commit: Commit) -> float:
    card = model_folder.read_card(Path(commit.summary["folder"]))
    value = valid.of_history(card.history)
    assert value is not None
    return value


def train(settings: Settings, **values: object) -> Commit:
    asked = toy.request(protocol="clean", **values)
    return run("toy", NOW, asked, settings, lambda _: None, data=toy.small)


def test_known_pairs_are_those_it_was_fitted_on(settings: Settings) -> None:
    data, older = toy.small(), model_folder.load(champion(settings, 1))
    assert np.array_equal(known_pairs(data, older), old())
    # By external id, whatever the rows: here the users come in another order.
    order = np.argsort(np.arange(50)[::-1])
    users = order[data.users_P].astype(np.int32)
    turned = dataclasses.replace(data, users_P=users, user_ids=data.user_ids[::-1])
    assert np.array_equal(known_pairs(turned, older), old())
    strangers = dataclasses.replace(data, user_ids=np.array([f"x{n}" for n in range(50)], object))
    assert not known_pairs(strangers, older).any()


def test_known_valid_pairs_are_trained_on_and_nothing_else_moves(settings: Settings) -> None:
    data, folder = toy.small(), champion(settings, 1)
    moved = unseen(data, folder)
    was_valid = data.fold_P == FOLDS.index("valid")
    changed = moved.fold_P != data.fold_P
    assert np.array_equal(changed, was_valid & old())
    assert (moved.fold_P[changed] == FOLDS.index("train")).all()
    assert valid.users(moved) == len(np.unique(data.users_P[was_valid & ~old()]))
    # What the finished model is fitted on, and may not recommend again, stays the same.
    assert (
        moved.csr("train", "valid").indices.tolist() == data.csr("train", "valid").indices.tolist()
    )
    assert moved.pairs("test")[1].tolist() == data.pairs("test")[1].tolist()


def test_a_warm_start_no_longer_looks_best_by_heart(settings: Settings) -> None:
    """On all of valid the warm start wins by what it remembers; on pairs new to both it does not.

    Steps that move nothing: what is measured is what the vectors knew before the first of them.
    """
    folder = champion(settings)
    data = toy.small()
    idle = [f"MRL-M.{text}" for text in ("dim=8", "batch=64", "lr=1e-9", "candidates=4")]
    asked = TrainRequest(resolve("MRL-M", idle), (2, 4, 8), 1, epochs=1, device="cpu", warm=folder)
    leaky = best(run("toy", NOW, asked, settings, lambda _: None, data=lambda: data))
    fair = dataclasses.replace(asked, unseen_by=folder)
    clean = best(run("toy", NOW, fair, settings, lambda _: None, data=lambda: data))
    assert leaky > 1.5 * clean


def test_it_is_another_training_and_a_refit_looks_at_nothing(settings: Settings) -> None:
    folder = champion(settings, 1)
    plain, aside = train(settings), train(settings, unseen_by=folder)
    assert plain.key != aside.key
    cards = [model_folder.read_card(Path(c.summary["folder"])) for c in (plain, aside)]
    assert cards[0].trained_until == cards[1].trained_until
    loaded = [model_folder.load(Path(c.summary["folder"])) for c in (plain, aside)]
    assert np.array_equal(loaded[0].seen.indices, loaded[1].seen.indices)
    refits = [toy.request(refit_epochs=2, unseen_by=f) for f in (None, folder)]
    assert len({key("toy", NOW, asked, settings) for asked in refits}) == 1
    closed = [TrainRequest(resolve("EASE"), unseen_by=f) for f in (None, folder)]
    assert len({key("toy", NOW, asked, settings) for asked in closed}) == 1


def test_keys_of_other_trainings_stay_as_they_were(settings: Settings) -> None:
    from mrl4rec.training.request import plan

    assert "unseen_by" not in plan(toy.request(), settings).as_dict()


def test_valid_of_a_closed_form_by_hand() -> None:
    """Item j has 12 − j pairs in train: user 12 wants the first, user 13 the twelfth."""
    train_ = [(user, item) for item in range(12) for user in range(12 - item)]
    data = from_pairs(train_, [(12, 0), (13, 11)], [], 14, 12)
    assert valid.of_closed_form(resolve("Pop"), data) == 0.5
    assert valid.of_history([{"epoch": 0}, {valid.NAME: 0.2}, {valid.NAME: 0.1}]) == 0.2
    assert valid.of_history([]) is None
    assert valid.mean({0: 0.25, 1: 0.75}) == 0.5
    assert valid.mean({0: 0.25, 1: None}) is None
