"""A softmax over every item, of mixtures, without its (B, K, I) scores in memory at once.

Shapes: B users, I items, K parts of a mixture, d dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

AT_ONCE = 1 << 21
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
        # a part of a user picks its column of ``mixing`` by a 1, so that all is done by products
        picks_KK = torch.eye(parts, dtype=users.dtype, device=users.device)
        right_In = torch.cat([items, mixing - bound], dim=1)
        summed_In = torch.cat([items, items.new_ones(len(items), 1)], dim=1)
        to_users, to_right = torch.empty_like(users), torch.zeros_like(right_In)
        total = users.new_zeros(())
        for begin in range(0, n_users, step):
            some_bKd = users[begin : begin + step]
            left = torch.cat([some_bKd, picks_KK.expand(len(some_bKd), -1, -1)], dim=2)
            flat = left.view(-1, dim + parts)
            mass = (flat @ right_In.T).exp_()
            found_bKn = (mass @ summed_In).view(len(some_bKd), parts, -1)
            sums_b = found_bKn[:, :, dim].sum(1)
            share_b = weights[begin : begin + step].to(users.dtype)
            total += (share_b * (sums_b.log() + bound)).sum()
            scale_b11 = (share_b / sums_b)[:, None, None]
            to_users[begin : begin + step] = found_bKn[:, :, :dim] * scale_b11
            to_right.addmm_(mass.T, (left * scale_b11).view(-1, dim + parts))
        ctx.save_for_backward(to_users, *to_right.split([dim, parts], dim=1))
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (slope,) = gradients
        users, items, mixing = (part * slope for part in ctx.saved_tensors)
        return users, items, mixing, None, None
