"""A softmax over every item, of mixtures, without its (B, K, I) scores in memory at once.

Shapes: B users, I items, K parts of a mixture, d dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

AT_ONCE = 1 << 23
"""Scores held at once."""


def log_totals(
    users_BKd: Tensor, items_Id: Tensor, log_mixing_IK: Tensor, bound: float, weights_B: Tensor
) -> Tensor:
    """Σ_b weights_b log Σ_i Σ_k exp(<u_bk, v_i> + log_mixing_ik), a number.

    ``bound`` is at least every |<u, v>|: less it nothing overflows, and with unit vectors over τ
    ≥ 0.05 no total vanishes in float32. The gradient is made on the way, some users at a time.
    """
    total: Tensor = _LogTotals.apply(users_BKd, items_Id, log_mixing_IK, bound, weights_B)
    return total


class _LogTotals(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, users: Tensor, items: Tensor, mixing: Tensor, bound: float, weights: Tensor
    ) -> Tensor:
        n_users, parts, dim = users.shape
        step = max(1, AT_ONCE // (parts * len(items)))
        slopes = [torch.empty_like(users), torch.zeros_like(items), torch.zeros_like(mixing.T)]
        shift_KI = mixing.T - bound
        total = users.new_zeros(())
        for begin in range(0, n_users, step):
            some = users[begin : begin + step].reshape(-1, dim)
            share_b = weights[begin : begin + step].to(users.dtype)
            mass_bKI = (some @ items.T).view(-1, parts, len(items)).add_(shift_KI).exp_()
            sums_b = mass_bKI.sum((1, 2))
            total += (share_b * (sums_b.log() + bound)).sum()
            mass_bKI *= (share_b / sums_b)[:, None, None]
            flat = mass_bKI.view(-1, len(items))
            slopes[0][begin : begin + step] = (flat @ items).view(-1, parts, dim)
            slopes[1].addmm_(flat.T, some)
            slopes[2] += mass_bKI.sum(0)
        ctx.save_for_backward(*slopes)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (slope,) = gradients
        users, items, mixing = (part * slope for part in ctx.saved_tensors)
        return users, items, mixing.T, None, None
