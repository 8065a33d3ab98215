"""XSimGCL, DGCF and DCCF on a tiny graph, held against dense matrices in float64."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from mrl4rec.kernels import noise_torch as noise
from mrl4rec.models import Batch, dccf, dgcf, graph, xsimgcl
from mrl4rec.models.negatives import Place
from tests.mrl4rec.models.graph_samples import (
    N_USERS,
    balanced,
    check_slopes,
    dense,
    nce,
    numpy,
    setup,
    steep,
    unit,
)

DOUBLE = torch.float64
BATCH = Batch(torch.tensor([3, 0, 3]), torch.tensor([0, 3, 4]), Place(1, 2, 0), 3)
"""A user twice."""
SIDES = (torch.tensor([0, 3]), torch.tensor([4, 7, 8]))
"""The same as nodes, each once."""


def xsimgcl_model() -> xsimgcl.XSimGCL:
    return xsimgcl.XSimGcl("X", eps=0.2).start(setup(4, 1))


def dgcf_model(iterations: int = 2) -> dgcf.DGCF:
    return dgcf.Dgcf("X", dim=6, factors=3, iterations=iterations).start(setup(6, 2))


def dccf_model() -> dccf.DCCF:
    return dccf.Dccf("X", depth=2, intents=5).start(setup(4, 3))


def nodes_of(model: graph.Nodes) -> np.ndarray:
    return np.concatenate(numpy(model.users, model.items))


def pooled_of(model: graph.Nodes) -> np.ndarray:
    return np.concatenate(numpy(*model.pooled()))


def test_xsimgcl_is_the_mean_of_layers_1_and_2() -> None:
    model = xsimgcl_model()
    once, nodes = balanced(dense()), nodes_of(model)
    assert np.allclose(pooled_of(model), (once @ nodes + once @ once @ nodes) / 2)
    assert np.allclose(numpy(*model.views(None))[0], once @ nodes)


def test_xsimgcl_noise_has_length_eps_and_the_signs_of_the_vectors() -> None:
    model = xsimgcl_model()
    first, second = numpy(*model.views((7, 3)))
    plain = balanced(dense()) @ nodes_of(model)
    moved = first - plain
    linked = dense().sum(1) > 0
    assert np.allclose(np.sqrt((moved[linked] ** 2).sum(1)), 0.2)
    assert (moved[linked] * plain[linked] > 0).all()
    assert (moved[~linked] == 0).all()
    word = noise.word(7, 3, noise.PERTURB, 1)
    drawn = noise.uniforms(word, torch.arange(len(plain)), 4).double().numpy()
    after = balanced(dense()) @ first
    assert np.allclose(second, after + np.sign(after) * unit(drawn) * 0.2)
    assert torch.equal(model.views((7, 3))[1], model.views((7, torch.tensor(3)))[1])


def test_contrast_takes_each_node_of_the_batch_once() -> None:
    model = xsimgcl_model()
    for found, expected in zip(graph.batch_nodes(model, BATCH), SIDES, strict=True):
        assert torch.equal(found, expected)
    views = model.views((1, 2))
    pooled = torch.stack(views).mean(0)
    whole, layer = numpy(pooled, views[0])
    for nodes in SIDES:
        (found,) = numpy(graph.info_nce(pooled[nodes], views[0][nodes], 0.15))
        assert np.isclose(found, nce(whole[nodes], layer[nodes], 0.15))


def test_xsimgcl_slopes() -> None:
    model, method = xsimgcl_model(), xsimgcl.XSimGcl("X", l2=0.3)
    check_slopes(model, lambda: method.loss(model, BATCH))


def routed(nodes: np.ndarray, chunks: int, iterations: int) -> np.ndarray:
    """DGCF's routing with whole (N, N) matrices, a chunk at a time."""
    parts = np.split(nodes, chunks, axis=1)
    there = dense() > 0
    logits = [np.ones_like(dense()) for _ in parts]
    found = parts
    for _ in range(iterations):
        masses = [np.exp(logit) for logit in logits]
        shares = [np.where(there, mass / sum(masses), 0) for mass in masses]
        found = [balanced(share) @ part for share, part in zip(shares, parts, strict=True)]
        logits = [
            logit + unit(new) @ np.tanh(unit(old)).T
            for logit, new, old in zip(logits, found, parts, strict=True)
        ]
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_dgcf_routes_as_dense_matrices_do(iterations: int) -> None:
    model = dgcf_model(iterations)
    steep(model)
    nodes = nodes_of(model)
    assert np.allclose(pooled_of(model), (nodes + routed(nodes, 3, iterations)) / 2)


