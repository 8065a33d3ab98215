"""iALS against textbook solves, its objective, its first values; EASE in a few numbers."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from mrl4rec.data.interactions import from_pairs
from mrl4rec.kernels import ials_torch
from mrl4rec.kernels.csr import Csr
from mrl4rec.models import ease, ease_svd, fit, ials, item_pairs, resolve
from mrl4rec.models.ials import Weights, normal
from mrl4rec.models.scorers import FactorModel

WEIGHTS = Weights(a0=0.05, lam=0.02, nu=0.7)


def interactions(n_users: int = 25, n_items: int = 40, share: float = 0.2) -> Csr:
    liked = np.random.default_rng(5).random((n_users, n_items)) < share
    liked[:, 7] = True  # everybody's
    liked[3] = False  # nobody
    rows = zip(*liked.nonzero(), strict=True)
    return from_pairs(rows, [], [], n_users, n_items).csr("train")


def textbook(x: np.ndarray, fixed: np.ndarray, weights: Weights) -> np.ndarray:
    """One side, a dense system a row, straight from the objective's derivative."""
    every = weights.a0 * fixed.T @ fixed
    out = np.empty((len(x), fixed.shape[1]))
    for row, liked in enumerate(x):
        chosen = fixed[liked > 0]
        ridge = weights.lam * (liked.sum() + weights.a0 * x.shape[1]) ** weights.nu
        system = chosen.T @ chosen + every + ridge * np.eye(fixed.shape[1])
        out[row] = np.linalg.solve(system, chosen.sum(axis=0))
    return out


def objective(x: np.ndarray, users: np.ndarray, items: np.ndarray, weights: Weights) -> float:
    scores = users.astype(np.float64) @ items.astype(np.float64).T
    loss = ((scores - 1)[x > 0] ** 2).sum() + weights.a0 * (scores**2).sum()
    for vectors, counts, others in ((users, x.sum(1), x.shape[1]), (items, x.sum(0), len(x))):
        loss += (weights.ridge(counts, others) * (vectors.astype(np.float64) ** 2).sum(1)).sum()
    return float(loss)


