"""Causal transformer layers on the items of a batch of windows.

Shapes: T places that hold an item, M places of the longest of a group of G windows, H heads, d
dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mrl4rec.core import lazy
from mrl4rec.models.sequential.packed import Packed

if TYPE_CHECKING:
    from torch import Tensor

    from mrl4rec.models.sequential.base import Noise
    from mrl4rec.models.sequential.weights import Weights

with lazy.imports():
    import torch
    from torch.nn import functional

    from mrl4rec.models.sequential import layers


@dataclass(frozen=True)
class Shape:
    """What a transformer is made of."""

    dim: int
    layers: int
    heads: int
    length: int
    """L: places that have a vector of their own."""
    wide: int
    """Numbers in the hidden layer of a feed-forward part, in units of ``dim``."""
    dropout: float
    gated: bool
    """LiGR layers instead of plain ones."""


class Layer(Protocol):
    """One layer."""

    def __call__(self, values_Td: Tensor, at: Packed) -> Tensor:
        """(T, d)."""


class Transformer:
    """Item vectors, vectors of places counted from the newest, and layers between them and the
    user's vector after each item.
    """

    def __init__(self, weights: Weights, n_items: int, shape: Shape) -> None:
        self.shape = shape
        self.table = layers.table(weights, "items", n_items, shape.dim)
        self.places = layers.table(weights, "places", shape.length, shape.dim)
        kind = Gated if shape.gated else Plain
        self.layers: list[Layer] = [kind(weights, f"layer{n}", shape) for n in range(shape.layers)]
        self.norm = layers.LayerNorm(weights, "norm", shape.dim)

    def items(self) -> Tensor:
        """(I, d) the table that is read too."""
        return self.table

    def states(self, at: Packed) -> Tensor:
        """(T, d) the user's vector after each item."""
        values = functional.embedding(at.items_T, self.table) * math.sqrt(self.shape.dim)
        age_T = at.length - 1 - at.place_T
        values = at.dropped(values + functional.embedding(age_T, self.places), self.shape.dropout)
        for layer in self.layers:
            values = layer(values, at)
        return self.norm(values)

    def encode(self, items_BL: Tensor, noise: Noise | None = None) -> Tensor:
        """(B, 1, d) after the newest item; zeros for a window of none."""
        at = Packed(items_BL, len(self.table), noise)
        return at.last(self.states(at))[:, None]


class Attention:
    """Each item looks at itself and those before it. No dropout among the weights."""

    def __init__(self, weights: Weights, name: str, shape: Shape) -> None:
        self.heads = shape.heads
        self.read = layers.Linear(weights, f"{name}.read", shape.dim, 3 * shape.dim)
        self.write = layers.Linear(weights, f"{name}.write", shape.dim, shape.dim)

    def __call__(self, values_Td: Tensor, at: Packed) -> Tensor:
        """(T, d)."""
        return self.write(at.by_group(self.read(values_Td), self._mix))

    def _mix(self, read_GMe: Tensor) -> Tensor:
        """(G, M, d) of queries, keys and values, side by side."""
        parts = read_GMe.view(*read_GMe.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind()
        mixed_GHMd = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return mixed_GHMd.transpose(1, 2).flatten(2)


class Plain:
    """A layer normalised at its inputs: x + Attention(LN x), then x + W2 relu(W1 LN x)."""

    def __init__(self, weights: Weights, name: str, shape: Shape) -> None:
        self.dropout, hidden = shape.dropout, shape.wide * shape.dim
        self.norms = [layers.LayerNorm(weights, f"{name}.norm{n}", shape.dim) for n in (1, 2)]
        self.attention = Attention(weights, f"{name}.attention", shape)
        self.first = layers.Linear(weights, f"{name}.first", shape.dim, hidden)
        self.second = layers.Linear(weights, f"{name}.second", hidden, shape.dim)

    def __call__(self, values_Td: Tensor, at: Packed) -> Tensor:
        """(T, d)."""
        mixed = self.attention(self.norms[0](values_Td), at)
        values_Td = values_Td + at.dropped(mixed, self.dropout)
        hidden = torch.relu(self.first(self.norms[1](values_Td)))
        return values_Td + at.dropped(self.second(hidden), self.dropout)


class Gated:
    """A LiGR layer: what is added is multiplied by σ(W x + b), and the feed-forward part is
    SwiGLU: W3 (silu(W1 x) · W2 x).
    """

    def __init__(self, weights: Weights, name: str, shape: Shape) -> None:
        dim, hidden = shape.dim, shape.wide * shape.dim
        self.dropout = shape.dropout
        self.norms = [layers.LayerNorm(weights, f"{name}.norm{n}", dim) for n in (1, 2)]
        self.gates = [layers.Linear(weights, f"{name}.gate{n}", dim, dim) for n in (1, 2)]
        self.attention = Attention(weights, f"{name}.attention", shape)
        self.first = layers.Linear(weights, f"{name}.first", dim, hidden, bias=False)
        self.second = layers.Linear(weights, f"{name}.second", dim, hidden, bias=False)
        self.third = layers.Linear(weights, f"{name}.third", hidden, dim, bias=False)

    def __call__(self, values_Td: Tensor, at: Packed) -> Tensor:
        """(T, d)."""
        mixed = at.dropped(self.attention(self.norms[0](values_Td), at), self.dropout)
        values_Td = values_Td + torch.sigmoid(self.gates[0](values_Td)) * mixed
        normed = self.norms[1](values_Td)
        hidden = at.dropped(functional.silu(self.first(normed)) * self.second(normed), self.dropout)
        wide = at.dropped(self.third(hidden), self.dropout)
        return values_Td + torch.sigmoid(self.gates[1](values_Td)) * wide
