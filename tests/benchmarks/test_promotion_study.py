"""The study of the decision: its data, its better models, its pairs and its counts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from mrl4rec.core.errors import UsageError
from mrl4rec.data.interactions import from_pairs
from mrl4rec.models.ease import weights
from mrl4rec.models.scorers import FactorModel, ItemItemModel
from mrl4rec.serving.promotion.decision import Rules
from tests.benchmarks.promotion_study import __main__ as command
from tests.benchmarks.promotion_study import guide, page, trials, window
from tests.benchmarks.promotion_study.trials import Design
from tests.mrl4rec.models.model_samples import real_factors, sparse
from tests.mrl4rec.serving.duel_samples import loaded

DAY = window.DAY


def test_the_window_is_cut_at_a_whole_day_and_a_pair_counts_once() -> None:
    days = np.array([0, 0, 1, 1, 2, 2, 2, 2, 3])
    users = np.array([0, 1, 0, 1, 0, 1, 2, 0, 2])
    items = np.array([0, 0, 1, 1, 2, 2, 2, 0, 3])  # user 0 took item 0 on day 0 and again on day 2
    data = window.cut(users, items, days * DAY + 7, share=0.4)
    assert (data.n_users, data.n_items, len(data.users_P)) == (3, 4, 8)
    late = data.fold_P == 2
    assert sorted(zip(data.users_P[late], data.items_P[late], strict=True)) == [
        (0, 2), (1, 2), (2, 2), (2, 3)
    ]  # fmt: skip
    assert data.reviewed_at_P is not None
    assert data.reviewed_at_P[late].min() == np.datetime64("1970-01-03T00:00:07")
    assert data.reviewed_at_P[~late].max() == np.datetime64("1970-01-02T00:00:07")


def test_a_csv_file_is_read_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv.gz"
    rows = [f"{n},B{n % 5},A{n % 3},{n * DAY}" for n in range(15)]
    path.write_bytes(gzip.compress("\n".join(["x,item,user,time", *rows]).encode()))
    data = window.from_csv(path, ("user", "item", "time"), share=0.2)
    assert (data.n_users, data.n_items) == (3, 5)
    assert np.bincount(data.fold_P).tolist() == [12, 0, 3]
    with pytest.raises(UsageError, match="cannot be read"):
        window.from_csv(path, ("user", "item", "when"))
    with pytest.raises(UsageError, match="cannot be read"):
        window.from_csv(tmp_path / "none.csv")


def test_a_guide_of_full_rank_scores_as_ease_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = sparse(rng, 30, 20, 200)
    users = np.repeat(np.arange(30), pairs.degrees)
    data = from_pairs(zip(users.tolist(), pairs.indices.tolist(), strict=True), [], [], 30, 20)
    found = guide.guide(data, tmp_path / "guide.npz", rank=20, lam=5.0)
    again = guide.guide(data, tmp_path / "guide.npz")
    np.testing.assert_array_equal(found.users_UR, again.users_UR)
    scores = found.users_UR @ found.items_IR.T
    ease = ItemItemModel(weights(pairs, 5.0), pairs).scores(np.arange(30))
    assert np.sqrt((scores**2).mean()) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(scores * np.sqrt((ease**2).mean()), ease, atol=1e-5)

    one = loaded(real_factors(rng, 30, 20, 4, widths=(2, 4)), pairs)
    assert found.mixed_in(one, 0.0) is one
    mixed = found.mixed_in(one, 0.5).model
    assert isinstance(mixed, FactorModel)
    own = one.model.scores(np.arange(30))
    expected = own + 0.5 * np.sqrt((own**2).mean()) * scores
    np.testing.assert_allclose(mixed.scores(np.arange(30)), expected, atol=1e-4)
    np.testing.assert_allclose(mixed.scores(np.arange(30), 2), one.model.scores(np.arange(30), 2))


def test_weights_lie_where_the_gains_are() -> None:
    means = 0.1 * (1 + np.array(guide.GRID) / 10)  # +10 % for each whole weight
    assert guide.weights_for(means.tolist(), [0.02, 0.05, 0.1]) == pytest.approx((0, 0.2, 0.5, 1))
    assert guide.weights_for(means.tolist(), [0.9]) == (0.0, 2.0)  # out of reach
    falling = [*means[:5], *([0.05] * (len(means) - 5))]
    assert guide.weights_for(falling, [0.5]) == (0.0, guide.GRID[4])


def test_models_of_a_pair_differ_and_all_take_their_turn() -> None:
    rng = np.random.default_rng(0)
    design = Design(1, 3)
    found = list(trials.groups(rng, 9, design, 10))
    assert [(len(a), len(b)) for a, b in found] == [(1, 3)] * 10
    for one, two in zip(found[::2], found[1::2], strict=True):  # two pairs of four use nine models
        used = np.concatenate([*one, *two])
        assert len(set(used.tolist())) == 8
    with pytest.raises(UsageError, match="4 models are needed"):
        list(trials.groups(rng, 3, design, 1))


def test_the_error_of_a_rate_by_hand() -> None:
    pairs = [frozenset({0, 1}), frozenset({2, 3})]
    # without 0 or 1 the rate is 0, without 2 or 3 it is 1: √(3/4 · 4 · ¼)
    assert trials.jackknife(np.array([True, False]), pairs) == pytest.approx(np.sqrt(0.75))
    assert trials.jackknife(np.array([True, True]), pairs) == 0


def test_the_tables() -> None:
    def row(weight: float, gain: float, count: int) -> dict[str, object]:
        found = {"count": count, "rate": count / 200, "error": 0.01}
        both = {"promoted": found, "above": {**found, "count": count + 1}, "below": found}
        place = {"users": 2000, "design": Design(3, 3).name, "pairs": 200}
        return {**place, "weight": weight, "expected": gain, **both}

    text = page.page([row(0.0, 0.0, 4), row(0.1, 0.02, 50), row(0.9, 0.1, 190)])
    assert "| 2,000 | 3 seeds a side, seeds counted | 4 of 200 (2.0 ± 1.0 %) |" in text
    assert "| users | sides | +2.0 % | +10.0 % |" in text
    assert "| 50 (51) of 200 | 190 (191) of 200 |" in text


@pytest.mark.slow
def test_a_small_study_from_planted_tastes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--planted", "300,80,6000", "--levels", "4,8", "--set", "MRL-M.dim=8", "--models", "10",
        "--set", "MRL-M.batch=256", "--calibration", "1", "--pairs", "4", "--draws", "400",
        "--gains", "0.1", "--folder", str(tmp_path / "models"), "--out", str(tmp_path / "out.json"),
    ]  # fmt: skip
    assert command.main(arguments) == 0
    body = json.loads((tmp_path / "out.json").read_text())
    assert body["judged"] > 100
    assert body["rules"] == Rules(draws=400).as_dict()
    assert len(body["rows"]) == len(trials.DESIGNS) * 2
    for row in body["rows"]:
        assert row["promoted"]["count"] <= row["above"]["count"] <= row["pairs"] == 4
        assert (row["expected"] == 0) == (row["weight"] == 0)
    kept = [path.suffix for path in (tmp_path / "models").iterdir()]
    assert kept.count(".npz") == 12  # a guide, a model to try, ten models
    assert kept.count(".json") == len(body["rows"])
    first = capsys.readouterr().out
    assert "| users | sides | promoted |" in first
    assert command.main(arguments) == 0
    assert capsys.readouterr().out == first
