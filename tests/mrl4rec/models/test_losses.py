"""Losses beside bpr and mrl: values derived by hand, and gradients by finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mrl4rec.kernels.contrast_torch import log_sums, logsumexp, uniformity
from mrl4rec.models import METHODS
from mrl4rec.models.contrastive import Bsl, Ssm, alignment
from mrl4rec.models.factors import Factors, Vectors
from mrl4rec.models.mixing import (
    Dens,
    disentangling,
    relevant_of_negative,
    relevant_of_positive,
)
from mrl4rec.models.pairwise import bce, bpr_each
from mrl4rec.models.uib import Uib
from tests.mrl4rec.models.graph_samples import setup
from tests.mrl4rec.models.pair_samples import batch, learner, small

F64 = torch.float64
NAMES = [name for name, method in METHODS.items() if isinstance(method, Factors)]
"""Methods whose model can be swapped; the others have tests of their own."""


def sp(x: float) -> float:
    return math.log1p(math.exp(x))


def toy() -> tuple[Tensor, Tensor, Tensor]:
    """Two users, d = 2, two negatives: s_ui = 1.5 and 2; s_uj = (1.5, 1) and (1, 4)."""
    user = torch.tensor([[1.0, 0.5], [-1.0, 2.0]], dtype=F64)
    positive = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=F64)
    negative = torch.tensor([[[2.0, -1.0], [0.5, 1.0]], [[1.0, 1.0], [0.0, 2.0]]], dtype=F64)
    return user, positive, negative


def test_bce_classifies_each_item_on_its_own() -> None:
    expected = [sp(-1.5) + sp(1.5) + sp(1), sp(-2) + sp(1) + sp(4)]
    assert bce(*toy(), (2,)).tolist() == pytest.approx(expected, rel=1e-12)


def test_a_loss_for_every_negative_is_a_sum() -> None:
    expected = [sp(0) + sp(-0.5), sp(-1) + sp(2)]
    assert bpr_each(*toy(), (2,)).tolist() == pytest.approx(expected, rel=1e-12)


def sampled_softmax(positive_B: Tensor, logs_B: Tensor, tau: float) -> Tensor:
    return Ssm("SSM", tau=tau).softmax_losses(positive_B, logs_B)


def log_ratio(positive_B: Tensor, logs_B: Tensor, tau: float, ratio: float) -> Tensor:
    return Bsl("BSL", tau=tau, ratio=ratio).softmax_losses(positive_B, logs_B)


def uib(dim: int, a: float, form: str, seed: int) -> tuple[Callable[..., Tensor], Vectors]:
    """The losses of rows, and the model with the head."""
    method = Uib("UIB", a=a, form=form)
    model = method.start(setup(dim, seed))
    return lambda *rows: method.losses(model, *rows), model


def boundary(form: str) -> Callable[..., Tensor]:
    """w = (1, −1), c = 0.25: b = 0.75 and −2.75 for the toy's users; a = 0.2."""
    losses, model = uib(2, 0.2, form, 0)
    with torch.no_grad():
        model.parameters["objective.weight"].copy_(torch.tensor([[1.0, -1.0]]))
        model.parameters["objective.bias"].fill_(0.25)
    return losses


