"""MixGCF and DENS by brute force: what each layer takes, and where gradient goes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from mrl4rec.core.hashing import SALT_DRAW, chain
from mrl4rec.models.mixing import Dens, relevant_of_negative, relevant_of_positive
from mrl4rec.models.negatives import Place
from tests.mrl4rec.models.pair_samples import SEED, batch, learner, small

STEP = 3


def sp(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.softplus(x)


@pytest.mark.parametrize("model", ["mf", "lightgcn-2"])
def test_mixgcf_takes_in_each_layer_the_mixture_that_scores_best(model: str) -> None:
    one = learner(replace(small("MixGCF", model), l2=0.0))
    users, positives = batch(one.task)
    layers_U, layers_I = (layers.detach() for layers in one.parts.model.hops())
    n_layers = layers_U.shape[1]
    drawn = one.parts.model.sampler.draw(users, Place(SEED, STEP, 0))[:, 0]
    expected = 0.0
    for b, (user, positive) in enumerate(zip(users.tolist(), positives.tolist(), strict=True)):
        pooled = layers_U[user].mean(0)
        parts = []
        for h in range(n_layers):
            word = chain(SEED, SALT_DRAW, STEP, b, 0, drawn.shape[1] + h, 0)
            a = (word >> 11) * 2.0**-53
            mixed = [a * layers_I[positive, h] + (1 - a) * layers_I[c, h] for c in drawn[b]]
            parts.append(max(mixed, key=lambda vector, pooled=pooled: float(pooled @ vector)))
        negative, own = torch.stack(parts).mean(0), layers_I[positive].mean(0)
        expected += sp(pooled @ negative - pooled @ own).item() / len(users)
    assert one.loss(users, positives, STEP).item() == pytest.approx(expected, rel=1e-12)


def test_mixgcfs_negative_pulls_on_the_positive_too() -> None:
    """With matrix factorisation the gap is (1 − a)·(s_uc − s_ui): so is the positive's slope."""
    one = learner(replace(small("MixGCF"), l2=0.0))
    users, positives = batch(one.task, n=1)
    loss = one.loss(users, positives, STEP)
    loss.backward()
    tables = one.parts.model
    n = one.plan.trained.negatives.candidates
    a = (chain(SEED, SALT_DRAW, STEP, 0, 0, n, 0) >> 11) * 2.0**-53
    user = tables.users.detach()[users[0]]
    sigma = 1 - math.exp(-loss.item())  # of the gap, as the loss is sp of it
    assert torch.allclose(tables.items.grad[positives[0]], -(1 - a) * sigma * user)


@pytest.mark.parametrize(("warm_up", "step"), [(0, 0), (2, 0), (2, 10), (2, 10**4)])
@pytest.mark.parametrize("model", ["mf", "lightgcn-1"])
def test_dens_takes_in_each_layer_the_candidate_with_the_best_rest(
    model: str, warm_up: int, step: int
) -> None:
    method = small("DENS", model)
    assert isinstance(method, Dens)
    one = learner(replace(method, l2=0.0, warm_up=warm_up, alpha=0.3, gamma=0.7))
    users, positives = batch(one.task)
    epoch = step // one.task.steps(method.batch)[0]
    fade = min(1.0, epoch / warm_up) if warm_up else 0.3
    layers_U, layers_I = (layers.detach() for layers in one.parts.model.hops())
    tables: Any = one.parts.model
    drawn = one.parts.model.sampler.draw(users, Place(SEED, step, 0))[:, 0]
    expected = 0.0
    for b, (user, positive) in enumerate(zip(users.tolist(), positives.tolist(), strict=True)):
        pooled = layers_U[user].mean(0)
        sums = [torch.zeros(8, dtype=torch.float64) for _ in range(4)]
        for h in range(layers_U.shape[1]):
            e_i = layers_I[positive, h]
            relevant = relevant_of_positive(tables, pooled, e_i).detach()
            best, taken = -math.inf, None
            for c in drawn[b]:
                part = relevant_of_negative(tables, relevant, layers_I[c, h]).detach()
                score = float(pooled @ ((1 - fade) * layers_I[c, h] - part))
                if score > best:
                    best, taken = score, (layers_I[c, h], part)
            assert taken is not None
            for sum_, vector in zip(sums, (e_i, relevant, *taken), strict=True):
                sum_ += vector / layers_U.shape[1]
        s = [float(pooled @ sum_) for sum_ in sums]
        own, r_plus, other, r_minus = s
        q_plus, q_minus = own - r_plus, other - r_minus
        gaps = (q_plus - r_plus, r_minus - q_minus, r_minus - r_plus, q_plus - q_minus)
        apart = sum(math.log1p(math.exp(gap)) for gap in gaps)
        expected += (math.log1p(math.exp(other - own)) + 0.7 / 4 * apart) / len(users)
    assert one.loss(users, positives, step).item() == pytest.approx(expected, rel=1e-12)
    there = one.loss(users, positives, torch.tensor(step))
    assert there.item() == pytest.approx(expected, rel=1e-12)


def test_layers_are_pooled_into_the_vectors() -> None:
    for model in ("mf", "lightgcn-2"):
        one = learner(small("MixGCF", model)).parts.model
        for pooled, layers in zip(one.pooled(), one.hops(), strict=True):
            assert torch.allclose(pooled, layers.mean(1), rtol=1e-12)
