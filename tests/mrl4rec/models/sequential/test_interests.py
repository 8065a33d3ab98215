"""What families with several vectors a user do alike: read, share out, repeat, learn, nest."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mrl4rec.data.sequences import histories
from mrl4rec.models.samplers import SharedPopular
from mrl4rec.models.scorers import InterestModel
from mrl4rec.models.sequential.base import Noise
from mrl4rec.models.sequential.interests import nearest, newest_last
from mrl4rec.models.sequential.model import SequenceModel
from mrl4rec.models.sequential.remi import concentration, weighed
from mrl4rec.training.loop import Trained
from tests.mrl4rec.models.sequential import interest_samples as sample
from tests.mrl4rec.models.sequential.sequence_samples import N_ITEMS, split


@cache
def searched(name: str, *sets: str) -> Trained:
    return sample.trained(sample.small(name, *sets), 5)


def popularity() -> float:
    """Recall@10 on valid of the most popular items, what a user had left out."""
    data = split()
    assert data.sequences is not None
    counts = np.bincount(data.sequences.only("train").items, minlength=N_ITEMS).astype(float)
    seen, truth = data.csr("train"), data.csr("valid")
    hits = []
    for user in np.flatnonzero(np.diff(truth.indptr)):
        row = counts.copy()
        row[seen.row(int(user))] = -1
        hits.append(np.isin(truth.row(int(user)), np.argsort(-row)[:10]).mean())
    return float(np.mean(hits))


@pytest.mark.parametrize(
    "name", [*sample.FAMILIES, "ComiRec-SA-in-batch", "ComiRec-SA@mrl", "MTMI@mrl", "MTMI-K1"]
)
def test_each_learns_the_toy_far_above_popularity(name: str) -> None:
    best = searched(name).best
    assert best is not None
    assert best > popularity() + 0.15


@pytest.mark.parametrize("name", ["MIND", "ComiRec-DR", "REMI", "MTMI@mrl"])
def test_the_same_bits_twice(name: str) -> None:
    once, again = (sample.trained(sample.small(name), 1).vectors for _ in range(2))
    assert once.keys() == again.keys()
    for part, array in once.items():
        assert np.array_equal(array, again[part]), part


@pytest.mark.parametrize("name", sample.SHARING)
def test_the_losses_of_two_halves_add_up_to_the_whole(name: str) -> None:
    method = sample.small(name, "l2=0.01")
    model = sample.started(method)
    whole = method.loss(model, sample.examples(model))
    halves = [
        method.loss(model, sample.examples(model, first, last))
        for first, last in ((0, 13), (13, 32))
    ]
    assert method.sums_over_examples
    assert_close(halves[0] + halves[1], whole)


def test_examples_that_are_each_others_negatives_are_not_shared_out() -> None:
    assert not sample.small("ComiRec-SA-in-batch").sums_over_examples


def test_the_vector_nearest_to_the_target_is_trained_alone() -> None:
    users = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]], requires_grad=True)
    found = nearest(users, torch.tensor([[0.1, 2.0]]))
    assert found.tolist() == [[0.0, 1.0]]
    found.sum().backward()
    assert users.grad is not None
    assert users.grad[0].tolist() == [[0, 0], [1, 1], [0, 0]]  # the first of equals


def test_empty_places_are_moved_to_the_front() -> None:
    n = 9
    rows = torch.tensor([[n, n, 3, 1], [3, 1, n, n], [n, 3, n, 1]])
    assert newest_last(rows, n).tolist() == [[n, n, 3, 1]] * 3


@pytest.mark.parametrize("name", ["ComiRec-SA", "MTMI"])
def test_every_level_has_draws_a_readout_and_a_loss_of_its_own(name: str) -> None:
    nested = sample.small(f"{name}@mrl")
    model = sample.started(nested)
    batch = sample.examples(model)
    given = nested.examples_of(model, batch)
    users = model.net.encode(given.items_BL, Noise(batch.place))
    narrow, wide = map(nested.level_loss, nested.levels_of(model, users, given, batch))
    assert_close(nested.loss(model, batch), ((narrow + wide) / 2).mean())
    drawn = [model.draws.step(given.targets_B, batch.place, level).items_S for level in range(2)]
    assert not torch.equal(*drawn)
    plain = sample.small(name)
    assert plain.loss(sample.started(plain), batch).item() != nested.loss(model, batch).item()


def test_prefixes_of_the_sphere_are_put_on_it_again_in_training() -> None:
    """A prefix may be short: its length does not change the loss."""
    nested = sample.small("MTMI@mrl", "item_tower=identity")
    model = sample.started(nested)
    batch = sample.examples(model)
    given = nested.examples_of(model, batch)
    users = model.net.encode(given.items_BL)
    level, _ = nested.levels_of(model, users, given, batch)
    shorter = level._replace(users_BKw=level.users_BKw / 3, others_Sw=level.others_Sw * 5)
    assert level.users_BKw.norm(dim=2).max() < 0.99
    assert_close(nested.level_loss(level), nested.level_loss(shorter))


def test_prefixes_of_the_sphere_are_put_on_it_again_when_served() -> None:
    method = sample.small("MTMI@mrl")
    arrays = {
        name: array.astype(np.float32) for name, array in searched("MTMI@mrl").vectors.items()
    }
    model = method.scorer(arrays, sample.LEVELS, histories([[1, 2, 3], [40]], N_ITEMS))
    assert isinstance(model, SequenceModel)
    plain = model.plain
    assert isinstance(plain, InterestModel)
    users, items = plain.user_interests[:, :, :4], plain.item_vectors[:, :4]
    users = users / np.linalg.norm(users, axis=2, keepdims=True)
    items = items / np.linalg.norm(items, axis=1, keepdims=True)
    expected = np.einsum("ukd,id->uki", users, items).max(1)
    assert np.abs(plain.scores(np.arange(2), 4) - expected).max() < 1e-5


def test_negatives_are_popular_uniform_or_in_the_batch() -> None:
    kinds = {
        name: sample.small(name).negatives for name in (*sample.SHARING, "ComiRec-SA-in-batch")
    }
    assert kinds["ComiRec-SA-in-batch"].kind == "in_batch"
    uniform = {name for name, kind in kinds.items() if kind.kind == "shared"}
    assert {"REMI", "MTMI", "ComiRec-SA-uniform"} <= uniform
    for name in ("MIND", "ComiRec-DR", "ComiRec-SA"):
        assert isinstance(kinds[name], SharedPopular)


def test_hard_negatives_by_hand() -> None:
    # x_0 = 1; negatives 0 and 2, b = 1: Σ e^(2x) / Σ e^x = (1 + e⁴)/(1 + e²), twice that
    own, others = torch.tensor([1.0]), torch.tensor([[0.0, 2.0, -torch.inf]])
    hard = 2 * (1 + np.exp(4)) / (1 + np.exp(2))
    assert weighed(own, others, 1.0).item() == pytest.approx(np.log(1 + hard / np.exp(1)))
    # b = 0: the sampled softmax
    plain = np.log(np.exp(1) + 1 + np.exp(2)) - 1
    assert weighed(own, others, 0.0).item() == pytest.approx(plain)


def test_a_hit_among_hard_negatives_leaves_no_gap_in_the_gradient() -> None:
    others = torch.tensor([[0.5, 2.0]], requires_grad=True)
    weighed(
        torch.tensor([1.0]), others.masked_fill(torch.tensor([[True, False]]), -torch.inf), 0.3
    ).sum().backward()
    assert others.grad is not None
    assert others.grad.isfinite().all()
    assert others.grad[0, 0] == 0


def test_the_spread_of_attention_by_hand() -> None:
    # two items and two empty places, d = 2: (1, 0) less its mean is (½, −½), ½ / 2 = ¼, squared
    # 1/16; (½, ½) less its mean is 0
    shares = torch.tensor([[[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.5, 0.5]]])
    assert concentration(shares, torch.tensor([2]), 2).tolist() == [1 / 16]


def cosine(*sets: str) -> float:
    """The mean cosine of pairs of a user's vectors after five epochs."""
    method = sample.small("MTMI", *sets)
    arrays = searched("MTMI", *sets).vectors
    before = split().sequences.before("valid")  # type: ignore[union-attr]
    users = method.scorer(arrays, (None,), before).encode(before)  # type: ignore[attr-defined]
    products = users @ users.transpose(0, 2, 1)
    return float(products[:, *np.triu_indices(4, 1)].mean())


def test_beta_keeps_the_vectors_of_a_user_from_collapsing() -> None:
    assert cosine("alpha=0", "beta=1") < cosine("alpha=0", "beta=0") - 0.1
    assert cosine("beta=1") < cosine("beta=0")
