"""A warm start: which rows are taken from the older model, and what training makes of them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.hashing import xavier
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import Interactions, from_pairs
from mrl4rec.models import Trained, model_folder, resolve
from mrl4rec.models.scorers import CountModel, FactorModel
from mrl4rec.training import TrainRequest, key, run, warm
from mrl4rec.training.fused import FusedLearner
from mrl4rec.training.group import Group
from mrl4rec.training.learner import Learner
from mrl4rec.training.request import plan
from mrl4rec.training.warm import Known, Start
from tests.mrl4rec.models.model_samples import card, rows, saved, sparse
from tests.mrl4rec.training import test_engines as engines
from tests.mrl4rec.training import test_training as toy


def named(data: Interactions, users: list[str], items: list[str]) -> Interactions:
    """The same pairs under other ids."""
    ids = {"user_ids": np.array(users, dtype=object), "item_ids": np.array(items, dtype=object)}
    return dataclasses.replace(data, **ids)


def old_model(folder: Path, **options: Any) -> Path:
    """Users a, b, c (b without a pair) and items p, q, r (r without); vectors 10·row + column."""
    first = np.arange(3)[:, None] * 10 + np.arange(2)[None]
    model = FactorModel(first.astype(np.float32), 100 + first.astype(np.float32), **options)
    ids = (np.array(["a", "b", "c"], dtype=object), np.array(["p", "q", "r"], dtype=object))
    made = card(stage_key="01d" * 21 + "0")
    return model_folder.save(folder, model, made, ids, rows([0], [], [0, 1], n_items=3))


# ------------------------------------------------------------------------------- what is known


def test_a_row_is_known_by_its_id_and_a_pair(tmp_path: Path) -> None:
    data = named(from_pairs([(0, 0)], [], [], 4, 4), ["c", "x", "b", "a"], ["r", "q", "y", "p"])
    start = warm.read(old_model(tmp_path / "old"), data)
    assert start.users.rows_K.tolist() == [0, 3]
    assert start.users.vectors_KD.tolist() == [[20, 21], [0, 1]]
    assert start.items.rows_K.tolist() == [1, 3]
    assert start.items.vectors_KD.tolist() == [[110, 111], [100, 101]]


def test_layer_0_is_taken_where_vectors_are_pooled(tmp_path: Path) -> None:
    layer = np.array([[7, 7], [8, 8], [9, 9]], dtype=np.float32)
    folder = old_model(tmp_path / "old", user_vectors_0=layer, item_vectors_0=-layer)
    data = named(from_pairs([(0, 0)], [], [], 1, 1), ["c"], ["q"])
    start = warm.read(folder, data)
    assert start.users.vectors_KD.tolist() == [[9, 9]]
    assert start.items.vectors_KD.tolist() == [[-8, -8]]


@given(st.permutations(range(6)), st.integers(0, 5))
def test_rows_follow_their_ids_whatever_the_order(order: list[int], strangers: int) -> None:
    ids = np.array([f"u{n}" for n in order] + [f"x{n}" for n in range(strangers)], dtype=object)
    old = np.array([f"u{n}" for n in range(6)], dtype=object)
    pairs = np.array([1, 0, 2, 1, 0, 5])
    vectors = np.arange(6, dtype=np.float32)[:, None]
    known = warm._known(ids, old, pairs, vectors)
    found = {
        str(ids[row]): value for row, (value,) in zip(*dataclasses.astuple(known), strict=True)
    }
    assert found == {"u0": 0.0, "u2": 2.0, "u3": 3.0, "u5": 5.0}
    assert known.rows_K.tolist() == sorted(known.rows_K)


def test_a_damaged_model_is_no_start(tmp_path: Path) -> None:
    folder = old_model(tmp_path / "old")
    toy.flip(folder / model_folder.MODEL)
    with pytest.raises(Mrl4recError, match="digest differs"):
        warm.read(folder, from_pairs([(0, 0)], [], [], 1, 1))


# ------------------------------------------------------------------------------- what fits


def fitting(folder: Path, name: str = "MRL-M", dim: int = 8) -> str:
    method = resolve(name, [f"{name}.dim={dim}"])
    assert isinstance(method, Trained)
    return warm.fitting(folder, method, dim).stage_key


def test_the_same_model_and_dimension_fit_and_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flat = FactorModel(*(rng.normal(size=(n, 8)).astype(np.float32) for n in (4, 5)))
    seen = sparse(rng, 4, 5, 9)
    mf = saved(tmp_path / "mf", flat, seen, method={"name": "BPR", "model": "mf"})
    assert fitting(mf) == "k" * 64
    with pytest.raises(UsageError, match="its dimension is 8, here it is 16"):
        fitting(mf, dim=16)
    with pytest.raises(UsageError, match="its model is mf, here it is lightgcn-1"):
        fitting(mf, "MRL-M@lightgcn-1")
    deep = saved(tmp_path / "deep", flat, seen, method={"name": "X", "model": "lightgcn-2"})
    with pytest.raises(UsageError, match="lightgcn-2, here it is lightgcn-1; its dimension is 8"):
        fitting(deep, "MRL-M@lightgcn-1", 4)
    with pytest.raises(UsageError, match="kind counts and has no vectors"):
        fitting(saved(tmp_path / "pop", CountModel(np.arange(5), 4), seen))
    with pytest.raises(Mrl4recError, match="no model folder"):
        fitting(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("values", "summary", "why"),
    [
        ({"folds": ("train", "valid", "test")}, {}, "on its test fold"),
        ({"trained_until": "2014-05-01T00:00:00Z"}, {"since": "2014-05-01T00:00:00+00:00"},
         "until 2014-05-01T00:00:00Z, and it tests what came from 2014-05-01"),
        ({"trained_until": "2014-04-30T23:59:59.9Z"}, {"since": "2014-05-01T00:00:00+00:00"}, None),
        ({"trained_until": "2014-05-02T00:00:00Z"}, {}, None),
        ({}, {"since": "2014-05-01T00:00:00+00:00"}, None),
    ],
)  # fmt: skip
def test_a_start_that_has_seen_the_test_fold_is_refused(
    values: dict[str, Any], summary: dict[str, Any], why: str | None
) -> None:
    split = dataclasses.replace(toy.SPLIT, summary=summary)
    older = card(versions={"split_key": split.key}, **values)
    if why is None:
        return warm.check_unseen(older, split)
    with pytest.raises(UsageError, match=why):
        warm.check_unseen(older, split)
    if not summary:  # of another split the test fold may be known
        warm.check_unseen(older, dataclasses.replace(split, key="cd" * 32))
    return None


# ------------------------------------------------------------------------------- engines


def start_of(n_items: int) -> Start:
    """Every third user and every second item, at vectors larger than a cold start's."""
    rng = np.random.default_rng(8)
    sides = []
    for n, step in ((200, 3), (n_items, 2)):
        known = np.arange(0, n, step)
        vectors = rng.normal(0, 0.3, (len(known), engines.DIM)).astype(np.float32)
        sides.append(Known(known, vectors))
    return Start(*sides)


