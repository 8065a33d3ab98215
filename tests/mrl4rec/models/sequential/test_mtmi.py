"""The reconstruction of MTMI: gradients against the formula, and what its settings reduce to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from mrl4rec.core.errors import UsageError
from mrl4rec.kernels.distances_torch import LEAST, distance, weighed
from mrl4rec.models import METHODS
from mrl4rec.models.sequential.interests import Examples, Level
from mrl4rec.models.sequential.mtmi import Mtmi, repulsion
from mrl4rec.models.sequential.softmax import Sample
from tests.mrl4rec.models.sequential import interest_samples as sample

COSINES = torch.tensor([[[0.92], [0.28], [-0.6]]], dtype=torch.float64)
"""(1, 3, 1): distances 0.4, 1.2 and √3.2."""


def slopes(alpha: float, detach: bool) -> tuple[Tensor, Tensor, Tensor, float]:
    """The distances, their weights, dD/dd and D. dD/dd = dD/dcos · dcos/dd, and dcos/dd = −d."""
    cosines = COSINES.clone().requires_grad_()
    total = weighed(cosines, alpha, detach)
    total.sum().backward()
    assert cosines.grad is not None
    found = distance(COSINES).flatten()
    weights = found**-alpha / (found**-alpha).sum()
    return found, weights, -found * cosines.grad.flatten(), total.item()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0, 8.0])
def test_the_gradient_is_that_of_the_formula(alpha: float) -> None:
    distances, weights, slope, total = slopes(alpha, detach=False)
    assert total == pytest.approx((weights * distances).sum().item())
    assert_close(slope, weights * ((1 - alpha) + alpha * total / distances))


@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_with_fixed_weights_the_gradient_is_the_weights(alpha: float) -> None:
    _, weights, slope, _ = slopes(alpha, detach=True)
    assert_close(slope, weights)


def test_the_distances_by_hand() -> None:
    # alpha 1: D = 3/(1/0.4 + 1/1.2 + 1/√3.2), the harmonic mean; alpha 0: the mean
    assert weighed(COSINES, 1.0).item() == pytest.approx(3 / (2.5 + 1 / 1.2 + 3.2**-0.5))
    assert weighed(COSINES, 0.0).item() == pytest.approx((0.4 + 1.2 + 3.2**0.5) / 3)


def test_a_far_tower_is_pushed_away_where_weights_have_a_gradient() -> None:
    """Where d_k > alpha D/(alpha − 1)."""
    distances, _, slope, total = slopes(2.0, detach=False)
    assert ((slope < 0) == (distances > 2 * total)).all()
    assert slope[2] < 0


def test_autograd_agrees_on_random_distances() -> None:
    torch.manual_seed(1)
    cosines = (torch.rand(3, 4, 5, dtype=torch.float64) * 1.9 - 0.95).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: weighed(c, 3.0), (cosines,))


def test_vectors_that_coincide_have_a_gradient() -> None:
    cosines = torch.tensor([[[1.0], [1.0], [-1.0]]], requires_grad=True)
    total = weighed(cosines, 8.0)
    total.sum().backward()
    assert total.item() == pytest.approx(LEAST)
    assert cosines.grad is not None
    assert cosines.grad.isfinite().all()


def test_a_large_alpha_is_the_distance_of_the_nearest_vector() -> None:
    torch.manual_seed(2)
    cosines = torch.rand(8, 4, 50, dtype=torch.float64) * 1.8 - 0.9
    smallest = distance(cosines).amin(1)
    assert (weighed(cosines, 8.0) - smallest).abs().max() > 0.01
    assert_close(weighed(cosines, 5e3), smallest, atol=1e-3, rtol=0)


def loss(*sets: str, name: str = "MTMI") -> float:
    method = sample.small(name, *sets)
    model = sample.started(method)
    return method.loss(model, sample.examples(model)).item()


def level_of(users_BKd: Tensor, own_Bd: Tensor, others_Sd: Tensor) -> Level:
    """One level, on the sphere; no negative is anybody's target."""
    targets = torch.arange(len(own_Bd))
    sampled = Sample(torch.arange(len(others_Sd)) + len(targets), None)
    return Level(users_BKd, own_Bd, others_Sd, sampled, Examples(targets, targets, targets), None)


