"""DirectAU: vectors on the sphere, pairs close and all vectors spread out.

Equations: docs/methods.md#losses.

Shapes: B examples, d dimensions; all vectors have length 1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def alignment(user_Bd: Tensor, positive_Bd: Tensor) -> Tensor:
    """() mean ‖u − i‖²."""
    return (user_Bd - positive_Bd).pow(2).sum(1).mean()


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
