"""GRU4Rec (Hidasi et al. 2016, Hidasi and Karatzoglou 2018): a recurrent net that predicts every
next item, here with the softmax against negatives that a step shares, drawn by popularity and
corrected for it.

Shapes: T places that hold an item, B windows, M places of the longest of a group of G windows, H
numbers of the state, d dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mrl4rec.core import lazy
from mrl4rec.models.samplers import Negatives, SharedPopular
from mrl4rec.models.sequential.every_place import EveryPlace
from mrl4rec.models.sequential.packed import Packed
from mrl4rec.models.values import Span, value

if TYPE_CHECKING:
    from torch import Tensor

    from mrl4rec.models.sequential.base import Noise
    from mrl4rec.models.sequential.weights import Weights

with lazy.imports():
    import torch
    from torch.nn import functional

    from mrl4rec.models.sequential import layers


@dataclass(frozen=True)
class GRU4Rec(EveryPlace):
    """A GRU over item vectors; its state after each item, mapped to d numbers, is the user's."""

    model: str = "gru4rec"
    negatives: Negatives = field(default_factory=lambda: SharedPopular(1280))
    hidden: int = value(128, "numbers in the recurrent state", low=1)
    dropout: float = value(
        0.2, "share of the inputs set to 0 in training", low=0, high=0.9, tune=Span(0.0, 0.5)
    )

    def net(self, weights: Weights, n_items: int, dim: int) -> Recurrent:
        """Item vectors, the GRU and the map."""
        return Recurrent(weights, n_items, dim, self.hidden, self.dropout)


class Recurrent:
    """The net."""

    def __init__(
        self, weights: Weights, n_items: int, dim: int, hidden: int, dropout: float
    ) -> None:
        self.dropout, self.hidden, self.dim = dropout, hidden, dim
        self.table = layers.table(weights, "items", n_items, dim)
        bound = 1 / math.sqrt(hidden)
        self.gates = [
            weights.draw("gru.inputs", (3 * hidden, dim), bound),
            weights.draw("gru.state", (3 * hidden, hidden), bound),
            weights.full("gru.inputs_bias", (3 * hidden,), 0.0),
            weights.full("gru.state_bias", (3 * hidden,), 0.0),
        ]
        self.out = layers.Linear(weights, "out", hidden, dim)

    def items(self) -> Tensor:
        """(I, d) the table that is read too."""
        return self.table

    def states(self, at: Packed) -> Tensor:
        """(T, d) the user's vector after each item."""
        values = functional.embedding(at.items_T, self.table) * math.sqrt(self.dim)
        return self.out(at.by_group(at.dropped(values, self.dropout), self._run))

    def _run(self, inputs_GMd: Tensor) -> Tensor:
        """(G, M, H) the states of one layer, from zeros, windows first."""
        start = inputs_GMd.new_zeros(1, len(inputs_GMd), self.hidden)
        states, _ = torch.gru(inputs_GMd, start, self.gates, True, 1, 0.0, True, False, True)
        return states

    def encode(self, items_BL: Tensor, noise: Noise | None = None) -> Tensor:
        """(B, 1, d) after the newest item; zeros for a window of none."""
        at = Packed(items_BL, len(self.table), noise)
        return at.last(self.states(at))[:, None]


VARIANTS = (GRU4Rec("GRU4Rec"),)
