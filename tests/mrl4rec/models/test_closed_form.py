"""EASE against the formula, Pop against counting, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.data.interactions import from_pairs
from mrl4rec.models import METHODS, ease, fit, resolve
from mrl4rec.models.scorers import CountModel, ItemItemModel

TRAIN = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 0), (2, 1), (2, 3)]


def test_pop_counts_train_and_valid() -> None:
    model = fit(METHODS["Pop"], from_pairs(TRAIN, [(0, 3)], [(1, 0)], 3, 5), ("train", "valid"))
    assert isinstance(model, CountModel)
    assert model.counts.tolist() == [2, 3, 1, 2, 0]


@pytest.mark.parametrize("n_items", [7, 64, ease.BLOCK + 70])
def test_ease_is_the_formula(n_items: int) -> None:
    rng = np.random.default_rng(0)
    dense = rng.random((90, n_items)) < 0.1
    data = from_pairs(zip(*dense.nonzero(), strict=True), [], [], 90, n_items)
    model = fit(resolve("EASE", ["EASE.lam=3.5"]), data, ("train", "valid"))
    assert isinstance(model, ItemItemModel)
    x = dense.astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + 3.5 * np.eye(n_items))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    assert np.allclose(model.weights, expected, atol=1e-6)
    assert (np.diag(model.weights) == 0).all()
    assert np.allclose(model.scores(np.arange(90)), x @ expected, atol=1e-5)


def test_ease_on_a_device_is_the_same() -> None:
    rng = np.random.default_rng(0)
    dense = rng.random((90, 70)) < 0.1
    data = from_pairs(zip(*dense.nonzero(), strict=True), [], [], 90, 70)
    gram = ease.gram(data.csr("train"), 3.5)
    found = ease.solved_on_device(gram, "cpu")
    np.testing.assert_allclose(found, ease.weights(data.csr("train"), 3.5), rtol=0, atol=1e-7)
    assert ease.solved_on_device(-gram, "cpu") is None


def test_ease_by_hand() -> None:
    """Users (0, 1) and (1): λ = 1 gives XᵀX + λI = [[2, 1], [1, 3]], P = [[3, −1], [−1, 2]]/5."""
    data = from_pairs([(0, 0), (0, 1), (1, 1)], [], [], 2, 2)
    model = fit(resolve("EASE", ["EASE.lam=1"]), data, ("train",))
    assert isinstance(model, ItemItemModel)
    assert model.weights.tolist() == pytest.approx(np.array([[0, 1 / 2], [1 / 3, 0]]), rel=1e-6)


def test_too_many_items_are_refused_before_memory_is_taken() -> None:
    with pytest.raises(Mrl4recError, match=r"10,000,000 items needs .* GiB"):
        ease.check_memory(10_000_000)


def test_nothing_to_fit_on_is_an_error() -> None:
    with pytest.raises(Mrl4recError, match="no pair"):
        fit(METHODS["Pop"], from_pairs([], [], [(0, 0)], 1, 2), ("train", "valid"))