@pytest.mark.parametrize("n_items", [engines.FEW, engines.MANY])
@pytest.mark.parametrize("name", ["BPR", "MRL-M"])
def test_engines_take_the_same_steps_from_a_warm_start(
    name: str, n_items: int, settings: Settings
) -> None:
    work, start = engines.task(n_items), start_of(n_items)
    asked = engines.made(name, settings, dtype="float64")
    slow, fast = Learner(work, asked, Group(), start), FusedLearner(work, asked, start)
    for side, first in slow.vectors().items():
        known = start.users if side == "user_vectors" else start.items
        assert np.array_equal(first[known.rows_K], known.vectors_KD)
        cold = xavier(len(first), engines.DIM, 3, ("user_vectors", "item_vectors").index(side))
        strangers = np.setdiff1d(np.arange(len(first)), known.rows_K)
        assert np.array_equal(first[strangers], cold[strangers])
        assert np.array_equal(fast.vectors()[side], first)
    assert not [name for name in slow.state() if "adam" in name]  # no moments yet: zero
    assert not any(array.any() for name, array in fast.state().items() if "adam" in name)
    for step, (users, positives) in enumerate(engines.batches(work, 50)):
        expected, loss = slow.loss(users, positives, step), fast.loss(users, positives, step)
        assert loss == pytest.approx(expected.item(), rel=1e-13)
        slow.update(expected)
        fast.update(loss)
    for side, vectors in slow.vectors().items():
        np.testing.assert_allclose(fast.vectors()[side], vectors, rtol=0, atol=1e-11)


