"""DirectAU: vectors on the sphere, pairs close and everybody apart. Equations: METHODS.md 2.6.

Shapes: B examples, d dimensions; all vectors have length 1.
"""

from __future__ import annotations

import torch
from torch import Tensor


def alignment(user_Bd: Tensor, positive_Bd: Tensor) -> Tensor:
    """() mean ‖u − i‖²."""
    return (user_Bd - positive_Bd).pow(2).sum(1).mean()


def uniformity(vector_Bd: Tensor) -> Tensor:
    """() log mean_{a<b} exp(−2‖x_a − x_b‖²); entries that repeat count as often as they are there.

    ‖x_a − x_b‖² = 2 − 2<x_a, x_b>, so one product of matrices gives all of them; the diagonal's
    ones are taken out of the sum. A single vector has nobody to be apart from: 0.
    """
    n = len(vector_Bd)
    if n < 2:
        return vector_Bd.sum() * 0.0
    kernel_BB = (4.0 * (vector_Bd @ vector_Bd.T) - 4.0).exp()
    apart = kernel_BB.sum() - kernel_BB.diagonal().sum()
    return torch.log(apart / (n * (n - 1)))
