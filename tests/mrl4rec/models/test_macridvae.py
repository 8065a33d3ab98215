"""MacridVAE on a handful of users, held against its equations written densely in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrl4rec.kernels import mixture_torch
from mrl4rec.models.macridvae import Macrid, MacridVAE, Noise, Rows, draw, terms
from tests.mrl4rec.models.graph_samples import (
    SEEN,
    check_slopes,
    logsumexp,
    numpy,
    setup,
    steep,
    unit,
)

ITEMS, K, D, H, TAU, STD = 6, 3, 4, 5, 0.2, 0.1
HISTORY = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 1, 0]], dtype=float)


@pytest.fixture
def model() -> MacridVAE:
    made = Macrid("X", dim=D, concepts=K, hidden=H, tau=TAU).start(setup(D, 4))
    steep(made)
    with torch.no_grad():
        made.first_bias += 0.1
        made.second_bias -= 0.2
    return made


@pytest.fixture
def rows() -> Rows:
    begins = torch.tensor([0, 2, 2])
    return Rows(torch.tensor([0, 2, 3]), begins, torch.tensor([0, 1, 0, 3, 4]))


def drawn(rows: Rows, seed: int = 0) -> Noise:
    rng = np.random.default_rng(seed)
    kept = np.array([2.0, 0, 2, 2, 0])
    parts = (rng.gumbel(size=(ITEMS, K)), kept, rng.normal(size=(3, K, D)))
    return Noise(*(torch.from_numpy(part) for part in parts))


def encoded(model: MacridVAE, inputs: np.ndarray, mixing: np.ndarray) -> tuple:
    first, second, bias_1, bias_2 = numpy(
        model.first, model.second, model.first_bias, model.second_bias
    )
    places, variances = [], []
    for concept in range(K):
        out = np.tanh((inputs * mixing[:, concept]) @ first + bias_1) @ second + bias_2
        places.append(unit(out[:, :D]))
        variances.append(out[:, D:])
    return np.stack(places, axis=1), np.stack(variances, axis=1)


def mixed(model: MacridVAE, gumbel: np.ndarray | float = 0.0) -> np.ndarray:
    items, concepts = numpy(model.items, model.concepts)
    logits = unit(items) @ unit(concepts).T / TAU + gumbel
    return logits - logsumexp(logits, 1)[:, None]


def test_rows_know_their_places_and_counts(rows: Rows) -> None:
    assert rows.place_X.tolist() == [0, 0, 2, 2, 2]
    assert rows.counts_B.tolist() == [2, 0, 3]
    late = Rows(torch.arange(2), torch.tensor([0, 1]), torch.tensor([5]))
    assert (late.place_X.tolist(), late.counts_B.tolist()) == ([0], [1, 0])


def test_the_terms_are_those_of_the_equations(model: MacridVAE, rows: Rows) -> None:
    noise = drawn(rows)
    gumbel, kept, normal = numpy(*noise)
    log_mixing = mixed(model, gumbel)
    lengths = np.sqrt(HISTORY.sum(1, keepdims=True))
    inputs = HISTORY / np.where(lengths > 0, lengths, 1)
    inputs[HISTORY > 0] *= kept
    places, variances = encoded(model, inputs, np.exp(log_mixing))
    codes = places + normal * np.exp(variances / 2) * STD
    codes /= np.sqrt((codes**2).sum(2, keepdims=True))
    (items,) = numpy(model.items)
    logits = np.einsum("bkd,id->bik", codes, unit(items)) / TAU + log_mixing
    logs = logsumexp(logits, 2)
    logs -= logsumexp(logs, 1)[:, None]
    found = terms(model, rows, noise, STD)
    assert np.isclose(float(found.surprise), -(HISTORY * logs).sum())
    assert np.isclose(float(found.divergence), -0.5 * (1 + variances - np.exp(variances)).sum())


def test_slopes(model: MacridVAE, rows: Rows) -> None:
    noise = drawn(rows)

    def loss() -> torch.Tensor:
        found = terms(model, rows, noise, STD)
        return found.surprise + 0.3 * found.divergence

    check_slopes(model, loss)


def test_what_it_scores_with(model: MacridVAE, rows: Rows) -> None:
    found = {name: part.numpy() for name, part in model.vectors(rows).items()}
    lengths = np.sqrt(HISTORY.sum(1, keepdims=True))
    inputs = HISTORY / np.where(lengths > 0, lengths, 1)
    mixing = np.exp(mixed(model))
    places, _ = encoded(model, inputs, mixing)
    assert np.allclose(found["user_concepts"], places / TAU)
    assert np.allclose(found["item_vectors"], unit(numpy(model.items)[0]))
    assert np.allclose(found["mixing"], mixing)
    assert np.allclose(found["mixing"].sum(1), 1)


def test_noise_goes_by_user_and_item_not_by_place_in_the_batch(model: MacridVAE) -> None:
    def rows_of(users: list[int]) -> Rows:
        lists = [SEEN.row(user) for user in users]
        begins = np.concatenate([[0], np.cumsum([len(items) for items in lists])])[:-1]
        items = np.concatenate(lists).astype(np.int64)
        return Rows(torch.tensor(users), torch.from_numpy(begins), torch.from_numpy(items))

    one = draw(model, rows_of([0, 1, 3]), seed=5, step=9, drop=0.5)
    other = draw(model, rows_of([3, 0]), seed=5, step=torch.tensor(9), drop=0.5)
    assert torch.equal(one.gumbel_IK, other.gumbel_IK)
    assert torch.equal(one.normal_BKd[[2, 0]], other.normal_BKd)
    assert torch.equal(one.kept_X[[5, 6, 7, 0, 1]], other.kept_X)
    assert set(one.kept_X.tolist()) <= {0.0, 2.0}
    later = draw(model, rows_of([3, 0]), seed=5, step=10, drop=0.5)
    assert not torch.equal(later.gumbel_IK, other.gumbel_IK)
    assert not torch.equal(later.normal_BKd, other.normal_BKd)


@pytest.mark.parametrize("at_once", [1, 1 << 20])
def test_log_totals_is_the_same_however_it_is_cut(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixture_torch, "AT_ONCE", at_once)
    rng = np.random.default_rng(2)
    shapes = ((5, K, D), (ITEMS, D), (ITEMS, K))
    users, items, mixing = (
        torch.from_numpy(rng.normal(size=shape)).requires_grad_() for shape in shapes
    )
    weights = torch.tensor([1, 0, 2, 3, 1])
    logits = torch.einsum("bkd,id->bik", users, items) + mixing
    expected = (weights * torch.logsumexp(logits, dim=(1, 2))).sum()
    bound = float(logits.abs().max())
    found = mixture_torch.log_totals(users, items, mixing, bound, weights)
    assert torch.isclose(found, expected)
    inputs = (users, items, mixing)
    slopes = zip(
        torch.autograd.grad(3 * found, inputs), torch.autograd.grad(3 * expected, inputs),
        strict=True,
    )  # fmt: skip
    assert all(torch.allclose(one, other) for one, other in slopes)
