"""UIB: a boundary of each user between the items above and below it.

Equations: docs/methods.md#losses.

b_u = <w, e_u> + c is a linear head on the user's vector; a positive is to score above it, a
negative below. Shapes: B examples, d dimensions, K negatives an example.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mrl4rec.hashing import uniform

TABLE = 2
"""Number of the head among the tables that are drawn from a seed; users and items are 0 and 1."""


class Boundary(nn.Module):
    """The loss (B,) of users, positives and negatives, with the head as its parameters.

    ``convex``: (1 − a)·sp(b_u − s_ui) + a·Σ_k sp(s_uj_k − b_u). ``paper``: the same with weights 1
    and a. ``broadcast``: what the authors of MRL4Rec ran, see ``broadcast``.
    """

    def __init__(self, dim: int, a: float, form: str, seed: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.a, self.form = a, form
        bound = 1 / math.sqrt(dim)
        self.weight = nn.Parameter(torch.from_numpy(uniform(1, dim, bound, seed, TABLE)).to(dtype))
        self.bias = nn.Parameter(torch.zeros(1, dtype=dtype))

    def forward(
        self, user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor, levels: tuple[int, ...]
    ) -> Tensor:
        """(B,) losses at full width; ``levels`` are not looked at."""
        boundary_B = (user_Bd * self.weight).sum(1) + self.bias
        positive_B = (user_Bd * positive_Bd).sum(1)
        negative_BK = (user_Bd[:, None] * negative_BKd).sum(2)
        if self.form == "broadcast":
            return broadcast(boundary_B, positive_B, negative_BK, self.a)
        weight = 1.0 if self.form == "paper" else 1 - self.a
        below_B = softplus(negative_BK - boundary_B[:, None]).sum(1)
        return weight * softplus(boundary_B - positive_B) + self.a * below_B


def broadcast(boundary_B: Tensor, positive_B: Tensor, negative_BK: Tensor, a: float) -> Tensor:
    """(B,) UIB with the boundary kept as a column: every user's boundary b_v meets every example.

    (1 − a)·mean_u sp(b_v − s_ui) + a·mean_k log(1 + Σ_u exp(s_uj_k − b_v)), u over the batch: a
    boundary of the batch, not of a user. It is here to see what the printed row comes from.
    """
    above_BB = softplus(boundary_B[:, None] - positive_B[None, :])
    gaps_BBK = negative_BK[None] - boundary_B[:, None, None]
    below_BK = softplus(torch.logsumexp(gaps_BBK, dim=1))
    return (1 - a) * above_BB.mean(1) + a * below_BK.mean(1)
