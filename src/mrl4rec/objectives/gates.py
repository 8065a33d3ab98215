"""DENS: gates that tell an item's relevant part from the rest.

Equations: docs/methods.md#negative-samplers.

Shapes: B examples, H + 1 layers, n candidates, d dimensions; ``…`` any of them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from mrl4rec.hashing import uniform

TABLES = {"positive": 2, "user": 3, "negative": 4, "relevant": 5}
"""Number of each gate's weights among the tables that are drawn from a seed."""
BIASES = 4
"""Their biases are the tables that follow by so much."""


class Gates(nn.Module):
    """Four linear maps d → d: of the positive, the user, the negative, the positive's part."""

    def __init__(self, dim: int, seed: int, dtype: torch.dtype) -> None:
        super().__init__()
        bound = 1 / math.sqrt(dim)
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for name, table in TABLES.items():
            weight = torch.from_numpy(uniform(dim, dim, bound, seed, table)).to(dtype)
            bias = torch.from_numpy(uniform(1, dim, bound, seed, table + BIASES)[0]).to(dtype)
            self.weights[name], self.biases[name] = nn.Parameter(weight), nn.Parameter(bias)

    def _map(self, name: str, vectors: Tensor) -> Tensor:
        return linear(vectors, self.weights[name], self.biases[name])

    def of_positive(self, user: Tensor, positive: Tensor) -> Tensor:
        """(…, d) r⁺ = e_i · σ(W_i e_i + W_u e_u); the rest of e_i is q⁺."""
        return positive * torch.sigmoid(self._map("positive", positive) + self._map("user", user))

    def of_negative(self, relevant: Tensor, negative: Tensor) -> Tensor:
        """(…, d) r⁻ = e_j · σ(W_n e_j + W_p r⁺); the rest of e_j is q⁻."""
        gate = self._map("negative", negative) + self._map("relevant", relevant)
        return negative * torch.sigmoid(gate)


def disentangling(
    user_Bd: Tensor, positive_parts: tuple[Tensor, Tensor], negative_parts: tuple[Tensor, Tensor]
) -> Tensor:
    """(B,) what trains the gates, from (r, q) of both: relevant parts are to tell the two apart.

    sp(s(q⁺) − s(r⁺)) + sp(s(r⁻) − s(q⁻)) + sp(s(r⁻) − s(r⁺)) + sp(s(q⁺) − s(q⁻)), s(x) = <e_u, x>.
    """
    r_plus, q_plus = ((user_Bd * part).sum(1) for part in positive_parts)
    r_minus, q_minus = ((user_Bd * part).sum(1) for part in negative_parts)
    gaps = torch.stack([q_plus - r_plus, r_minus - q_minus, r_minus - r_plus, q_plus - q_minus])
    return softplus(gaps).sum(0)
