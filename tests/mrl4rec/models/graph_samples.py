"""A tiny graph and what is known of it, written densely, for the tests of graph models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mrl4rec.kernels.csr import Csr
from mrl4rec.models import Setup
from tests.mrl4rec.models.model_samples import rows

SEEN = rows([0, 1], [1, 2, 3], [], [0, 3, 4], n_items=6)
"""4 users × 6 items; user 2 and item 5 have no edge."""
N_USERS, N_ITEMS = 4, 6


def setup(dim: int, seed: int) -> Setup:
    """What a model of this graph is built from, in float64."""
    return Setup(SEEN, dim, None, seed, dtype="float64")


def dense(seen: Csr = SEEN) -> np.ndarray:
    """The (U + I)² adjacency matrix of 0 and 1."""
    n = seen.n_rows + seen.n_columns
    graph = np.zeros((n, n))
    for user in range(seen.n_rows):
        for item in seen.row(user):
            graph[user, seen.n_rows + item] = graph[seen.n_rows + item, user] = 1
    return graph


def balanced(weights: np.ndarray) -> np.ndarray:
    """D^-1/2 W D^-1/2, D the row sums of W; rows without edges stay 0."""
    totals = weights.sum(1)
    root = np.where(totals > 0, 1 / np.sqrt(np.where(totals > 0, totals, 1)), 0)
    return root[:, None] * weights * root[None]


def unit(rows_Nd: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays."""
    length = np.sqrt((rows_Nd**2).sum(1, keepdims=True))
    return rows_Nd / np.maximum(length, 1e-12)


def logsumexp(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    return np.log(np.exp(values).sum(axis=axis))


def nce(one: np.ndarray, other: np.ndarray, temperature: float) -> float:
    """The mean over rows of −log of the softmax share of the row's own pair."""
    cosines = unit(one) @ unit(other).T / temperature
    return float((logsumexp(cosines, 1) - np.diag(cosines)).mean())


def numpy(*tensors: torch.Tensor) -> list[np.ndarray]:
    return [tensor.detach().numpy() for tensor in tensors]


def steep(model: Any, scale: float = 3.0) -> None:
    """Larger tables, so that soft choices are not all alike."""
    with torch.no_grad():
        for parameter in model.parameters.values():
            parameter *= scale


def check_slopes(model: Any, loss: Callable[[], torch.Tensor]) -> None:
    """Autograd's slope of every parameter against central differences along a direction."""
    rng = np.random.default_rng(0)
    parameters = list(model.parameters.values())
    slopes = torch.autograd.grad(loss(), parameters)
    for parameter, slope in zip(parameters, slopes, strict=True):
        way = torch.from_numpy(rng.normal(size=parameter.shape))
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-6 * way
                values.append(float(loss()))
                parameter -= sign * 1e-6 * way
        measured = (values[0] - values[1]) / 2e-6
        assert abs(slope.abs().sum()) > 0
        assert float((slope * way).sum()) == np.float64(measured).item() or np.isclose(
            float((slope * way).sum()), measured, rtol=2e-5, atol=1e-8
        )