def test_layers_are_propagated_from_the_known_rows(settings: Settings) -> None:
    work, start = engines.task(engines.FEW), start_of(engines.FEW)
    asked = engines.made("MRL-M@lightgcn-1", settings)
    model = Learner(work, asked, Group(), start).parts.model
    assert np.array_equal(model.users.detach()[::3].numpy(), start.users.vectors_KD)
    pooled, _ = model.pooled()
    assert not torch.equal(pooled[::3], model.users[::3])


# ------------------------------------------------------------------------------- the stage

YOUNGER = dataclasses.replace(toy.SPLIT, key="ef" * 32)


def vectors(commit: Commit) -> FactorModel:
    model = model_folder.load(Path(commit.summary["folder"])).model
    assert isinstance(model, FactorModel)
    return model


def older(settings: Settings, asked: TrainRequest | None = None, data: Any = toy.small) -> Path:
    """A trained model to start from."""
    commit = run("toy", toy.SPLIT, asked or toy.request(epochs=2), settings, data=data)
    return Path(commit.summary["folder"])


def train(settings: Settings, asked: TrainRequest, progress: Any = None) -> Commit:
    return run("toy", YOUNGER, asked, settings, progress or (lambda _: None), data=toy.small)


def still(name: str, engine: str, **values: Any) -> TrainRequest:
    """Steps too small to move a vector by more than 10⁻⁶."""
    sets = [f"{name}.{text}" for text in ("dim=8", "batch=64", "lr=1e-9", "candidates=4")]
    given = {"levels": (2, 4, 8), "seed": 1, "epochs": 2, "device": "cpu", "engine": engine}
    return TrainRequest(resolve(name, sets), **{**given, **values})


@pytest.mark.parametrize("protocol", ["clean", "paper"])
@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("MRL-M", "fused"),
        ("MRL-M", "autograd"),
        ("MRL-M@lightgcn-1", "fused"),
        ("MRL-M@lightgcn-1", "autograd"),
    ],
)
def test_training_begins_at_the_older_vectors_in_both_phases(
    name: str, engine: str, protocol: str, settings: Settings
) -> None:
    """All ids are known; those without a pair in the older model are not."""
    folder = older(settings, toy.request(name, epochs=2))
    old = model_folder.load(folder)
    assert isinstance(old.model, FactorModel)
    found = vectors(train(settings, still(name, engine, protocol=protocol, warm=folder)))
    known = old.seen.degrees > 0
    for first, last in (
        (old.model.user_vectors, found.user_vectors),
        (old.model.user_vectors_0, found.user_vectors_0),
    ):
        if first is not None:
            assert last is not None
            assert np.abs(first - last)[known].max() < 1e-6
    assert known.sum() > 40
    cold = vectors(train(settings, still(name, engine, protocol=protocol)))
    assert np.abs(cold.user_vectors - found.user_vectors).max() > 0.01


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_where_nothing_is_known_a_warm_start_is_a_cold_one(engine: str, settings: Settings) -> None:
    others = named(toy.small(), [f"other {n}" for n in range(50)], [f"else {n}" for n in range(40)])
    folder = older(settings, data=lambda: others)
    cold = train(settings, toy.request(engine=engine))
    found = train(settings, toy.request(engine=engine, warm=folder))
    assert toy.digest(found) == toy.digest(cold)
    assert found.key != cold.key


def test_key_and_card_name_the_older_model_and_not_its_place(
    settings: Settings, tmp_path: Path
) -> None:
    folder = older(settings)
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "model"))

    def one(where: Path | None, name: str = "MRL-M") -> str:
        return key("toy", YOUNGER, toy.request(name, warm=where), settings)

    assert one(folder) == one(moved) != one(None)
    assert one(older(settings, toy.request(epochs=3))) != one(folder)
    ease = [key("toy", YOUNGER, TrainRequest(resolve("EASE"), warm=w), settings)
            for w in (folder, None)]  # fmt: skip
    assert ease[0] == ease[1]  # it starts nowhere
    asked = toy.request(warm=moved)
    made = model_folder.read_card(Path(train(settings, asked).summary["folder"]))
    assert made.warm == folder.name == plan(asked, settings).warm
    assert model_folder.read_card(folder).warm is None
    assert train(settings, toy.request(warm=folder)).found