def test_dgcf_shares_change_something() -> None:
    model = dgcf_model()
    steep(model)
    plain = (nodes_of(model) + balanced(dense()) @ nodes_of(model)) / 2
    assert np.abs(pooled_of(model) - plain).max() > 0.01


def test_dgcf_slopes_go_through_the_routing() -> None:
    model = dgcf_model()
    steep(model)
    way = torch.from_numpy(np.random.default_rng(1).normal(size=(10, 6)))
    check_slopes(model, lambda: (torch.cat(model.pooled()) * way).sum())


def plain_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Distance correlation of two samples, from its definition (Székely et al. 2007)."""

    def centred(rows: np.ndarray) -> np.ndarray:
        far = np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(2))
        return far - far.mean(0) - far.mean(1)[:, None] + far.mean()

    a, b = centred(one), centred(other)
    spread = np.sqrt((a * a).mean() * (b * b).mean())
    return float(np.sqrt(max((a * b).mean(), 0) / spread))


def test_distance_correlation() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(12, 6))
    rows[:, 2:4] += rows[:, :2]
    parts = np.split(rows, 3, axis=1)
    expected = sum(plain_correlation(*pair) for pair in pairwise(parts)) / 6
    found = float(dgcf.correlation(torch.from_numpy(rows), 3))
    assert np.isclose(found, expected, atol=1e-5)
    same = torch.from_numpy(np.tile(rows[:, :2], 2))
    assert np.isclose(float(dgcf.correlation(same, 2)), 1 / 3, atol=1e-5)  # one pair, over 3
    leaf = torch.from_numpy(rows).requires_grad_()
    assert torch.autograd.gradcheck(lambda r: dgcf.correlation(r, 3), (leaf,), atol=1e-4)
    alike = torch.ones(4, 6, dtype=DOUBLE, requires_grad=True)
    dgcf.correlation(alike, 3).backward()
    assert torch.isfinite(alike.grad).all()


def test_dccf_layers_as_dense_matrices() -> None:
    model = dccf_model()
    steep(model, 2.0)
    once, there = balanced(dense()), dense() > 0
    nodes = nodes_of(model)
    total = nodes.copy()
    centres = numpy(model.user_intents, model.item_intents)
    pooled, layers = model.layered()
    for layer in layers:
        near = once @ nodes
        sides = []
        for side, centre in zip((nodes[:N_USERS], nodes[N_USERS:]), centres, strict=True):
            mass = np.exp(side @ centre)
            sides.append(mass / mass.sum(1, keepdims=True) @ centre.T)
        intent = np.concatenate(sides)
        weighed = []
        for view in (near, intent):
            weights = np.where(there, (1 + unit(view) @ unit(view).T) / 2, 0)
            totals = weights.sum(1, keepdims=True)
            weighed.append(weights / np.where(totals > 0, totals, 1) @ nodes)
        for found, expected in zip(layer, (near, intent, *weighed), strict=True):
            assert np.allclose(found.detach().numpy(), expected)
        nodes = nodes + near + intent + weighed[0] + weighed[1]
        total += nodes
    assert np.allclose(pooled.detach().numpy(), total)
    assert np.allclose(pooled_of(model), total)


def test_dccf_contrast_sums_over_layers_sides_and_views() -> None:
    model = dccf_model()
    _, layers = model.layered()
    expected = 0.0
    for layer in layers:
        near, *views = numpy(*layer)
        for nodes in ([0, 3], [4, 7, 8]):
            expected += sum(nce(near[nodes], view[nodes], 1.0) for view in views)
    assert np.isclose(float(dccf.contrast(layers, SIDES, 1.0)), expected)


def test_dccf_slopes() -> None:
    model = dccf_model()
    steep(model, 2.0)
    way = torch.from_numpy(np.random.default_rng(1).normal(size=(10, 4)))

    def loss() -> torch.Tensor:
        pooled, layers = model.layered()
        return (pooled * way).sum() + dccf.contrast(layers, SIDES, 1.0)

    check_slopes(model, loss)
