"""Routing against a case worked by hand, and MIND's first logits."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from mrl4rec.models.negatives import Place
from mrl4rec.models.sequential.base import Noise
from mrl4rec.models.sequential.capsules import routed, squash
from mrl4rec.models.sequential.interests import Examples, Level
from mrl4rec.models.sequential.mind import Mind, capsules_used, first_logits
from mrl4rec.models.sequential.softmax import Sample
from tests.mrl4rec.models.sequential import interest_samples as sample

THERE = torch.ones(1, 2, dtype=torch.bool)


def test_squash_by_hand() -> None:
    # ‖(3, 4)‖ = 5: 25/26 · (0.6, 0.8)
    assert_close(squash(torch.tensor([3.0, 4.0])), torch.tensor([15 / 26, 20 / 26]))
    zero = torch.zeros(2, requires_grad=True)
    squash(zero).sum().backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()


def by_hand() -> tuple[float, float]:
    """The capsule after three rounds, and its derivative by the first vote."""
    # Two items vote 2 and −2 (d = 1) for two capsules. First logits: item 1 (ln 3, 0), item 2
    # (0, ln 3), so that capsule 1 has 3/4 of item 1 and 1/4 of item 2. By symmetry the second
    # capsule is always minus the first, z = 2 (2s − 1) with s the share of item 1, v = z²/(1 + z²).
    # Round 1: s = 0.75, z = 1, v = 1/2; logits of item 1 part by 2 v − 2 (−v) = 4 v = 2.
    # Round 2: s = 1/(1 + e^−(ln 3 + 2)) = 0.956835, z = 1.827342, v = 0.769542; by 3.078168 more.
    # Round 3: s = 1/(1 + e^−(ln 3 + 5.078168)) = 0.997927, z = 1.991709, v = 0.798667.
    # Of the last round alone there is a derivative, shares held fixed: v'(z) = 2z/(1 + z²)²
    # = 3.983418/24.670 = 0.161467; times s.
    return 0.798667, 0.161467 * 0.997927


def test_routing_by_hand() -> None:
    votes = torch.tensor([[[[2.0], [-2.0]]]], dtype=torch.float64, requires_grad=True)
    logits = torch.tensor([[[math.log(3), 0.0], [0.0, math.log(3)]]], dtype=torch.float64)
    found = routed(votes, logits, THERE)
    value, slope = by_hand()
    assert found[0, :, 0].tolist() == pytest.approx([value, -value], abs=1e-6)
    found[0, 0, 0].backward()
    assert votes.grad is not None
    assert votes.grad[0, 0, 0, 0].item() == pytest.approx(slope, abs=1e-6)


def test_routing_with_votes_for_each_capsule_agrees_with_the_same_votes_shared() -> None:
    torch.manual_seed(0)
    shared, logits = torch.randn(3, 1, 5, 4), torch.randn(3, 2, 5)
    there = torch.rand(3, 5) < 0.8
    each = shared.expand(-1, 2, -1, -1).contiguous()
    assert_close(routed(shared, logits, there), routed(each, logits, there))


def test_first_logits_are_one_draw_for_everybody_when_served() -> None:
    windows = sample.windows([1, 2, 3], [4], [5, 6])
    found = first_logits(windows, 4, None)
    assert found.shape == (3, 4, sample.LENGTH)
    assert_close(found[0], found[2])
    assert_close(first_logits(windows[:, 4:], 4, None), found[:, :, 4:])  # counted from the newest


def test_first_logits_are_a_function_of_seed_step_and_example_in_training() -> None:
    windows = sample.windows(*[[1]] * 500)
    whole = first_logits(windows, 4, Noise(Place(3, 7, 0)))
    assert torch.equal(whole[200:], first_logits(windows[200:], 4, Noise(Place(3, 7, 200))))
    assert not torch.equal(whole, first_logits(windows, 4, Noise(Place(3, 8, 0))))
    assert not torch.equal(whole[0], whole[1])
    assert whole.abs().max() <= 2
    assert whole.mean().abs() < 0.02
    # a standard normal distribution cut at ±2 has a variance of 1 − 4 φ(2)/(2 Φ(2) − 1) = 0.7737
    assert whole.var().item() == pytest.approx(0.7737, abs=0.02)


def test_a_user_with_few_items_has_fewer_capsules() -> None:
    lengths = torch.tensor([1, 2, 3, 4, 7, 8, 16, 1000])
    assert capsules_used(lengths, 4).sum(1).tolist() == [1, 1, 1, 2, 2, 3, 4, 4]


def test_capsules_that_a_user_has_not_repeat_the_first() -> None:
    model = sample.started(sample.small("MIND", "adaptive=1"))
    few, many = model.net.encode(sample.windows([1, 2, 3, 4], [*range(10)])).unbind()
    assert torch.equal(few[2], few[0])
    assert torch.equal(few[3], few[0])
    assert not torch.equal(few[1], few[0])
    assert not torch.equal(many[2], many[0])  # 10 items: three capsules
    assert torch.equal(many[3], many[0])


@pytest.mark.parametrize(("power", "gap"), [(1.0, 1), (2.0, 3), (3.0, 7)])
def test_the_attention_of_the_target_by_hand(power: float, gap: int) -> None:
    # products 2 and 1 with the target: 2^p − 1^p apart, so that the first weighs e^gap as much
    users, own = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]), torch.tensor([[1.0, 1.0]])
    nobody = torch.tensor([9])
    given = Examples(nobody, nobody, torch.tensor([9]))
    level = Level(users, own, own, Sample(nobody, None), given, None)
    first = 1 / (1 + math.exp(-gap))
    found = Mind("hand", interests=2, sharpness=power).read(level)
    assert_close(found, torch.tensor([[2 * first, 1 - first]]))
    assert Mind("hand", interests=2, readout="argmax").read(level).tolist() == [[2.0, 0.0]]


def test_capsules_that_repeat_the_first_get_no_attention() -> None:
    users, own = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [2.0, 0.0]]]), torch.tensor([[1.0, 1.0]])
    four = torch.tensor([4])  # items, so that there are two capsules
    level = Level(users, own, own, Sample(four, None), Examples(four, four, four), None)
    first = 1 / (1 + math.exp(-3))
    found = Mind("hand", interests=3, adaptive=1).read(level)
    assert_close(found, torch.tensor([[2 * first, 1 - first]]))