@pytest.mark.parametrize("name", ["MRL-M", "MRL-M@lightgcn-1"])
@pytest.mark.parametrize(("phase", "epoch"), [("search", 0), ("search", 7), ("refit", 3)])
def test_a_warm_run_cut_off_ends_with_the_same_vectors(
    name: str, phase: str, epoch: int, tmp_path: Path
) -> None:
    first = still(name, "auto", seed=5)  # no better than a cold start: the best epoch is a late one
    folder = older(Settings(warehouse=tmp_path / "old"), first)
    asked = toy.request(name, protocol="clean", warm=folder)
    undisturbed = train(Settings(warehouse=tmp_path / "calm"), asked)
    rough = Settings(warehouse=tmp_path / "rough", checkpoint_seconds=0)
    with pytest.raises(toy.Cut):
        train(rough, asked, toy.cut_at(epoch, phase))
    epochs: list[tuple[str, int]] = []
    resumed = train(rough, asked, lambda report: epochs.append((report.phase, report.epoch)))
    assert epochs[0] == (phase, epoch)
    assert toy.digest(resumed) == toy.digest(undisturbed)


def test_a_run_resumed_under_another_start_is_another_training(
    settings: Settings, tmp_path: Path
) -> None:
    """Two starts have two keys, so each has checkpoints of its own."""
    rough = settings.model_copy(update={"checkpoint_seconds": 0})
    first, second = older(settings), older(settings, toy.request(epochs=3))
    with pytest.raises(toy.Cut):
        train(rough, toy.request(warm=first), toy.cut_at(5))
    epochs: list[int] = []
    train(rough, toy.request(warm=second), lambda report: epochs.append(report.epoch))
    assert epochs[0] == 0


def timed(last: str) -> Interactions:
    data = toy.small()
    times = np.full(len(data.users_P), np.datetime64("2014-01-01T00:00:00", "us"))
    times[data.fold_P == 0] = np.datetime64(last, "us")
    return dataclasses.replace(data, reviewed_at_P=times)


def test_vectors_have_seen_what_their_start_has_seen(settings: Settings) -> None:
    """Known later pairs stay known: such a model must not be judged on them."""
    folder = older(settings, data=lambda: timed("2014-07-23T11:12:13.5"))
    assert model_folder.read_card(folder).trained_until == "2014-07-23T11:12:13.500000Z"
    asked = toy.request(warm=folder, epochs=1)
    found = []
    for number, last in enumerate(("2014-03-01", "2014-08-01")):
        split, data = dataclasses.replace(YOUNGER, key=f"{number}" * 64), timed(last)
        commit = run("toy", split, asked, settings, data=lambda data=data: data)  # type: ignore[misc]
        found.append(model_folder.read_card(Path(commit.summary["folder"])).trained_until)
    assert found == ["2014-07-23T11:12:13.500000Z", "2014-08-01T00:00:00Z"]
    late = dataclasses.replace(YOUNGER, summary={"since": "2014-07-01T00:00:00+00:00"})
    with pytest.raises(UsageError, match="tests what came from 2014-07-01"):
        run("toy", late, asked, settings, data=lambda: pytest.fail("data was read"))
    train(settings, toy.request(warm=folder, refit_epochs=1))  # judged on nothing


@pytest.mark.slow
def test_two_ranks_start_and_refit_as_one_does(tmp_path: Path) -> None:
    """In float64, so that rounding cannot be taken for another draw."""
    folder = older(Settings(warehouse=tmp_path / "old"))
    settings = Settings(warehouse=tmp_path / "new")

    def one(**values: Any) -> FactorModel:
        asked = toy.request(refit_epochs=6, dtype="float64", **values)
        return vectors(train(settings, asked))

    alone, together, cold = one(warm=folder), one(warm=folder, devices=2), one()
    for name in ("user_vectors", "item_vectors"):
        assert np.abs(getattr(alone, name) - getattr(together, name)).max() < 1e-6
        assert np.abs(getattr(alone, name) - getattr(cold, name)).max() > 0.01
