"""LightGCN against dense matrices, and the step's loss and gradients against hand and formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mrl4rec.core.settings import Settings
from mrl4rec.data.interactions import from_pairs
from mrl4rec.kernels.csr import csr
from mrl4rec.models import Batch, Setup, resolve
from mrl4rec.models.factors import LightGCN
from mrl4rec.models.negatives import Place
from mrl4rec.models.pairwise import Pairwise
from mrl4rec.models.samplers import Uniform
from mrl4rec.training.group import Group
from mrl4rec.training.learner import Learner
from mrl4rec.training.request import TrainRequest, plan
from mrl4rec.training.tasks import tasks

PAIRS = [(0, 0), (0, 1), (1, 1), (1, 2), (2, 1)]


def test_propagation_by_hand() -> None:
    """One edge weighs 1/√(degree · degree): user 0 (degree 2) – item 1 (degree 3): 1/√6."""
    users, items = np.array(PAIRS).T
    seen = csr(users, items, 4, 4)
    model = LightGCN(Setup(seen, 1, None, 0, dtype="float64"), Uniform(), 1)
    with torch.no_grad():
        model.users.copy_(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
        model.items.copy_(torch.tensor([[5.0], [6.0], [7.0], [8.0]]))
    pooled_users, pooled_items = model.pooled()
    user_0 = (1 + 5 / math.sqrt(2 * 1) + 6 / math.sqrt(2 * 3)) / 2
    item_1 = (6 + 1 / math.sqrt(2 * 3) + 2 / math.sqrt(2 * 3) + 3 / math.sqrt(1 * 3)) / 2
    assert pooled_users[0].item() == pytest.approx(user_0, rel=1e-12)
    assert pooled_items[1].item() == pytest.approx(item_1, rel=1e-12)
    assert pooled_users[3].item() == 2.0  # no edges: half of itself
    assert pooled_items[3].item() == 4.0


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_propagation_and_its_gradient_equal_dense_matrices(layers: int) -> None:
    rng = np.random.default_rng(3)
    dense = rng.random((30, 20)) < 0.15
    users, items = dense.nonzero()
    model = LightGCN(
        Setup(csr(users, items, 30, 20), 5, None, 1, dtype="float64"), Uniform(), layers
    )
    adjacency = np.zeros((50, 50))
    adjacency[:30, 30:] = dense
    adjacency += adjacency.T
    scale = 1 / np.sqrt(np.maximum(adjacency.sum(1), 1))
    graph = torch.from_numpy(scale[:, None] * adjacency * scale)
    nodes = torch.cat([model.users, model.items]).detach().requires_grad_()
    expected = sum(torch.linalg.matrix_power(graph, h) @ nodes for h in range(layers + 1))
    expected = expected / (layers + 1)
    found = torch.cat(model.pooled())
    assert torch.allclose(found, expected, rtol=1e-10)
    weights = torch.randn(50, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    gradient = torch.cat([model.users.grad, model.items.grad])  # type: ignore[list-item]
    assert torch.allclose(gradient, nodes.grad, rtol=1e-10)


class Fixed:
    """A sampler that always gives the same negatives."""

    def __init__(self, negatives: torch.Tensor) -> None:
        self.negatives = negatives

    def choose(self, *_: object) -> torch.Tensor:
        return self.negatives


def sp(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("method", "loss"),
    [
        ("MRL-M", ((sp(1) + sp(-0.5)) / 2 + (sp(-1) + sp(2)) / 2) / 2),
        ("BPR-M", (math.log(2 + math.exp(-0.5)) + math.log(1 + math.exp(-1) + math.exp(2))) / 2),
    ],
)
def test_the_whole_step_of_two_users_by_hand(method: str, loss: float) -> None:
    """The toy of test_objectives as tables, plus (l2/2)/B · 21.5 with l2 = 0.1 and B = 2."""
    overrides = [f"{method}.dim=2", f"{method}.l2=0.1"]
    made = resolve(method, overrides)
    assert isinstance(made, Pairwise)
    seen = csr(np.array([0, 1]), np.array([0, 1]), 2, 6)
    model = made.start(Setup(seen, 2, (1, 2), 0, dtype="float64"))
    items = [[1, 1], [0, 1], [2, -1], [0.5, 1], [1, 1], [0, 2]]
    with torch.no_grad():
        model.users.copy_(torch.tensor([[1, 0.5], [-1, 2]]))
        model.items.copy_(torch.tensor(items))
    model.sampler = Fixed(torch.tensor([[2, 3], [4, 5]]))  # type: ignore[assignment]
    found = made.loss(model, Batch(torch.tensor([0, 1]), torch.tensor([0, 1]), Place(0, 0, 0), 2))
    assert found.item() == pytest.approx(loss + 0.1 / 2 / 2 * 21.5, rel=1e-12)


def learner(name: str, settings: Settings, group: Group | None = None) -> Learner:
    overrides = [f"{name}.dim=8", f"{name}.lr=0.01", f"{name}.l2=0.1", f"{name}.candidates=4"]
    request = TrainRequest(resolve(name, overrides), (2, 8), 5, device="cpu", dtype="float64")
    rng = np.random.default_rng(1)
    pairs = list(zip(*(rng.random((40, 30)) < 0.2).nonzero(), strict=True))
    (task,) = tasks(from_pairs(pairs[::2], pairs[1::4], pairs[3::4], 40, 30), "paper")
    return Learner(task, plan(request, settings), group or Group())


@pytest.mark.parametrize("batch", [61, 2])
@pytest.mark.parametrize("name", ["MRL-M", "MRL-M@lightgcn-2", "BPR-D"])
def test_shares_of_a_batch_add_up_to_its_loss_and_gradient(
    name: str, batch: int, settings: Settings
) -> None:
    """Three ranks: shares of unequal size, and an empty one for the batch of two."""
    whole = learner(name, settings)
    users = torch.from_numpy(whole.task.users_P[:batch])
    items = torch.from_numpy(whole.task.items_P[:batch])
    expected = whole.loss(users, items, 3)
    expected.backward()
    total = 0.0
    gradient = torch.zeros_like(whole.parts.model.items)
    for rank in range(3):
        part = learner(name, settings)
        part.group = Group(rank, 3)
        loss = part.loss(users, items, 3)
        loss.backward()
        total += loss.item()
        gradient += part.parts.model.items.grad
    assert total == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(gradient, whole.parts.model.items.grad, rtol=1e-9, atol=1e-15)


def test_layer_0_rows_are_regularised_not_the_pooled_ones(settings: Settings) -> None:
    one = learner("MRL-M@lightgcn-2", settings)
    users, items = torch.tensor([1]), torch.tensor([2])
    with_l2 = one.loss(users, items, 0).item()
    one.parts.method = one.parts.method.changed(l2=0.0)
    without = one.loss(users, items, 0).item()
    chosen = one.parts.model.sampler.choose(users, *one.parts.model.pooled(), Place(5, 0, 0))
    norms = one.parts.model.users[1].pow(2).sum() + one.parts.model.items[2].pow(2).sum()
    norms = norms + one.parts.model.items[chosen[0]].pow(2).sum()
    assert with_l2 - without == pytest.approx(0.1 / 2 * norms.item(), rel=1e-9)


def test_adam_by_its_equations(settings: Settings) -> None:
    """Three steps against Adam written out: dense moments, defaults 0.9, 0.999, 1e-8."""
    one = learner("BPR-D", settings)
    table = one.parts.model.items.detach().clone()
    first, second = torch.zeros_like(table), torch.zeros_like(table)
    users = torch.from_numpy(one.task.users_P[:20])
    items = torch.from_numpy(one.task.items_P[:20])
    for step in range(3):
        one.update(one.loss(users, items, step))
        gradient = one.parts.model.items.grad
        assert gradient is not None
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        bias = math.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        scale = 0.01 * bias
        eps = 1e-8 * math.sqrt(1 - 0.999 ** (step + 1))
        table = table - scale * first / (second.sqrt() + eps)
        assert torch.allclose(one.parts.model.items, table, rtol=1e-10, atol=1e-14)
