"""Intervals by hand, what must not change a decision, and what must."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.evaluation.ranking.bootstrap import resampled_means
from mrl4rec.serving.promotion.change import Change
from mrl4rec.serving.promotion.decision import Decision, Rules, decide
from mrl4rec.serving.promotion.per_user import Duel, Side
from mrl4rec.serving.promotion.seeds import Shares, noise, shares
from tests.mrl4rec.serving.duel_samples import duel_of, side

NO_SEEDS = Shares(0.0, (), True, "")
Z = stats.norm.isf(0.025)
LOOSE = Rules(width_margin=0.9, slice_margin=0.9)
"""Nothing but the difference itself counts."""


def interval(decision: Decision) -> tuple[float, float]:
    row = decision.evidence["difference"]
    return row["low"], row["high"]


def fallen(decision: Decision) -> list[tuple[str, str]]:
    rows = decision.evidence["widths"] + decision.evidence["slices"]
    return [(row["kind"], row["name"]) for row in rows if row.get("fell")]


def random_duel(seed: int, n_users: int = 120, gain: float = 0.05, models: int = 2) -> Duel:
    rng = np.random.default_rng(seed)
    user = rng.beta(0.4, 2, (n_users, 1, 1))
    one, two = (user + rng.normal(0, 0.1, (n_users, models, 3)) for _ in range(2))
    return duel_of(side(one), side(two + gain), history=rng.integers(0, 30, n_users))


# --- bootstrap ---------------------------------------------------------------------------------


def test_draws_follow_the_exact_distribution_of_three_users() -> None:
    values = np.array([0.0, 1.0, 5.0])
    exact = np.array([np.mean(draw) for draw in product(values, repeat=3)])
    draws = resampled_means(values[:, None], 20_000, seed=1)[:, 0]
    assert set(np.round(draws, 9)) == set(np.round(exact, 9))
    for value in set(exact):
        share = np.isclose(exact, value).mean()
        seen = np.isclose(draws, value).mean()
        assert abs(seen - share) < 5 * np.sqrt(share * (1 - share) / 20_000)


def test_columns_share_their_draws_and_leave_out_who_is_not_in_them() -> None:
    rng = np.random.default_rng(0)
    whole = rng.normal(size=50)
    part = np.where(np.arange(50) < 20, whole, np.nan)
    draws = resampled_means(np.stack([whole, 2 * whole, part], axis=1), 500, seed=3)
    np.testing.assert_allclose(draws[:, 1], 2 * draws[:, 0])
    assert draws[:, 2].mean() == pytest.approx(whole[:20].mean(), abs=4 * draws[:, 2].std() / 22)
    alone = resampled_means(np.array([[1.0, np.nan], [2.0, 7.0]]), 100, seed=0)
    assert set(alone[~np.isnan(alone[:, 1]), 1]) == {7.0}
    assert np.isnan(alone[alone[:, 0] == 1.0, 1]).all()  # only the first user was drawn


def test_draws_do_not_hang_on_how_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(40, 2))
    whole = resampled_means(values, 300, seed=5)
    monkeypatch.setattr("mrl4rec.evaluation.ranking.bootstrap.WEIGHTS", 40 * 7)
    np.testing.assert_allclose(resampled_means(values, 300, seed=5), whole, rtol=1e-12)


# --- seeds -------------------------------------------------------------------------------------


def test_noise_of_seeds_by_hand() -> None:
    together = noise(np.array([[0.0, 2.0], [2.0, 4.0]]))  # the seed moves both users by 2
    assert together is not None
    assert (together.variance, together.observed, together.freedom) == (2.0, 2.0, 1)
    # means 2 and 3: s² = ½; residuals ±½: their mean square is 1, so users explain 1/2 of it
    apart = noise(np.array([[0.0, 2.0], [4.0, 4.0]]))
    assert apart is not None
    assert (apart.variance, apart.observed) == (0.0, 0.5)
    assert noise(np.array([[1.0], [2.0]])) is None
    still_paid = shares(*2 * (np.array([[0.0, 2.0], [4.0, 4.0]]),), (False, False), alike=True)
    assert (still_paid.variance, still_paid.uncertain) == (0.0, ((0.25, 1), (0.25, 1)))


def test_a_single_model_takes_the_variance_of_its_like() -> None:
    one, two = np.array([[1.0], [2.0]]), np.array([[0.0, 2.0], [2.0, 4.0]])
    both = shares(two, two, (False, False), alike=True)
    assert (both.variance, both.uncertain, both.counted) == (2.0, ((1.0, 1), (1.0, 1)), True)
    borrowed = shares(one, two, (False, False), alike=True)  # 2/1 for the one, 2/2 for the two
    assert (borrowed.variance, borrowed.uncertain, borrowed.counted) == (3.0, ((3.0, 1),), True)
    assert "takes the other side's" in borrowed.note
    alone = shares(one, two, (False, False), alike=False)
    assert (alone.variance, alone.counted) == (1.0, False)
    still = shares(one, two, (True, False), alike=False)
    assert (still.variance, still.counted, still.note) == (1.0, True, "")
    nothing = shares(one, one, (False, False), alike=True)
    assert (nothing.variance, nothing.uncertain, nothing.counted) == (0.0, (), False)


@pytest.mark.parametrize(("users", "seeds", "b", "c"), [(400, 4, 0.3, 1.0), (50, 3, 0.0, 1.0)])
def test_noise_finds_the_variance_that_was_put_in(
    users: int, seeds: int, b: float, c: float
) -> None:
    rng = np.random.default_rng(1)
    observed, kept = [], []
    for _ in range(800):
        values = rng.normal(0, 2, (users, 1)) + rng.normal(0, b, seeds)
        found = noise(values + rng.normal(0, c, (users, seeds)))
        assert found is not None
        observed.append(found.observed)
        kept.append(found.variance)
    expected = b**2 + c**2 / users
    assert np.mean(observed) == pytest.approx(expected, rel=0.12)
    if b:  # far from the border at 0
        assert np.mean(kept) == pytest.approx(b**2, rel=0.12)


# --- interval ----------------------------------------------------------------------------------


def test_the_interval_of_two_users_by_hand() -> None:
    # Draws of {0, 1}: 0, ½ and 1, a quarter, a half, a quarter: the 95 % ends are 0 and 1.
    draws = resampled_means(np.array([[0.0], [1.0]]), 4000, seed=0)[:, 0]
    change = Change(0.25, 0.75, 2, draws, NO_SEEDS)
    half = stats.t.isf(0.025, 1) / Z * 0.5 * np.sqrt(2)
    assert change.interval(0.05) == pytest.approx((0.5 - half, 0.5 + half))
    assert change.user_variance == pytest.approx(0.25, rel=0.1)  # s²/E = ½/2


def test_seeds_widen_the_interval_and_few_are_paid_for() -> None:
    rng = np.random.default_rng(0)
    gains = rng.normal(0.02, 0.1, 400)
    draws = resampled_means(gains[:, None], 4000, seed=0)[:, 0]
    of_users = 0.1**2 / 400
    for seed_variance, freedom in ((of_users, 2), (of_users, 200), (4 * of_users, 2)):
        added = Shares(seed_variance, ((seed_variance, freedom),), True, "")
        change = Change(0.1, 0.1 + gains.mean(), 400, draws, added)
        total = change.user_variance + seed_variance
        below = change.user_variance**2 / 399 + seed_variance**2 / freedom
        assert change.freedom == pytest.approx(total**2 / below)
        low, high = change.interval(0.05)
        expected = stats.t.isf(0.025, change.freedom) * np.sqrt(total)
        assert (high - low) / 2 == pytest.approx(expected, rel=0.06)
    plain = Change(0.1, 0.1 + gains.mean(), 400, draws, NO_SEEDS)
    ends = np.quantile(draws, [0.025, 0.975])
    assert plain.interval(0.05) == pytest.approx(tuple(ends), abs=2e-4)


def test_seeds_count_where_all_users_gain_the_same() -> None:
    change = Change(0.1, 0.2, 50, np.full(500, 0.1), Shares(0.0004, ((0.0004, 4),), True, ""))
    half = stats.t.isf(0.025, 4) * 0.02
    assert change.freedom == pytest.approx(4)
    assert change.interval(0.05) == pytest.approx((0.1 - half, 0.1 + half))


# --- decisions ---------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999), models=st.integers(1, 3))
def test_the_order_of_users_changes_nothing(seed: int, models: int) -> None:
    duel = random_duel(seed, models=models)
    order = np.random.default_rng(seed + 1).permutation(duel.n_users)

    def turned(part: Side) -> Side:
        return Side(
            part.recipe, part.ndcg_ESW[order], part.recall_ESW[order], part.sliced_ESG[order]
        )

    other = Duel(
        duel.split_key, duel.users_E[order], duel.history_E[order], duel.widths,
        turned(duel.champion), turned(duel.challenger),
    )  # fmt: skip
    first, second = decide(duel), decide(other)
    assert first.verdict == second.verdict
    assert interval(second) == pytest.approx(interval(first), rel=1e-6)
    assert fallen(first) == fallen(second)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999), gain=st.floats(-0.2, 0.2), models=st.integers(1, 3))
def test_swapping_sides_mirrors_the_interval(seed: int, gain: float, models: int) -> None:
    duel = random_duel(seed, gain=gain, models=models)
    swapped = Duel(
        duel.split_key, duel.users_E, duel.history_E, duel.widths, duel.challenger, duel.champion
    )
    low, high = interval(decide(duel, LOOSE))
    assert interval(decide(swapped, LOOSE)) == pytest.approx((-high, -low), rel=1e-6)
    assert {decide(duel, LOOSE).verdict, decide(swapped, LOOSE).verdict} != {"promote"}


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999), shift=st.floats(-0.5, 0.5))
def test_a_constant_shifts_the_interval(seed: int, shift: float) -> None:
    duel = random_duel(seed)
    other = random_duel(seed, gain=0.05 + shift)
    expected = [end + shift for end in interval(decide(duel, LOOSE))]
    assert interval(decide(other, LOOSE)) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999), least=st.floats(1e-4, 0.1), models=st.integers(1, 2))
def test_a_challenger_better_for_every_user_is_promoted(
    seed: int, least: float, models: int
) -> None:
    rng = np.random.default_rng(seed)
    champion = np.repeat(rng.beta(0.4, 2, (200, 1, 3)), models, axis=1)
    gain = rng.uniform(least, 3 * least, (200, 1, 3))
    history = rng.integers(0, 30, 200)
    decision = decide(duel_of(side(champion), side(champion + gain), history=history))
    assert decision.verdict == "promote", decision.reasons
    assert decision.evidence["difference"]["low"] > 0


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 999), models=st.integers(1, 3))
@pytest.mark.fault("F33")
def test_identical_models_are_kept(seed: int, models: int) -> None:
    duel = random_duel(seed, models=models)
    decision = decide(duel_of(duel.champion, duel.champion, history=duel.history_E))
    assert decision.verdict == "keep"
    low, high = interval(decision)
    assert low <= 0 <= high
    if models == 1:
        assert (low, high) == (0.0, 0.0)


def test_the_same_duel_and_rules_give_the_same_evidence() -> None:
    first, second = (decide(random_duel(7)) for _ in range(2))
    assert json.dumps(first.evidence, allow_nan=False) == json.dumps(second.evidence)
    other = decide(random_duel(7), Rules(seed=1))
    assert interval(other) != interval(first)
    assert interval(other) == pytest.approx(interval(first), abs=0.003)


def test_words_and_numbers() -> None:
    champion = np.full(100, 0.04)
    gains = np.where(np.arange(100) % 2, 0.003, 0.001)
    decision = decide(duel_of(side(champion), side(champion + gains)))
    assert decision.verdict == "promote"
    assert decision.reasons[0].startswith("NDCG@20 .0400 → .0420 (+5.0 %), interval [+.001")
    assert decision.reasons[0].endswith("at 95 %, 100 users")
    assert "seeds are not counted" in decision.reasons[1]
    row = decision.evidence["difference"]
    assert (row["users"], row["champion"], row["level"]) == (100, 0.04, 0.95)
    assert row["relative"] == pytest.approx(0.05)
    assert decision.evidence["rules"]["draws"] == 2000
    assert decision.evidence["champion"]["seeds"] == [0]


def test_least_gain() -> None:
    champion = np.full(100, 0.04)
    gains = np.where(np.arange(100) % 2, 0.003, 0.001)  # 5 % of the champion's mean
    duel = duel_of(side(champion), side(champion + gains))
    assert decide(duel, Rules(min_gain=0.03)).verdict == "promote"
    kept = decide(duel, Rules(min_gain=0.06))
    assert kept.verdict == "keep"
    assert "the least gain asked for (+6.0 %" in kept.reasons[1]


@pytest.mark.fault("F33")
def test_a_width_that_falls_keeps_the_champion() -> None:
    rng = np.random.default_rng(0)
    champion = np.repeat(rng.uniform(0.2, 0.4, (300, 1, 1)), 3, axis=2)
    gain = rng.normal(0, 0.02, (300, 1, 3)) + np.array([0.02, 0.0, -0.02])
    decision = decide(duel_of(side(champion), side(champion + gain)))
    assert decision.verdict == "keep"
    assert fallen(decision) == [("width", "8")]
    assert "width 8 falls: .3" in decision.reasons[1]
    assert "−5.0 % was allowed" in decision.reasons[1]
    allowed = decide(duel_of(side(champion), side(champion + gain)), Rules(width_margin=0.1))
    assert allowed.verdict == "promote"


@pytest.mark.fault("F33")
def test_a_slice_that_falls_keeps_the_champion() -> None:
    rng = np.random.default_rng(0)
    history = np.where(np.arange(1000) < 100, 0, 30)
    champion = rng.uniform(0.2, 0.4, 1000)
    gain = rng.normal(0, 0.02, 1000) + np.where(history == 0, -0.06, 0.02)
    duel = duel_of(side(champion), side(champion + gain), history=history)
    assert fallen(decide(duel)) == [("users by training pairs", "new")]
    assert decide(duel).verdict == "keep"
    few = decide(duel, Rules(min_slice_users=101))
    assert few.verdict == "promote"
    row = next(row for row in few.evidence["slices"] if row["name"] == "new")
    assert row == {"kind": "users by training pairs", "name": "new", "users": 100, "judged": False}


def test_a_slice_of_items_that_falls_keeps_the_champion() -> None:
    rng = np.random.default_rng(0)
    champion = rng.uniform(0.2, 0.4, 600)
    tail = np.where(np.arange(600) % 3 == 0, champion, np.nan)
    head = np.where(np.arange(600) % 3, champion, np.nan)
    gain = np.where(np.arange(600) % 3, 0.05, -0.05)
    nan = np.full(600, np.nan)
    one = side(champion, np.stack([head, nan, tail, nan], axis=1))
    two = side(champion + gain, np.stack([head + gain, nan, tail + gain, nan], axis=1))
    assert fallen(decide(duel_of(one, two))) == [("items by popularity", "tail")]


def test_a_fall_within_chance_is_no_fall() -> None:
    rng = np.random.default_rng(1)
    history = np.where(np.arange(1000) < 60, 0, 30)
    champion = np.full(1000, 0.3)
    noise_ = rng.normal(0, 0.3, 1000)
    noise_[:60] += -0.05 - noise_[:60].mean()  # −17 % on 60 users, give or take 13 %
    gain = np.where(history == 0, noise_, 0.05)
    decision = decide(duel_of(side(champion), side(champion + gain), history=history))
    row = next(row for row in decision.evidence["slices"] if row["name"] == "new")
    assert row["relative"] < -0.1 < 0 < row["high"]
    assert not row["fell"]
    assert decision.verdict == "promote"


def test_holm_shares_alpha_among_the_slices() -> None:
    duel = random_duel(0, n_users=2000)
    levels = sorted(row["level"] for row in decide(duel).evidence["slices"] if row["judged"])
    n = len(levels)
    assert n == 6  # five slices of users; all items are in the head
    assert levels == pytest.approx([1 - 0.05 / (n - rank) for rank in range(n)][::-1])


def test_holm_stops_at_the_first_fall_that_may_be_chance() -> None:
    """Two slices fall by 2.52 standard errors: enough for the second step, not for the first."""
    history = np.repeat([0, 3, 30], [100, 100, 800])
    champion = np.full(1000, 0.3)
    fall = 0.2 * np.where(np.arange(100) % 2, 1.0, -1.0) - 2.52 * 0.2 / np.sqrt(99)
    duel = duel_of(
        side(champion),
        side(champion + np.concatenate([fall, fall, np.full(800, 0.05)])),
        history=history,
    )
    one, two, three = (stats.t.isf(0.025 / m, 99) for m in (4, 3, 1))
    assert three < two < 2.52 < one
    decision = decide(duel, Rules(draws=20_000))
    assert sorted(row["relative"] for row in decision.evidence["slices"] if row["judged"])[1] < -0.1
    assert decision.verdict == "promote"


def test_the_more_seeds_the_narrower() -> None:
    rng = np.random.default_rng(0)
    user = rng.beta(0.4, 2, (400, 1))
    noise_ = rng.normal(0, 0.05, (2, 400, 8)) + rng.normal(0, 0.01, (2, 1, 8))
    widths = []
    for models in (2, 4, 8):
        one, two = (user + part[:, :models] for part in noise_)
        low, high = interval(decide(duel_of(side(one), side(two)), LOOSE))
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


@pytest.mark.fault("F33")
def test_seeds_counted_hold_the_error_rate_that_users_alone_do_not() -> None:
    """Pairs that differ by seed alone, where a seed moves all users together."""
    rng = np.random.default_rng(11)
    rules = Rules(draws=400, width_margin=0.9, slice_margin=0.9)
    runs, wrong = 150, {"counted": 0, "not counted": 0}
    for _ in range(runs):
        user = rng.beta(0.4, 2, (150, 1))
        one, two = (user + rng.normal(0, 0.02, (150, 3)) + rng.normal(0, 0.01, 3) for _ in range(2))
        for name, drawn in (("counted", True), ("not counted", False)):
            duel = duel_of(side(one, drawn=drawn), side(two, drawn=drawn))
            wrong[name] += decide(duel, rules).verdict == "promote"
    assert wrong["counted"] <= 0.05 * runs + 2
    assert wrong["not counted"] > 0.15 * runs


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error(value: float) -> None:
    bad = np.full(60, 0.2)
    bad[7] = value
    with pytest.raises(Mrl4recError, match="challenger are not finite"):
        decide(duel_of(side(np.full(60, 0.2)), side(bad)))


def test_nobody_is_an_error_and_one_user_proves_nothing() -> None:
    with pytest.raises(Mrl4recError, match="no user"):
        decide(duel_of(side(np.empty(0)), side(np.empty(0))))
    decision = decide(duel_of(side([0.1]), side([0.9])))
    assert decision.verdict == "keep"
    assert "one gives no interval" in decision.reasons[0]
    assert json.dumps(decision.evidence, allow_nan=False)


def test_two_users_are_not_enough_either() -> None:
    assert decide(duel_of(side([0.1, 0.2]), side([0.5, 0.9]))).verdict == "keep"


def test_a_champion_that_finds_nothing_can_be_beaten() -> None:
    decision = decide(duel_of(side(np.zeros(80)), side(np.full(80, 0.1))))
    assert decision.verdict == "promote"
    assert decision.evidence["difference"]["relative"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"alpha": 0.6}, "alpha is 0.6"),
        ({"min_gain": -0.1}, "min_gain"),
        ({"width_margin": 1.0}, "width_margin"),
        ({"slice_margin": float("nan")}, "slice_margin"),
        ({"min_slice_users": 1}, "min_slice_users"),
        ({"alpha": 0.001}, "2000 draws are too few"),
    ],
)
def test_rules_that_make_no_sense(change: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Rules(**change)  # type: ignore[arg-type]
