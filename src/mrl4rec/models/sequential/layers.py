"""Layers that the nets are made of, on tensors that ``weights`` gives.

Shapes: B rows, L places of a window, I items, d dimensions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from mrl4rec.models.sequential.weights import Weights


def table(weights: Weights, name: str, rows: int, dim: int) -> Tensor:
    """(rows, d) vectors of items or places: U(±1/√d)."""
    return weights.draw(name, (rows, dim), 1 / math.sqrt(dim))


class Linear:
    """x W + b, W drawn as Xavier's uniform, b from 0."""

    def __init__(
        self, weights: Weights, name: str, n_in: int, n_out: int, bias: bool = True
    ) -> None:
        bound = math.sqrt(6 / (n_in + n_out))
        self.weight = weights.draw(f"{name}.weight", (n_out, n_in), bound)
        self.bias = weights.full(f"{name}.bias", (n_out,), 0.0) if bias else None

    def __call__(self, values: Tensor) -> Tensor:
        """(…, n_out)."""
        return functional.linear(values, self.weight, self.bias)


class LayerNorm:
    """Layer normalisation over the last dimension."""

    def __init__(self, weights: Weights, name: str, dim: int) -> None:
        self.scale = weights.full(f"{name}.scale", (dim,), 1.0)
        self.shift = weights.full(f"{name}.shift", (dim,), 0.0)

    def __call__(self, values: Tensor) -> Tensor:
        """Of the same shape."""
        return functional.layer_norm(values, self.scale.shape, self.scale, self.shift)


def embed(table_Id: Tensor, items_BL: Tensor) -> tuple[Tensor, Tensor]:
    """(B, L, d) vectors, zeros where a place is empty, and (B, L) whether it is not."""
    there_BL = items_BL < len(table_Id)
    values = functional.embedding(items_BL.clamp(max=len(table_Id) - 1), table_Id)
    return values * there_BL[:, :, None], there_BL
