"""ItemCF, RP3beta and SLIM: numbers by hand, the conditions of an optimum, dense and sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.data.interactions import from_pairs
from mrl4rec.kernels.csr import Csr
from mrl4rec.models import fit, item_pairs, resolve, slim
from mrl4rec.models.scorers import ItemItemModel

# Two users have items 0 and 1, one has 1 and 2: n = (2, 3, 1), c01 = 2, c12 = 1; item 3 has nobody.
PAIRS = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 0), (2, 1)]


def model(name: str, *overrides: str) -> ItemItemModel:
    data = from_pairs(PAIRS, [], [], 3, 4)
    found = fit(resolve(name, [f"{name}.{o}" for o in overrides]), data, ("train",))
    assert isinstance(found, ItemItemModel)
    return found


def dense(weights: Any) -> np.ndarray:
    return weights if isinstance(weights, np.ndarray) else weights.toarray()


def seen(rng: np.random.Generator, share: float = 0.3) -> Csr:
    liked = rng.random((12, 9)) < share
    return from_pairs(zip(*liked.nonzero(), strict=True), [], [], 12, 9).csr("train")


@pytest.mark.parametrize("shrink", [0.0, 20.0])
def test_item_cf_by_hand(shrink: float) -> None:
    near, far = 2 / (np.sqrt(6) + shrink), 1 / (np.sqrt(3) + shrink)
    expected = [[0, near, 0, 0], [near, 0, far, 0], [0, far, 0, 0], [0, 0, 0, 0]]
    found = model("ItemCF", f"shrink={shrink}")
    assert dense(found.weights) == pytest.approx(np.array(expected), rel=1e-6)
    assert found.scores(np.array([1]))[0] == pytest.approx([near, far, far, 0], rel=1e-6)


def test_rp3beta_by_hand() -> None:
    """From item 0 both users lead on with ½ each to item 1: ½·½ + ½·½; from item 1 by ⅓ each."""
    walks = np.array([[0, 1 / 2, 0, 0], [1 / 3, 0, 1 / 6, 0], [0, 1 / 2, 0, 0], [0, 0, 0, 0]])
    assert dense(model("RP3beta", "alpha=1").weights) == pytest.approx(walks, rel=1e-6)
    by_popularity = walks / np.array([2, 3, 1, 1])
    assert dense(model("RP3beta", "alpha=1", "beta=1").weights) == pytest.approx(by_popularity)
    square = np.array([[0, 2, 0, 0], [2, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    steps = np.sqrt(np.outer([1 / 2, 1 / 3, 1, 0], [1, 1, 1, 1]) / 2)  # every user has two items
    assert dense(model("RP3beta", "alpha=0.5").weights) == pytest.approx(steps * square, rel=1e-6)


def test_slim_by_hand() -> None:
    """Item 0 only meets item 1: w = (2 − ½) / (3 + 1). Item 2 does too, with (1 − ½) / (3 + 1)."""
    weights = dense(model("SLIM", "l1=0.5", "l2=1").weights)
    assert weights[:, 0] == pytest.approx([0, 3 / 8, 0, 0])
    assert weights[:, 2] == pytest.approx([0, 1 / 8, 0, 0])
    # Item 1 meets 0 and 2, which never meet: (2 − ½)/(2 + 1) and (1 − ½)/(1 + 1).
    assert weights[:, 1] == pytest.approx([1 / 2, 0, 1 / 4, 0])


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    l1=st.sampled_from([0.0, 0.5, 1.0, 2.5]),
    l2=st.sampled_from([0.1, 3.0]),
)
def test_slim_is_an_optimum(seed: int, l1: float, l2: float) -> None:
    """Karush, Kuhn, Tucker: the slope is 0 where a weight is positive, and ≥ 0 where it is 0."""
    given_pairs = seen(np.random.default_rng(seed))
    x = item_pairs.matrix(given_pairs).toarray()
    weights = dense(slim.weights(given_pairs, l1, l2, sweeps=10_000)).astype(np.float64)
    slope = x.T @ (x @ weights - x) + l1 + l2 * weights
    off = ~np.eye(len(weights), dtype=bool)
    assert (np.diag(weights) == 0).all()
    assert (weights >= 0).all()
    assert np.abs(slope[off & (weights > 0)]).max(initial=0) < 1e-4
    assert slope[off & (weights == 0)].min(initial=0) > -1e-4


def test_slim_that_has_not_settled_is_said(caplog: pytest.LogCaptureFixture) -> None:
    slim.weights(seen(np.random.default_rng(3), 0.6), 0.0, 0.1, sweeps=1)
    assert "still moved after 1 passes" in caplog.text


@pytest.mark.parametrize("name", ["ItemCF", "RP3beta", "SLIM"])
def test_few_meetings_are_kept_sparse_and_many_dense(name: str) -> None:
    loose = from_pairs([(u, i) for u in range(30) for i in (u, u + 1)], [], [], 30, 31)
    tight = from_pairs([(u, i) for u in range(9) for i in range(9) if i != u], [], [], 9, 9)
    apart, together = (fit(resolve(name), data, ("train",)) for data in (loose, tight))
    assert isinstance(apart, ItemItemModel)
    assert isinstance(together, ItemItemModel)
    assert not isinstance(apart.weights, np.ndarray)
    assert isinstance(together.weights, np.ndarray)
    x = item_pairs.matrix(loose.csr("train")).toarray()
    assert np.allclose(apart.scores(np.arange(30)), x @ apart.weights.toarray(), atol=1e-6)


def test_more_meetings_than_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_pairs, "free_bytes", lambda: 100)
    with pytest.raises(Mrl4recError, match="ItemCF on 4 items needs"):
        model("ItemCF")