def on_sphere(*shape: int) -> Tensor:
    return functional.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def test_a_large_alpha_gives_the_target_the_distance_of_the_argmax_model() -> None:
    """A negative then has that of its own nearest vector; in the argmax model of the target's."""
    torch.manual_seed(3)
    level = level_of(on_sphere(16, 4, 8), on_sphere(16, 8), on_sphere(30, 8))
    soft = Mtmi("soft", alpha=100.0).distances(level)
    hard = Mtmi("hard", readout="argmax").distances(level)
    assert_close(soft[0], hard[0], atol=0.01, rtol=0)
    assert (soft[1] < hard[1] + 0.01).all()
    assert (soft[1] < hard[1] - 0.01).any()


def test_alpha_0_is_the_mean_distance() -> None:
    torch.manual_seed(4)
    level = level_of(on_sphere(16, 4, 8), on_sphere(16, 8), on_sphere(30, 8))
    own, others = Mtmi("mean", alpha=0.0).distances(level)
    far = (level.users_BKw[:, :, None] - level.others_Sw).norm(dim=3)
    assert_close(others, far.mean(1))
    assert_close(own, (level.users_BKw - level.own_Bw[:, None]).norm(dim=2).mean(1))


def test_beta_weighs_the_repulsion_and_0_leaves_it_out() -> None:
    method = sample.small("MTMI")
    model = sample.started(method)
    batch = sample.examples(model)
    users = model.net.encode(model.windows(batch, sample.LENGTH)[0])
    repel = repulsion(users).mean().item()
    assert loss("beta=0.7") - loss("beta=0") == pytest.approx(0.7 * repel)
    apart = torch.eye(4, dtype=torch.float64)[None]  # distance √2 each
    assert repulsion(apart).item() == pytest.approx(np.exp(-2))
    logs = repulsion(users).log().mean().item()
    assert loss("beta=0.7", "log_mean=1") - loss("beta=0") == pytest.approx(0.7 * logs)


def test_of_one_vector_neither_alpha_nor_beta_matters() -> None:
    assert loss("interests=1", "alpha=0", "beta=0") == loss("interests=1", "alpha=8", "beta=1")
    assert loss("interests=1") == loss("interests=1", "readout=argmax")


def test_a_triplet_by_hand() -> None:
    # one vector (1, 0), the target at distance √2, negatives at 2 and √2, margin 0.5:
    # [√2 − 2 + 0.5]₊ = 0 and 0.5; their mean is 0.25
    users, own = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[0.0, 1.0]])
    level = level_of(users, own, torch.tensor([[-1.0, 0.0], [0.0, -1.0]]))
    method = Mtmi("triplet", interests=1, ranking="triplet")
    assert method.level_loss(level).item() == pytest.approx(0.25)
    hit = level._replace(sample=Sample(torch.tensor([5, 0]), None))  # the second is the target
    assert method.level_loss(hit).item() == 0


def test_vectors_of_users_and_items_are_on_the_sphere() -> None:
    for name in ("MTMI", "MTMI-K1"):
        for sets in ((), ("item_tower=identity",), ("own_tables=1",)):
            model = sample.started(sample.small(name, *sets))
            users = model.net.encode(sample.windows([1, 2, 3], [5]))
            assert_close(users.norm(dim=2), torch.ones(users.shape[:2], dtype=torch.float64))
            assert_close(
                model.net.items().norm(dim=1), torch.ones(sample.EMPTY, dtype=torch.float64)
            )


def test_the_wide_control_has_as_many_numbers_a_user_and_no_fewer_parameters() -> None:
    def parameters(name: str) -> int:
        method = METHODS[name]
        assert isinstance(method, Mtmi)
        model = sample.started(method, "float32")
        return sum(part.numel() for part in model.parameters.values())

    assert METHODS["MTMI-K1-wide"].as_dict()["dim"] == 4 * METHODS["MTMI"].as_dict()["dim"]
    assert parameters("MTMI-K1-wide") > parameters("MTMI") > parameters("MTMI-K1")


def test_everywhere_its_configuration_is_shown_it_is_called_a_reconstruction() -> None:
    named = [method for name, method in METHODS.items() if name.startswith("MTMI")]
    assert len(named) >= 8
    assert all("reconstruction" in method.as_dict()["model"] for method in named)


@pytest.mark.parametrize("text", ["readout=nearest", "ranking=bpr", "item_tower=deep", "tau=0"])
def test_what_it_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=text.partition("=")[0]):
        sample.small("MTMI", text)
