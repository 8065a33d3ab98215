"""The protocol of a loss with parameters of its own: resumed, shared out, refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.models import METHODS
from mrl4rec.models.factors import Factors
from mrl4rec.training import TrainRequest
from mrl4rec.training.group import Group
from mrl4rec.training.learner import Learner
from mrl4rec.training.request import not_fused, plan
from tests.mrl4rec.models.pair_samples import BATCH, batch, learner, small

ROWS = {name: method for name, method in METHODS.items() if isinstance(method, Factors)}
SUMS = [name for name, method in ROWS.items() if method.sums_over_examples]


def steps(one: Learner, numbers: range) -> None:
    for step in numbers:
        one.update(one.loss(*batch(one.task, step), step))


@pytest.mark.parametrize("name", ["UIB", "DENS", "SSM", "MixGCF", "LHANS"])
def test_a_restored_learner_goes_on_with_the_same_bits(name: str) -> None:
    whole, first, second = (learner(small(name)) for _ in range(3))
    steps(whole, range(6))
    steps(first, range(3))
    second.restore({part: array.copy() for part, array in first.state().items()}, 3)
    steps(second, range(3, 6))
    state = whole.state()
    assert len(state) == 3 * len(list(whole.parts.parameters()))
    for part, array in state.items():
        assert array.tobytes() == second.state()[part].tobytes(), part


def test_every_parameter_of_the_loss_is_trained_and_kept() -> None:
    one = learner(small("DENS"))
    before = {name: p.detach().clone() for name, p in one.parts.named()}
    steps(one, range(2))
    assert len(before) == 2 + 8
    for name, parameter in one.parts.named():
        assert not torch.equal(parameter, before[name]), name
        assert f"model.{name}" in one.state()


@pytest.mark.parametrize("name", SUMS)
def test_shares_of_a_batch_add_up(name: str) -> None:
    """Three ranks, of which each has a part of the examples."""
    whole = learner(small(name))
    users, items = batch(whole.task)
    expected = whole.loss(users, items, 3)
    expected.backward()
    total, gradients = 0.0, [torch.zeros_like(p) for p in whole.parts.parameters()]
    for rank in range(3):
        part = learner(small(name))
        part.group = Group(rank, 3)
        loss = part.loss(users, items, 3)
        loss.backward()
        total += loss.item()
        for sum_, parameter in zip(gradients, part.parts.parameters(), strict=True):
            sum_ += parameter.grad
    assert total == pytest.approx(expected.item(), rel=1e-12)
    for sum_, parameter in zip(gradients, whole.parts.parameters(), strict=True):
        assert torch.allclose(sum_, parameter.grad, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", ["SSM", "DAU", "UIB"])
def test_more_than_one_process_is_refused_where_examples_are_compared(
    name: str, settings: Settings
) -> None:
    method = replace(small(name), form="broadcast") if name == "UIB" else small(name)
    with pytest.raises(UsageError, match="compares the examples of a batch with each other"):
        plan(TrainRequest(method, None, 1, device="cpu", devices=2), settings)
    assert plan(TrainRequest(method, None, 1, device="cpu"), settings).engine == "autograd"


def test_what_the_fused_engine_takes() -> None:
    fused = {name for name, method in ROWS.items() if not_fused(method, "cpu", 1) is None}
    assert fused == {
        "BPR", "BPR-D", "BPR-D80", "BPR-M", "MRL-D", "MRL-M", "BCE", "DNS-MN", "AHNS", "LHANS",
    }  # fmt: skip
    assert "loss of its own" in str(not_fused(ROWS["SSM"], "cpu", 1))
    assert "no loop for popular negatives" in str(not_fused(ROWS["BPR-pop"], "cpu", 1))
    assert "no loop for the objective bpr_each" in str(not_fused(ROWS["DNS-MN-sum"], "cpu", 1))


def test_scoring_by_cosine_saves_vectors_of_length_one_beside_the_tables() -> None:
    for scoring, length in (("inner", None), ("cosine", 1.0)):
        one = learner(replace(small("DAU", "lightgcn-1"), scoring=scoring))
        found = one.vectors()
        assert np.array_equal(found["user_vectors_0"], one.parts.model.users.detach().numpy())
        lengths = np.linalg.norm(found["item_vectors"], axis=1)
        assert np.allclose(lengths, 1) == (length == 1.0)
    plain = learner(small("DAU"))
    assert set(plain.vectors()) == {"user_vectors", "item_vectors"}


def test_the_batch_is_what_ssm_compares_with_without_what_the_user_has_seen() -> None:
    """By hand, an example at a time."""
    one = learner(replace(small("SSM"), l2=0.0))
    users, items = batch(one.task)
    tables = (one.parts.model.users.detach(), one.parts.model.items.detach())
    u, v = (torch.nn.functional.normalize(table) for table in tables)
    tau, expected = 0.2, 0.0
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        seen = set(one.task.seen.row(user).tolist())
        others = [other for other in items.tolist() if other not in seen]
        scores = torch.stack([u[user] @ v[i] for i in (item, *others)]) / tau
        expected -= torch.log_softmax(scores, 0)[0].item() / BATCH
    assert one.loss(users, items, 0).item() == pytest.approx(expected, rel=1e-12)
