"""Losses against values derived by hand, and Theorem 2.1 of the paper."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mrl4rec.models.factors import squared_norms
from mrl4rec.models.pairwise import bpr, mrl, prefix_scores


def sp(x: float) -> float:
    return math.log1p(math.exp(x))


def toy() -> tuple[Tensor, Tensor, Tensor]:
    """Two users, d = 2, levels (1, 2), one negative a level.

    user 0: s_ui = 1.5, s¹_ui = 1; j_1: s = 1.5, s¹ = 2; j_2: s = 1.
    user 1: s_ui = 2, s¹_ui = 0; j_1: s = 1, s¹ = −1; j_2: s = 4.
    """
    user = torch.tensor([[1.0, 0.5], [-1.0, 2.0]], dtype=torch.float64)
    positive = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    negative = torch.tensor(
        [[[2.0, -1.0], [0.5, 1.0]], [[1.0, 1.0], [0.0, 2.0]]], dtype=torch.float64
    )
    return user, positive, negative


def test_mrl_is_the_mean_of_separate_losses_each_on_its_slice() -> None:
    user, positive, negative = toy()
    expected = [(sp(1.0) + sp(-0.5)) / 2, (sp(-1.0) + sp(2.0)) / 2]
    assert mrl(user, positive, negative, (1, 2)).tolist() == pytest.approx(expected, rel=1e-12)


def test_bpr_m_is_one_loss_over_all_negatives_at_full_width() -> None:
    user, positive, negative = toy()
    expected = [math.log(1 + 1 + math.exp(-0.5)), math.log(1 + math.exp(-1) + math.exp(2))]
    assert bpr(user, positive, negative, (1, 2)).tolist() == pytest.approx(expected, rel=1e-12)


def test_regulariser_counts_every_negative_at_full_width() -> None:
    assert squared_norms(*toy()).item() == 1.25 + 5 + 2 + 1 + 5 + 1.25 + 2 + 4


def test_one_negative_serves_every_level() -> None:
    user, positive, negative = toy()
    once = mrl(user, positive, negative[:, :1], (1, 2))
    twice = mrl(user, positive, negative[:, :1].expand(-1, 2, -1), (1, 2))
    assert once.tolist() == pytest.approx(twice.tolist(), rel=1e-12)


def test_mrl_with_one_level_is_bpr() -> None:
    user, positive, negative = toy()
    one = negative[:, :1]
    assert torch.equal(mrl(user, positive, one, (2,)), bpr(user, positive, one, (2,)))


def test_prefix_scores_are_inner_products_of_prefixes() -> None:
    generator = torch.Generator().manual_seed(0)
    user = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    item = torch.randn(5, 3, 12, generator=generator, dtype=torch.float64)
    levels = (2, 7, 12)
    for column, width in enumerate(levels):
        own = (user[:, :width] * item[:, column, :width]).sum(1)
        shared = (user[:, :width] * item[:, 0, :width]).sum(1)
        assert torch.allclose(prefix_scores(user, item, levels)[:, column], own)
        assert torch.allclose(prefix_scores(user, item[:, :1], levels)[:, column], shared)


def test_large_scores_do_not_overflow() -> None:
    user = torch.full((1, 2), 1e3)
    negative = torch.full((1, 2, 2), 1e3)
    for objective in (bpr, mrl):
        assert torch.isfinite(objective(user, -user, negative, (1, 2))).all()


LEVELS = (2, 4, 8)


def gradients(objective: object, negative: Tensor, user: Tensor, positive: Tensor) -> list[Tensor]:
    """Gradients of user, positive and negatives."""
    rows = [row.clone().requires_grad_() for row in (user, positive, negative)]
    objective(*rows, LEVELS).sum().backward()  # type: ignore[operator]
    return [row.grad for row in rows]


def random_rows(negatives: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [(6, 8), (6, 8), (6, negatives, 8)]
    return tuple(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)


def test_theorem_2_1_same_triplet_gives_the_same_direction_in_every_slice() -> None:
    """In slice m all three are BPR's times Σ_{l ≥ m} w_l σ(gap_l) / σ(gap), which is positive."""
    user, positive, negative = random_rows(1)
    of_bpr = gradients(bpr, negative, user, positive)
    of_mrl = gradients(mrl, negative, user, positive)
    factors = []
    for low, high in zip((0, *LEVELS), LEVELS, strict=False):
        ratios = torch.stack(
            [
                (m.reshape(6, 8) / b.reshape(6, 8))[:, low:high]
                for m, b in zip(of_mrl, of_bpr, strict=True)
            ]
        )
        factor = ratios[0, :, :1]
        assert (factor > 0).all()
        assert torch.allclose(ratios, factor.expand_as(ratios), rtol=1e-9)
        factors.append(factor)
    assert not torch.allclose(factors[0], factors[1], rtol=1e-3)
    assert not torch.allclose(factors[1], factors[2], rtol=1e-3)


def test_theorem_2_1_own_negatives_give_other_directions() -> None:
    user, positive, negative = random_rows(3)
    of_mrl = gradients(mrl, negative, user, positive)[0]
    of_bpr = gradients(bpr, negative[:, 2:], user, positive)[0]
    for low, high in zip((0, *LEVELS[:-1]), LEVELS[:-1], strict=False):
        cosine = torch.cosine_similarity(of_mrl[:, low:high], of_bpr[:, low:high], dim=1)
        assert (cosine.abs() < 0.999).all()
