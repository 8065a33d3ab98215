"""The chunked softmax, held against torch's own, and its gradient against slopes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mrl4rec.kernels import softmax_torch

ROWS, ITEMS, D = 23, 11, 4


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, items and targets, in chunks of four rows."""
    monkeypatch.setitem(softmax_torch.LOGITS, "cpu", 4 * ITEMS + 1)
    drawn = torch.Generator().manual_seed(0)
    rows = torch.randn(ROWS, D, generator=drawn, dtype=torch.float64) * 3
    items = torch.randn(ITEMS, D, generator=drawn, dtype=torch.float64)
    targets = torch.randint(ITEMS, (ROWS,), generator=drawn)
    return rows.requires_grad_(), items.requires_grad_(), targets


def plain(rows: Tensor, items: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(rows @ items.T, targets, reduction="none")


WEIGHTS = (torch.ones(ROWS), torch.linspace(-1, 2, ROWS), torch.zeros(ROWS))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_values_and_gradients_are_those_of_cross_entropy(
    inputs: tuple[Tensor, Tensor, Tensor], weights: Tensor
) -> None:
    found, expected = softmax_torch.losses(*inputs), plain(*inputs)
    torch.testing.assert_close(found, expected)
    slopes = torch.autograd.grad((found * weights).sum(), inputs[:2])
    torch.testing.assert_close(slopes, torch.autograd.grad((expected * weights).sum(), inputs[:2]))


def test_the_gradient_is_that_of_finite_differences(
    inputs: tuple[Tensor, Tensor, Tensor],
) -> None:
    rows, items, targets = inputs
    assert torch.autograd.gradcheck(lambda *x: softmax_torch.losses(*x, targets), (rows, items))


def test_bfloat16_products_are_near(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    rows, items = (side.detach().float().requires_grad_() for side in inputs[:2])
    found = softmax_torch.losses(rows, items, inputs[2], half=True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), plain(*inputs), atol=0.05, rtol=0.02)
    found.sum().backward()
    exact = torch.autograd.grad(plain(*inputs).sum(), inputs[:2])
    for near, slope in zip((rows.grad, items.grad), exact, strict=True):
        assert near is not None
        assert (near - slope).norm() < 0.02 * slope.norm()


def test_large_logits_and_no_rows_are_finite() -> None:
    rows, items = torch.full((2, 1), 1e4), torch.tensor([[1.0], [0.0], [-1.0]])
    found = softmax_torch.losses(rows, items, torch.tensor([0, 2]))
    assert found.tolist() == [0.0, 2e4]
    none = softmax_torch.losses(rows[:0].requires_grad_(), items, torch.empty(0, dtype=torch.int64))
    none.sum().backward()
    assert none.shape == (0,)


def test_without_gradients_none_are_made(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    rows, items, targets = inputs
    found = softmax_torch.losses(rows.detach(), items.detach(), targets)
    torch.testing.assert_close(found, plain(*inputs).detach())


def sample(inputs: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Own logits, a sample that has the first three items twice, its log q and its numbers."""
    rows, items, targets = inputs
    numbers = torch.tensor([0, 1, 2, 0, 1, 2, 7])
    own = ((rows * items[targets]).sum(1) + 0.5).detach().requires_grad_()
    return own, items.detach()[numbers].requires_grad_(), torch.linspace(-2, 0, 7), numbers


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("corrected", [True, False])
def test_a_sample_is_held_against_the_own_logit(
    inputs: tuple[Tensor, Tensor, Tensor], weights: Tensor, corrected: bool
) -> None:
    own, others, log_q, numbers = sample(inputs)
    rows, _, targets = inputs
    logits = rows @ others.T - (log_q if corrected else 0)
    logits = logits.masked_fill(numbers == targets[:, None], -torch.inf)
    expected = torch.logsumexp(torch.cat([own[:, None], logits], 1), 1) - own
    found = softmax_torch.against(
        own, rows, others, log_q if corrected else None, (targets, numbers)
    )
    torch.testing.assert_close(found, expected)
    sides = (own, rows, others)
    slopes = torch.autograd.grad((found * weights).sum(), sides)
    torch.testing.assert_close(slopes, torch.autograd.grad((expected * weights).sum(), sides))


def test_a_sample_of_nothing_but_the_target_costs_nothing() -> None:
    own = torch.tensor([3.0], requires_grad=True)
    number = torch.tensor([4])
    found = softmax_torch.against(own, torch.ones(1, 2), torch.ones(1, 2), None, (number, number))
    found.sum().backward()
    assert (found.item(), own.grad.item() if own.grad is not None else None) == (0.0, 0.0)
