"""Sums of exponentials over all pairs of two sets of vectors, with derivatives made in place.

Shapes: B examples, N other vectors, d dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def log_sums(user_Bd: Tensor, other_Nd: Tensor, left_out_BN: Tensor, tau: float) -> Tensor:
    """(B,) log Σ_j exp(<u, v_j>/tau) over the shared j that an example does not leave out.

    −∞, with a gradient of zero, for an example that leaves out all of them. The (B, N) scores are
    made once and gone over in place: a batch against itself is bound by memory, not by arithmetic.
    """
    # torch leaves Function.apply, and the decorator below, without types
    found: Tensor = _LogSums.apply(user_Bd, other_Nd, left_out_BN, 1.0 / tau)  # type: ignore[no-untyped-call]
    return found


class _LogSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, user_Bd: Tensor, other_Nd: Tensor, left_out_BN: Tensor, scale: float
    ) -> Tensor:
        weights_BN = (user_Bd * scale) @ other_Nd.T
        weights_BN.masked_fill_(left_out_BN, -torch.inf)
        top_B1 = weights_BN.amax(dim=1, keepdim=True)
        top_B1.masked_fill_(top_B1 == -torch.inf, 0.0)
        total_B = weights_BN.sub_(top_B1).exp_().sum(1)
        ctx.save_for_backward(user_Bd, other_Nd, weights_BN, total_B)
        ctx.scale = scale
        return total_B.log() + top_B1[:, 0]

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_B: Tensor) -> tuple[Tensor, Tensor, None, None]:
        user_Bd, other_Nd, weights_BN, total_B = ctx.saved_tensors
        share_B = torch.where(total_B > 0, grad_B * ctx.scale / total_B, 0.0)
        gradient_BN = weights_BN * share_B[:, None]
        return gradient_BN @ other_Nd, gradient_BN.T @ user_Bd, None, None


def logsumexp(scores_BN: Tensor) -> Tensor:
    """(B,) log Σ_j exp x_j; −∞ where every x_j is, with a gradient of zero."""
    top_B1 = scores_BN.detach().amax(dim=1, keepdim=True)
    top_B1 = torch.where(torch.isfinite(top_B1), top_B1, 0.0)
    total_B = (scores_BN - top_B1).exp().sum(1)
    return torch.where(total_B > 0, total_B, 1.0).log() + torch.where(
        total_B > 0, top_B1[:, 0], -torch.inf
    )


def uniformity(vector_Bd: Tensor) -> Tensor:
    """() log mean_{a<b} exp(−2‖x_a − x_b‖²); entries that repeat count as often as they are there.

    ‖x_a − x_b‖² = 2 − 2<x_a, x_b>, so one product of matrices gives all of them. A single
    vector has nobody to be apart from: 0.
    """
    n = len(vector_Bd)
    if n < 2:
        return vector_Bd.sum() * 0.0
    # torch leaves Function.apply, and the decorator below, without types
    apart: Tensor = _KernelSum.apply(vector_Bd)  # type: ignore[no-untyped-call]
    return torch.log(apart / (n * (n - 1)))


class _KernelSum(torch.autograd.Function):
    """Σ_{a≠b} exp(4<x_a, x_b> − 4). The (B, B) kernel is made once and gone over in place."""

    @staticmethod
    def forward(ctx: Any, vector_Bd: Tensor) -> Tensor:
        kernel_BB = (vector_Bd * 4.0) @ vector_Bd.T
        kernel_BB.sub_(4.0).exp_().fill_diagonal_(0.0)
        ctx.save_for_backward(vector_Bd, kernel_BB)
        return kernel_BB.sum()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        vector_Bd, kernel_BB = ctx.saved_tensors
        return (8.0 * grad) * (kernel_BB @ vector_Bd)  # each pair is there twice
