"""Sums over weighed edges and numbers an edge, held against dense matrices; noise by place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrl4rec.kernels import edges as kernel
from mrl4rec.kernels import noise_torch as noise
from mrl4rec.kernels.edges_torch import Edges
from tests.mrl4rec.models.graph_samples import N_ITEMS, N_USERS, SEEN, balanced, dense

N = N_USERS + N_ITEMS
K, D = 2, 6


@pytest.fixture
def parts() -> tuple[Edges, torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(5)
    edges = Edges(SEEN, torch.device("cpu"))
    shapes = ((len(edges.tails), K), (N, D), (N, D))
    weights, heads, tails = (torch.from_numpy(rng.normal(size=shape)) for shape in shapes)
    return edges, weights, heads, tails


def test_the_edges_are_both_ways_of_every_pair(parts: tuple) -> None:
    edges = parts[0]
    graph = np.zeros((N, N))
    graph[edges.heads, edges.tails] = 1
    assert np.array_equal(graph, dense())
    assert torch.equal(edges.heads[edges.back], edges.tails)
    assert torch.equal(edges.tails[edges.back], edges.heads)
    assert torch.equal(edges.back[edges.back], edges.own)


def test_sums_dots_and_totals_are_what_the_dense_matrices_say(parts: tuple) -> None:
    edges, weights, heads, tails = parts
    width = D // K
    for chunk in range(K):
        cut = slice(chunk * width, (chunk + 1) * width)
        matrix = np.zeros((N, N))
        matrix[edges.heads, edges.tails] = weights[:, chunk]
        assert np.allclose(edges.sums(weights, tails)[:, cut], matrix @ tails[:, cut].numpy())
        assert np.allclose(edges.totals(weights)[:, chunk], matrix.sum(1))
        every = (heads[:, cut] @ tails[:, cut].T).numpy()
        found = edges.dots(heads, tails, K)[:, chunk]
        assert np.allclose(found, every[edges.heads, edges.tails])
    normal = np.zeros((N, N))
    normal[edges.heads, edges.tails] = edges.normal(torch.float64)[:, 0]
    assert np.allclose(normal, balanced(dense()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [2, 12, 154])
def test_one_chunk_and_two_of_equal_weights_give_the_same_bits(
    width: int, dtype: torch.dtype, parts: tuple
) -> None:
    """The sums of one chunk stay in registers, and are added up in the same order."""
    edges, weights, *_ = parts
    weights_M1 = weights[:, :1].to(dtype)
    rows = torch.from_numpy(np.random.default_rng(6).normal(size=(N, width))).to(dtype)
    found = edges.plain_sums(weights_M1, rows)
    assert torch.equal(found, edges.plain_sums(weights_M1.repeat(1, 2), rows))


def test_tensor_operations_give_what_the_loops_give(parts: tuple) -> None:
    edges, weights, heads, tails = parts
    for back in (False, True):
        there = edges.tensor_sums(weights, tails, back)
        assert torch.allclose(there, edges.plain_sums(weights, tails, back))
    assert torch.allclose(edges.tensor_dots(heads, tails, K), edges.plain_dots(heads, tails, K))


def test_slopes(parts: tuple) -> None:
    edges, *tensors = parts
    weights, heads, tails = (tensor.requires_grad_() for tensor in tensors)
    assert torch.autograd.gradcheck(edges.sums, (weights, tails))
    assert torch.autograd.gradcheck(lambda a, b: edges.dots(a, b, K), (heads, tails))
    assert torch.autograd.gradcheck(lambda a: edges.dots(a, a, K), (heads,))


def test_parts_cover_every_node_once_whatever_the_degrees() -> None:
    for degrees in ([0, 0, 500, 0, 1], [0] * 7, [3] * 1000):
        indptr = np.concatenate([[0], np.cumsum(degrees)])
        bounds = kernel.bounds(indptr)
        assert (bounds[0], bounds[-1]) == (0, len(degrees))
        assert (np.diff(bounds) >= 0).all()


def test_noise_is_the_same_in_loops_and_tensors_and_for_a_step_on_a_device() -> None:
    rows = torch.tensor([0, 7, 7, 123456])
    word = noise.word(3, 11, noise.PERTURB)
    found = noise.uniforms(word, rows, 5)
    assert torch.equal(found, noise.tensor_uniforms(word, rows[:, None], torch.arange(5)))
    assert torch.equal(found, noise.uniforms(noise.word(3, torch.tensor(11), 0), rows, 5))
    assert torch.equal(found[1], found[2])
    others = [noise.word(4, 11, 0), noise.word(3, 12, 0), noise.word(3, 11, 1)]
    others.append(noise.word(3, 11, 0, 1))
    for other in others:
        assert not torch.equal(found, noise.uniforms(other, rows, 5))


def test_noise_has_the_moments_of_its_distribution() -> None:
    rows = torch.arange(4000)
    word = noise.word(1, 2, noise.NORMAL)
    uniform = noise.uniforms(word, rows, 25).double()
    assert float(uniform.min()) > 0
    assert float(uniform.max()) < 1
    assert abs(float(uniform.mean()) - 0.5) < 0.004  # 4 standard errors: 4 · .289/√100,000
    assert abs(float(uniform.var()) - 1 / 12) < 0.001
    normal = noise.normals(word, rows, 25).double()
    assert abs(float(normal.mean())) < 0.013
    assert abs(float(normal.var()) - 1) < 0.02
    gumbel = noise.gumbels(word, rows, 25).double()
    assert abs(float(gumbel.mean()) - 0.57722) < 0.017  # 4 · 1.283/√100,000


def test_a_subset_is_of_different_numbers_and_changes_with_the_step() -> None:
    device = torch.device("cpu")
    drawn = [noise.subset(noise.word(1, s, noise.SUBSET), 50, 20, device) for s in range(40)]
    assert all(len(set(part.tolist())) == 20 for part in drawn)
    assert len({tuple(sorted(part.tolist())) for part in drawn}) == 40
    times = torch.bincount(torch.cat(drawn), minlength=50)
    assert int(times.min()) >= 4  # 16 expected
    assert int(times.max()) <= 30
    assert sorted(noise.subset(5, 3, 9, device).tolist()) == [0, 1, 2]
