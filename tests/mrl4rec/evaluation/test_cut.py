"""Evaluating at other widths and after rotation: keys that stay, rows that are kept apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import Interactions, from_pairs
from mrl4rec.evaluation import evaluate as evaluation
from mrl4rec.evaluation.cut import AS_TRAINED, Cut, can_rotate
from mrl4rec.evaluation.ranking import rotate
from mrl4rec.evaluation.ranking.evaluate import evaluate
from mrl4rec.models import model_folder, resolve
from mrl4rec.models.model_folder import ModelCard
from mrl4rec.models.scorers import FactorModel, InterestModel
from mrl4rec.training import TrainRequest, run
from tests.mrl4rec.models.model_samples import real_interests
from tests.mrl4rec.models.sequential.sequence_samples import looked, split

SPLIT = Commit("split", "ef" * 32, "splits", 0)
KS = (2, 5)


def toy() -> Interactions:
    pairs = [(u, i) for u in range(30) for i in range(12) if (u * 7 + i * 5) % 4 == u % 2]
    return from_pairs(pairs[::2], [], pairs[1::2], 30, 12)


def train(settings: Settings, name: str, *overrides: str) -> tuple[Commit, ModelCard, Path]:
    asked = TrainRequest(resolve(name, list(overrides)), None, 1, "paper", device="cpu")
    commit = run("toy", SPLIT, asked, settings, lambda report: None, data=toy)
    folder = Path(commit.summary["folder"])
    return commit, model_folder.read_card(folder), folder


def look(settings: Settings, model: Commit, cut: Cut) -> Commit:
    return evaluation.run("toy", SPLIT, model, settings, ks=KS, data=toy, device="cpu", cut=cut)


def rows(settings: Settings, commit: Commit) -> list[dict[str, object]]:
    table = DeltaTable(settings.storage.table_uri("toy", "results")).to_pyarrow_table()
    return [row for row in table.to_pylist() if row["stage_key"] == commit.key]


def test_what_is_asked_for_comes_to_widths_that_a_model_has(settings: Settings) -> None:
    _, card, _ = train(settings, "iALS", "iALS.dim=6")
    assert Cut((2, 4, 16)).of(card) == Cut((2, 4, 6))
    assert Cut((4, 6, 8), rotated=True).of(card) == Cut(rotated=True)  # its own: 4, 6
    assert Cut((16,)).of(card) == Cut((6,))
    _, ease, _ = train(settings, "EASE")
    assert Cut((4, 8), rotated=True).of(ease) == AS_TRAINED
    assert not can_rotate(ease)
    assert can_rotate(card)
    assert not can_rotate(train(settings, "iALS-wide", "iALS-wide.dim=6")[1])


def test_a_key_is_what_it_was_where_nothing_is_asked_for() -> None:
    from mrl4rec.core.stage import stage_key

    model = Commit("train", "ab" * 32, "models/x", 0)
    was = stage_key("evaluate", 1, {"split": SPLIT.key, "model": model.key}, {"ks": [10]})
    assert evaluation.key(SPLIT, model, (10,)) == was
    keys = {evaluation.key(SPLIT, model, (10,), cut=c)
            for c in (Cut((4,)), Cut((4,), True), Cut((), True))}  # fmt: skip
    assert len(keys | {was}) == 4


def test_raw_and_rotated_rows_are_kept_apart_and_found_again(settings: Settings) -> None:
    model, _, folder = train(settings, "iALS", "iALS.dim=6")
    plain = look(settings, model, AS_TRAINED)
    assert look(settings, model, Cut((4, 6))).found  # they are its own widths
    raw, turned = (look(settings, model, Cut((2, 3), rotated)) for rotated in (False, True))
    assert len({plain.key, raw.key, turned.key}) == 3
    assert look(settings, model, Cut((2, 3), True)).found
    assert {row["method"] for row in rows(settings, raw)} == {"iALS"}
    assert {row["method"] for row in rows(settings, turned)} == {"iALS rotated"}
    assert turned.summary["widths"] == [2, 3, 6]

    vectors, _, _, seen, _ = model_folder.load(folder)
    assert isinstance(vectors, FactorModel)
    by_hand = FactorModel(*rotate(vectors.user_vectors, vectors.item_vectors))
    expected = evaluate(by_hand, seen, toy().csr("test"), ks=KS, widths=(2, 3, 6))
    found = {(r["metric"], r["k"], r["width"]): r["value"] for r in rows(settings, turned)}
    assert found == {(v.metric, v.k, v.width): v.value for v in expected.values}


@pytest.mark.parametrize("widths", [(), (2, 3)])
def test_one_without_vectors_is_evaluated_once(settings: Settings, widths: tuple[int, ...]) -> None:
    model, _, _ = train(settings, "Pop")
    first = look(settings, model, AS_TRAINED)
    assert look(settings, model, Cut(widths)).key == first.key


@pytest.mark.parametrize("normalised", [False, True])
def test_several_vectors_a_user_are_cut_and_rotated_as_one(normalised: bool) -> None:
    rng = np.random.default_rng(0)
    model = real_interests(rng, 20, 40, 6, widths=(2, 6), normalised=normalised)
    described = ModelCard(
        "k", "toy", {}, "X", kind="sequential", widths=(2, 6), shapes={"item_vectors": [40, 6]}
    )
    assert can_rotate(described)
    assert Cut((3, 9)).of(described).widths == (3, 6)
    assert Cut((2,)).of(described).widths == ()
    sequential = looked(
        model.user_interests, model.item_vectors, widths=(2, 6), normalised=normalised
    )
    turned = Cut(rotated=True).apply(sequential)
    assert isinstance(turned, InterestModel)
    assert (turned.widths, turned.pooling, turned.normalised) == ((2, 6), "max", False)
    users = np.arange(20)
    np.testing.assert_allclose(turned.scores(users), model.scores(users), atol=1e-5)
    whole = model.cut(None)
    lost = [  # squared error of all products at width 2: of the rotation, and of the prefix
        ((one.flat().scores(np.arange(80), 2) - whole.flat().scores(np.arange(80))) ** 2).sum()
        for one in (turned, whole)
    ]
    assert lost[0] < lost[1]


def test_a_sequential_model_is_rotated_as_it_is_before_the_targets(settings: Settings) -> None:
    """At full width it scores as it does unrotated: by the histories of then."""
    asked = TrainRequest(
        resolve("YouTubeDNN", ["YouTubeDNN.dim=8", "YouTubeDNN.epochs=2"]), seed=1, device="cpu"
    )
    model = run("toy", SPLIT, asked, settings, lambda report: None, data=split)
    whole, turned = (
        evaluation.run("toy", SPLIT, model, settings, ks=KS, data=split, device="cpu", cut=cut)
        for cut in (AS_TRAINED, Cut(rotated=True))
    )
    values = [
        {(r["metric"], r["k"]): r["value"] for r in rows(settings, one) if r["width"] == 8}
        for one in (whole, turned)
    ]
    assert values[1].keys() < values[0].keys()  # what a rotation cannot change is not there again
    assert all(abs(values[0][place] - values[1][place]) < 0.01 for place in values[1])
    assert values[0]["recall", 5] > 0
