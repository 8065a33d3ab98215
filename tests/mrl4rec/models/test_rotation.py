"""Rotation leaves the whole as it was, and makes every prefix as good as it can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec.core.errors import UsageError
from mrl4rec.evaluation.ranking import rotate


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_users=st.integers(1, 40),
    n_items=st.integers(1, 40),
    dim=st.integers(1, 12),
)
def test_full_width_scores_stay_to_rounding(
    seed: int, n_users: int, n_items: int, dim: int
) -> None:
    rng = np.random.default_rng(seed)
    users, items = rng.normal(size=(n_users, dim)), rng.normal(size=(n_items, dim))
    turned_u, turned_i = rotate(users, items)
    assert turned_u.shape == users.shape
    assert turned_i.shape == items.shape
    assert turned_u.dtype == turned_i.dtype == np.float32
    np.testing.assert_allclose(turned_u @ turned_i.T, users @ items.T, atol=2e-5 * dim)


def test_a_prefix_is_the_best_approximation_of_its_rank() -> None:
    rng = np.random.default_rng(3)
    users, items = rng.normal(size=(50, 8)), rng.normal(size=(30, 8))
    scores = users @ items.T
    left, strength, right = np.linalg.svd(scores)
    turned_u, turned_i = rotate(users, items)
    for width in range(1, 9):
        best = left[:, :width] * strength[:width] @ right[:width]
        cut = turned_u[:, :width] @ turned_i[:, :width].T
        np.testing.assert_allclose(cut, best, atol=1e-4)
        raw = users[:, :width] @ items[:, :width].T
        assert np.linalg.norm(scores - cut) <= np.linalg.norm(scores - raw) + 1e-4
    np.testing.assert_allclose(
        np.linalg.norm(turned_u, axis=0), np.sqrt(strength[:8]), rtol=1e-5
    )  # the square root of each singular value on either side


def test_signs_are_fixed_by_the_largest_item_coordinate() -> None:
    rng = np.random.default_rng(3)
    _, items = rotate(rng.normal(size=(9, 4)), rng.normal(size=(7, 4)))
    assert (items[np.abs(items).argmax(axis=0), np.arange(4)] > 0).all()


def test_vectors_of_different_widths_are_refused() -> None:
    with pytest.raises(UsageError, match="no common dimensions"):
        rotate(np.ones((3, 4)), np.ones((3, 5)))
