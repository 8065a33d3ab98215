"""What every method must do: learn, save, load, score and cut alike."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from mrl4rec.core.choices import PROTOCOLS
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import Interactions, from_pairs
from mrl4rec.evaluation.sequences import bound
from mrl4rec.models import METHODS, Method, Trained, model_folder, resolve
from mrl4rec.models.scorers import FactorModel
from mrl4rec.models.sequential.base import Sequential
from mrl4rec.tables.splits import FITTED
from mrl4rec.training import TrainRequest, run
from tests.mrl4rec.models.sequential import sequence_samples


def code_path(method: Method) -> object:
    """What takes another way through the code: a method of its own; of one that reads sequences
    its family, words (negatives, readouts, losses …), and whether it has several vectors a user.
    """
    if not isinstance(method, Sequential):
        return method.name
    words = {name: v for name, v in method.as_dict().items() if isinstance(v, str)}
    words.pop("name")
    return type(method), method.interests > 1, *sorted(words.items())


DIFFERENT = {code_path(method): name for name, method in reversed(METHODS.items())}
"""The first method of each code path: others differ from it in numbers alone."""
NAMES = [
    *reversed(DIFFERENT.values()),
    "MRL-M@lightgcn-1",
    "BPR-M@lightgcn-2",
    "SASRec@mrl",
    "ComiRec-SA@mrl",
    "MTMI@mrl",
]
SPLIT = Commit("split", "ef" * 32, "splits", 0)
N_USERS, N_ITEMS, GROUPS, K = 120, 60, 3, 5


OF_ITS_OWN = {
    "MVAE": ("batch=20", "anneal=0", "hidden=32", "concepts=3"),
    "DCCF": ("intents=8",),
    "SASRec-gbce": ("dropout=0", "epoch_size=16", "batch=8", "patience=31"),  # it is slow to start
}
"""Sizes for the toy of what other methods have not."""


def _of_its_own(name: str) -> tuple[str, ...]:
    return OF_ITS_OWN.get(name) or OF_ITS_OWN.get(name.split("-")[0], ())


@cache
def checkerboard() -> Interactions:
    """Users like the items of their own group, the front ones more: tastes and popularity."""
    rng = np.random.default_rng(11)
    own = (np.arange(N_USERS)[:, None] % GROUPS) == (np.arange(N_ITEMS)[None] % GROUPS)
    likes = own * np.linspace(0.9, 0.3, N_ITEMS)
    users, items = (rng.random((N_USERS, N_ITEMS)) < likes).nonzero()
    fold = rng.choice(3, len(users), p=[0.6, 0.15, 0.25])
    folds = [list(zip(users[fold == f], items[fold == f], strict=True)) for f in range(3)]
    made = from_pairs(*folds, N_USERS, N_ITEMS)
    days = rng.integers(0, 365, len(made.users_P)).astype("timedelta64[D]")
    return replace(made, reviewed_at_P=(np.datetime64("2014-01-01") + days).astype("M8[us]"))


def data_of(method: Method) -> Interactions:
    """The toy that it is trained on."""
    return sequence_samples.split() if method.consumes == "sequences" else checkerboard()


def small(name: str) -> Method:
    """The method at a size for the toy."""
    method = resolve(name)
    if not isinstance(method, Trained):
        sets = ["EASE.lam=5", "SLIM.l2=5", "EASE-SVD.lam=5"]
        sets += [f"{n}.dim=8" for n in ("iALS", "iALS-wide", "EASE-SVD")]
        return resolve(name, sets)
    sets = [f"{name}.dim=8", f"{name}.batch=256", f"{name}.lr=0.02"]
    if isinstance(method, Sequential):
        sets += [f"{name}.batch=64", f"{name}.epoch_size=8", f"{name}.length=10"]
        if method.negatives.word.startswith("shared"):  # fewer than there are items
            sets += [f"{name}.candidates=32"]
    sets += [f"{name}.{text}" for text in _of_its_own(name)]
    if name == "DCCF-own":
        sets += [f"{name}.steps=3", f"{name}.l2=0.01"]
    return resolve(name, sets)


def train(name: str, settings: Settings, protocol: str = "clean", epochs: int = 31) -> Commit:
    method = small(name)
    asked = TrainRequest(method, (2, 4, 8), 3, protocol, epochs, "cpu")
    return run("toy", SPLIT, asked, settings, lambda report: None, data=lambda: data_of(method))


def hits(scores: np.ndarray, data: Interactions) -> float:
    """Recall@K of unseen items, counted the slow way; of sequences, which go in circles, of all."""
    seen, truth = data.csr(*FITTED), data.csr("test")
    if data.sequences is not None:
        seen, truth = data.csr(), data.sequences.targets("test")
    values = []
    for user in range(data.n_users):
        wanted = set(truth.row(user).tolist())
        row = scores[user].astype(np.float64)
        row[seen.row(user)] = -np.inf
        if wanted:
            values.append(len(wanted & set(np.argsort(-row)[:K].tolist())) / len(wanted))
    return float(np.mean(values))


@pytest.mark.parametrize("name", NAMES)
def test_every_method_learns_saves_and_cuts(name: str, settings: Settings) -> None:
    method = small(name)
    data = data_of(method)
    commit = train(name, settings)
    model, card, ids, seen, *_ = model_folder.load(Path(commit.summary["folder"]))
    everybody = np.arange(data.n_users)
    scores = bound(model, data, "test").scores(everybody)
    assert scores.shape == (data.n_users, data.n_items)
    assert scores.dtype == np.float32

    masked = seen.degrees if data.sequences is None else 0
    chance = float(np.mean(K / (data.n_items - masked)))
    factor = 1.25 if method.model == "pop" else 2.5  # pop: one list for everybody
    assert hits(scores, data) > factor * chance

    assert (card.stage_key, card.method_name) == (commit.key, method.name)
    assert card.method == method.as_dict()
    assert (card.levels is not None) == method.has_levels
    assert (card.seed is None) == method.deterministic
    assert (card.epoch is None) == method.closed_form
    assert model.widths == method.widths(card.levels)
    assert list(ids.user_ids[:2]) == ["u0", "u1"]
    assert np.array_equal(seen.indices, data.csr(*FITTED).indices)

    model = bound(model, data, "test")
    assert np.array_equal(model.scores(everybody[5:9]), scores[5:9]) or np.allclose(
        model.scores(everybody[5:9]), scores[5:9], atol=1e-5
    )
    if isinstance(model, FactorModel):
        for width in model.widths:
            cut = model.user_vectors[:, :width] @ model.item_vectors[:, :width].T
            assert np.allclose(model.scores(everybody, width), cut, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_gives_the_same_bits_again(name: str, tmp_path: Path) -> None:
    digests = {
        model_folder.digest(
            Path(train(name, Settings(warehouse=tmp_path / again), epochs=3).summary["folder"])
        )
        for again in ("one", "two")
    }
    assert len(digests) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_mrl_m_with_one_level_is_bpr_d(protocol: str, settings: Settings) -> None:
    commits = []
    for name in ("MRL-M", "BPR-D", "MRL-D"):
        asked = TrainRequest(small(name), (8,), 3, protocol, 4, "cpu")
        commits.append(run("toy", SPLIT, asked, settings, lambda report: None, data=checkerboard))
    digests = {model_folder.digest(Path(commit.summary["folder"])) for commit in commits}
    assert len({commit.key for commit in commits}) == 3
    assert len(digests) == 1
