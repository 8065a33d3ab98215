"""Paired tests against what can be counted by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.evaluation.ranking.significance import EXACT, holm, paired, sign_flip_exact


def test_holm_by_hand() -> None:
    # sorted .01 .02 .03 .04 → 4·.01, 3·.02, 2·.03, max(.06, 1·.04)
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([0.001]) == [0.001]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, corrected, strict=True))
    assert all(q <= min(1.0, len(p_values) * p) for p, q in zip(p_values, corrected, strict=True))
    for (p, q), (r, s) in itertools.combinations(zip(p_values, corrected, strict=True), 2):
        assert p == r or (p < r) == (q < s) or q == s


def test_sign_flips_of_four_users_by_enumeration() -> None:
    # Of 16 ways, |sum| ≥ 1 + 2 + 3 − 1 = 5: ±7 (all alike: 2) and ±5 (one 1 turned: 2 · 2) …
    differences = np.array([1.0, 2.0, 3.0, -1.0])
    as_far = sum(
        abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= 5
        for signs in itertools.product((1, -1), repeat=4)
    )
    assert as_far == 6
    assert sign_flip_exact(differences) == 6 / 16
    # all on one side: only the two extremes are as far
    assert sign_flip_exact(np.array([0.5, 0.25, 0.125, 1.0])) == 2 / 16
    assert sign_flip_exact(np.zeros(5)) == 1.0


def test_users_who_do_not_differ_change_no_p_value() -> None:
    few = np.array([0.3, -0.1, 0.2])
    assert sign_flip_exact(np.concatenate([few, np.zeros(50)])) == sign_flip_exact(few)


def test_means_interval_and_effect_by_hand() -> None:
    a = np.array([0.5, 1.0, 0.0, 0.5])
    b = np.array([0.25, 0.5, 0.0, 0.25])  # differences .25 .5 0 .25: mean .25, sd √(.125/3)
    found = paired(np.stack([a, b], axis=1), [(0, 1)], draws=2000, seed=3)[0]
    assert (found.users, found.mean_a, found.mean_b) == (4, 0.5, 0.25)
    assert found.difference == 0.25
    assert found.relative == 1.0
    assert found.d_z == pytest.approx(0.25 / math.sqrt(0.125 / 3))
    assert found.p == 2 / 8  # three users differ, all to one side
    assert 0 <= found.low < 0.25 < found.high <= 0.5


def test_the_drawn_p_is_near_the_exact_one() -> None:
    rng = np.random.default_rng(5)
    differences = rng.normal(0.25, 1, EXACT)
    padded = np.concatenate([differences, np.full(2, 1e-12)])  # two more: too many to enumerate
    values = np.stack([padded, np.zeros_like(padded)], axis=1)
    drawn = paired(values, [(0, 1)], draws=20_000)[0].p
    exact = sign_flip_exact(differences)
    assert abs(drawn - exact) < 5 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-3


def test_alike_models_are_refused_the_right_to_differ() -> None:
    """Under the null p values are spread evenly: few lie below 5 %."""
    rng = np.random.default_rng(1)
    values = rng.random((60, 41))
    p = [one.p for one in paired(values, [(0, m) for m in range(1, 41)], draws=400)]
    assert sum(value < 0.05 for value in p) <= 8
    assert np.median(p) > 0.2


def test_a_real_difference_is_seen_and_no_p_is_zero() -> None:
    rng = np.random.default_rng(2)
    base = rng.random(300)
    values = np.stack([base + rng.normal(0.05, 0.1, 300), base], axis=1)
    found = paired(values, [(0, 1), (1, 0)], draws=999)
    assert found[0].p == found[1].p == 1 / 1000
    assert 0 < found[0].low < found[0].difference < found[0].high
    assert (found[0].low, found[0].high) == pytest.approx((-found[1].high, -found[1].low))
    assert found[0].d_z == pytest.approx(-found[1].d_z)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(0, 1000))
def test_a_model_equals_itself_whatever_the_users(n_users: int, seed: int) -> None:
    column = np.random.default_rng(seed).random(n_users)
    found = paired(np.stack([column, column], axis=1), [(0, 1)], draws=50, seed=seed)[0]
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.d_z is None


def test_the_same_seed_gives_the_same_answer() -> None:
    values = np.random.default_rng(0).random((50, 3))
    pairs = [(0, 1), (1, 2)]
    assert paired(values, pairs, draws=300, seed=4) == paired(values, pairs, draws=300, seed=4)
    assert paired(values, pairs, draws=300, seed=4) != paired(values, pairs, draws=300, seed=5)


@pytest.mark.parametrize("values", [np.ones((1, 2)), np.array([[1.0, np.nan], [0.0, 1.0]])])
def test_too_few_users_and_no_numbers_are_refused(values: np.ndarray) -> None:
    with pytest.raises(Mrl4recError):
        paired(values, [(0, 1)])