@pytest.mark.parametrize("most", [96, 0])
@pytest.mark.parametrize("dim", [3, 16])
def test_it_is_the_textbook_s_alternation(
    dim: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows with more and with fewer pairs than dimensions, by compiled loops and by LAPACK."""
    monkeypatch.setattr(ials, "MOST", most)
    seen = interactions()
    x = item_pairs.matrix(seen).toarray()
    items = normal(40, dim, 9, ials.ITEMS).astype(np.float64)
    for _ in range(3):
        users = textbook(x, items, WEIGHTS)
        items = textbook(x.T, users, WEIGHTS)
    found_users, found_items = ials.fit(seen, dim, WEIGHTS, 3, 9)
    assert np.allclose(found_users, users, atol=2e-5)
    assert np.allclose(found_items, items, atol=2e-5)
    assert (found_users[3] == 0).all()


@pytest.mark.parametrize("block", [ials_torch.BLOCK, 1])
@pytest.mark.parametrize("dim", [3, 16, 40])
def test_on_a_device_it_is_the_same(dim: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device's operations, on the CPU: by many rows at once and by one, of any length."""
    monkeypatch.setattr(ials_torch, "BLOCK", block)
    seen = interactions(share=0.3)
    assert len(set(seen.degrees.tolist())) > 5
    here = ials.fit(seen, dim, WEIGHTS, 3, 9)
    there = ials.fit_on_device(seen, dim, WEIGHTS, 3, 9, "cpu")
    for one, other in zip(here, there, strict=True):
        assert other.dtype == np.float32
        np.testing.assert_allclose(other, one, rtol=0, atol=2e-5)
    assert (there[0][3] == 0).all()


def test_few_lengths_fill_up_little() -> None:
    found = ials_torch.lengths(100)
    assert found == [0, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]
    assert ials_torch.lengths(0) == [0, 4]


def test_one_user_one_item_by_hand() -> None:
    """y = 0.1·normal; x = y / (y² (1 + a0) + λ (1 + a0)^ν), and back again."""
    seen = from_pairs([(0, 0)], [], [], 1, 1).csr("train")
    first = float(normal(1, 1, 4, ials.ITEMS)[0, 0])
    ridge = 0.02 * 1.05**0.7
    user = first / (1.05 * first**2 + ridge)
    item = user / (1.05 * user**2 + ridge)
    users, items = ials.fit(seen, 1, WEIGHTS, 1, 4)
    assert (users[0, 0], items[0, 0]) == pytest.approx((user, item), rel=1e-5)


def test_every_sweep_lowers_the_objective() -> None:
    seen = interactions()
    x = item_pairs.matrix(seen).toarray()
    losses = [objective(x, *ials.fit(seen, 6, WEIGHTS, n, 0), WEIGHTS) for n in range(1, 7)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]


def test_first_values_are_a_function_of_their_place() -> None:
    values = normal(3_000, 16, 7, ials.ITEMS).astype(np.float64)
    assert np.array_equal(values[:40], normal(40, 16, 7, ials.ITEMS).astype(np.float64))
    assert not np.array_equal(values, normal(3_000, 16, 8, ials.ITEMS))
    scaled = values * np.sqrt(16) / 0.1
    assert abs(scaled.mean()) < 4 / np.sqrt(values.size)
    assert abs((scaled**2).mean() - 1) < 4 * np.sqrt(2 / values.size)
    assert abs((scaled**4).mean() - 3) < 4 * np.sqrt(96 / values.size)  # Var x⁴ = 96


def test_seeds_give_other_vectors_and_rotation_the_same_scores() -> None:
    data = from_pairs([(u, i) for u in range(20) for i in range(u % 5, u % 5 + 4)], [], [], 20, 9)
    sets = ["iALS.dim=6", "iALS-wide.dim=6"]
    plain = fit(resolve("iALS", sets), data, ("train",), 1)
    wide = fit(resolve("iALS-wide", sets), data, ("train",), 1)
    other = fit(resolve("iALS", sets), data, ("train",), 2)
    assert isinstance(plain, FactorModel)
    assert isinstance(wide, FactorModel)
    everybody = np.arange(20)
    assert np.allclose(plain.scores(everybody), wide.scores(everybody), atol=1e-5)
    assert not np.array_equal(plain.scores(everybody), other.scores(everybody))
    squares = wide.item_vectors.T @ wide.item_vectors
    assert np.allclose(squares, np.diag(np.diag(squares)), atol=1e-5)
    assert (np.diff(np.diag(squares)) <= 1e-6).all()
    assert wide.widths == (4, 6)


@pytest.mark.parametrize("n_items", [20, 60])
def test_ease_svd_is_the_truncated_svd_at_every_width(n_items: int) -> None:
    """By all eigenvectors where there are few items, by Lanczos where there are many."""
    seen = interactions(50, n_items)
    assert (n_items > ease_svd.FEW * 4) == (n_items == 60)
    scores = item_pairs.matrix(seen).toarray() @ ease.weights(seen, 3.0)
    left, strength, right = np.linalg.svd(scores, full_matrices=False)
    users, items = ease_svd.vectors(seen, 3.0, 4)
    for width in range(1, 5):
        best = left[:, :width] * strength[:width] @ right[:width]
        assert np.allclose(users[:, :width] @ items[:, :width].T, best, atol=1e-4)


def test_more_dimensions_than_items_are_zeros() -> None:
    seen = from_pairs([(0, 0), (0, 1), (1, 1), (2, 0)], [], [], 3, 2).csr("train")
    users, items = ease_svd.vectors(seen, 1.0, 5)
    assert (users.shape, items.shape) == ((3, 5), (2, 5))
    scores = item_pairs.matrix(seen).toarray() @ ease.weights(seen, 1.0)
    assert np.allclose(users @ items.T, scores, atol=1e-5)


def test_every_blas_has_one_thread_in_a_fresh_process() -> None:
    """Also that of scipy, which is loaded at its first use: two were a third slower."""
    code = """
import numpy as np, threadpoolctl
from mrl4rec.models import ials
with ials.one_thread_of_blas():
    ials.lapack.sposv(np.eye(2, dtype=np.float32), np.ones(2, np.float32))
    print({each["num_threads"] for each in threadpoolctl.threadpool_info()
           if each["user_api"] == "blas"})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "2"},
    )  # fmt: skip
    assert done.stdout.strip() == "{1}"