@pytest.mark.parametrize(("form", "weight"), [("convex", 0.8), ("paper", 1.0)])
def test_uib_sets_positives_above_and_negatives_below_the_users_own_boundary(
    form: str, weight: float
) -> None:
    user, positive, negative = toy()
    found = boundary(form)(user, positive, negative[:, :1])
    expected = [
        weight * sp(0.75 - 1.5) + 0.2 * sp(1.5 - 0.75),
        weight * sp(-2.75 - 2) + 0.2 * sp(1 + 2.75),
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


def test_broadcast_uib_compares_every_boundary_with_every_example() -> None:
    """As the paper authors' code: the column of boundaries makes a (B, B) term of the positives,
    and sums the negatives of the whole batch before the logarithm."""
    user, positive, negative = toy()
    found = boundary("broadcast")(user, positive, negative[:, :1])
    expected = [
        0.8 * (sp(b - 1.5) + sp(b - 2)) / 2
        + 0.2 * sp(math.log(math.exp(1.5 - b) + math.exp(1 - b)))
        for b in (0.75, -2.75)
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


def test_an_examples_uib_is_its_own_unless_broadcast() -> None:
    rng = torch.Generator().manual_seed(0)
    rows = [torch.randn(s, generator=rng, dtype=F64) for s in ((4, 8), (4, 8), (4, 1, 8))]
    for form, alone in (("convex", True), ("paper", True), ("broadcast", False)):
        loss, _ = uib(8, 0.2, form, 3)
        whole, first = loss(*rows), loss(*(row[:1] for row in rows))
        assert whole.shape == (4,)
        assert torch.allclose(whole[:1], first) == alone


def test_softmax_losses_differ_in_whether_the_positive_is_below_the_line() -> None:
    own = torch.tensor([1.0, 2.0], dtype=F64)
    others = torch.tensor([[0.0, -math.inf], [1.0, 3.0]], dtype=F64)
    shares = [math.exp(2) / (math.exp(2) + 1), math.exp(4) / sum(math.exp(x) for x in (4, 2, 6))]
    logs = logsumexp(others / 0.5)
    found = sampled_softmax(own, logs, 0.5)
    assert found.tolist() == pytest.approx([-math.log(share) for share in shares], rel=1e-12)
    expected = [-2.0, 1.5 * math.log(math.exp(2) + math.exp(6)) - 4]
    assert log_ratio(own, logs, 0.5, 1.5).tolist() == pytest.approx(expected, rel=1e-12)


def test_an_example_without_a_negative_has_a_finite_gradient() -> None:
    own = torch.tensor([1.0], dtype=F64, requires_grad=True)
    scores = torch.tensor([[2.0, 3.0]], dtype=F64, requires_grad=True)
    for loss in (lambda o, s: sampled_softmax(o, s, 0.5), lambda o, s: log_ratio(o, s, 0.5, 1.3)):
        masked = scores.masked_fill(torch.ones(1, 2, dtype=torch.bool), -math.inf)
        total = loss(own, logsumexp(masked / 0.5)).sum()
        gradients = torch.autograd.grad(total, [own, scores])
        assert all(torch.isfinite(part).all() for part in (total, *gradients))
        assert gradients[1].tolist() == [[0.0, 0.0]]


def left_out(shape: tuple[int, int]) -> Tensor:
    """The first example leaves out everything, the others some."""
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(9)) < 0.3
    mask[0] = True
    return mask


def test_sums_made_in_place_are_those_of_the_scores_themselves() -> None:
    rng = torch.Generator().manual_seed(2)
    users, others = (
        torch.randn(n, 8, generator=rng, dtype=F64, requires_grad=True) for n in (5, 9)
    )
    mask = left_out((5, 9))
    scores = (users @ others.T / 0.2).masked_fill(mask, -math.inf)
    plain, weights = logsumexp(scores), torch.arange(1.0, 6.0, dtype=F64)
    found = log_sums(users, others, mask, 0.2)
    assert found[0] == -math.inf
    assert torch.allclose(found, plain, rtol=1e-12)
    by_hand, own = (
        torch.autograd.grad((logs[1:] * weights[1:]).sum(), [users, others])
        for logs in (plain, found)
    )
    assert all(torch.allclose(a, b, rtol=1e-10) for a, b in zip(by_hand, own, strict=True))
    assert own[0][0].tolist() == [0.0] * 8


def test_alignment_and_uniformity_by_hand() -> None:
    east, north = [1.0, 0.0], [0.0, 1.0]
    assert alignment(torch.tensor([east, north]), torch.tensor([east, east])).item() == 1.0
    assert uniformity(torch.tensor([east, north], dtype=F64)).item() == pytest.approx(-4)
    three = uniformity(torch.tensor([east, north, east], dtype=F64)).item()
    assert three == pytest.approx(math.log((1 + 2 * math.exp(-4)) / 3), rel=1e-12)
    assert uniformity(torch.tensor([east])).item() == 0


def test_gates_split_an_item_and_their_loss_sets_the_parts_apart() -> None:
    model = Dens("DENS").start(setup(2, 0))
    parameters = model.parameters
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.zero_()
        parameters["gates.biases.user"].copy_(torch.tensor([math.log(3), 0]))
        parameters["gates.biases.negative"].copy_(torch.tensor([0, -math.log(3)]))
    item = torch.tensor([[4.0, 8.0]], dtype=F64)
    assert relevant_of_positive(model, item, item).tolist()[0] == pytest.approx([3, 4])
    assert relevant_of_negative(model, item, item).tolist()[0] == pytest.approx([2, 2])
    user = torch.tensor([[1.0, 2.0]], dtype=F64)
    parts = [torch.tensor([x], dtype=F64) for x in ([1, 0], [0, 1], [0, 0.5], [1, 0])]
    found = disentangling(user, (parts[0], parts[1]), (parts[2], parts[3]))
    assert found.item() == pytest.approx(sp(2 - 1) + sp(1 - 1) + sp(1 - 1) + sp(2 - 1))


def sums(users: Tensor, others: Tensor) -> Tensor:
    return log_sums(users, others, left_out((len(users), len(others))), 0.3)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "bce": lambda u, p, n: bce(u, p, n, (4,)),
    "bpr_each": lambda u, p, n: bpr_each(u, p, n, (4,)),
    "ssm": lambda u, p, n: sampled_softmax((u * p).sum(1), sums(u, n[:, 0]), 0.3),
    "bsl": lambda u, p, n: log_ratio((u * p).sum(1), sums(u, n[:, 0]), 0.3, 1.3),
    "directau": lambda u, p, n: alignment(u, p) + 0.5 * uniformity(normalize(n[:, 0])),
    **{form: uib(4, 0.3, form, 1)[0] for form in ("convex", "paper", "broadcast")},
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    rng = torch.Generator().manual_seed(4)
    rows = [
        torch.randn(shape, generator=rng, dtype=F64, requires_grad=True)
        for shape in ((3, 4), (3, 4), (3, 2, 4))
    ]
    assert torch.autograd.gradcheck(LOSSES[name], rows)


@pytest.mark.parametrize("model", ["mf", "lightgcn-1"])
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_of_a_whole_step_is_its_slope_in_every_parameter(
    name: str, model: str
) -> None:
    """Along one direction over all parameters; draws and choices stay as they are at this scale."""
    one = learner(small(name, model))
    users, positives = batch(one.task)
    one.loss(users, positives, 3).backward()
    parameters = list(one.parts.parameters())
    rng = torch.Generator().manual_seed(2)
    ways = [torch.randn(p.shape, generator=rng, dtype=F64) for p in parameters]
    slope = sum((p.grad * way).sum().item() for p, way in zip(parameters, ways, strict=True))
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, way in zip(parameters, ways, strict=True):
                p += sign * 1e-6 * way
            values.append(one.loss(users, positives, 3).item())
            for p, way in zip(parameters, ways, strict=True):
                p -= sign * 1e-6 * way
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_parameters_of_the_loss_are_drawn_from_the_seed() -> None:
    for name in ("UIB", "DENS"):
        first, again, other = (learner(small(name), seed=seed) for seed in (1, 1, 2))
        for part, same, different in zip(
            *(one.parts.named() for one in (first, again, other)), strict=True
        ):
            assert torch.equal(part[1], same[1])
            assert not torch.equal(part[1], different[1]) or part[0].endswith("bias")


def test_broadcast_is_told_apart_from_a_sum_over_examples() -> None:
    assert Uib("UIB").sums_over_examples
    assert not Uib("UIB", form="broadcast").sums_over_examples
