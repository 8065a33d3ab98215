"""Softmax losses: a positive against many negatives. Equations: METHODS.md 2.4, 6.

Shapes: B examples, N negatives, of which those of an example that are none have a score of −∞.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sampled_softmax(positive_B: Tensor, negative_BN: Tensor, tau: float) -> Tensor:
    """(B,) SSM: −log of the positive's share, itself in the denominator, at temperature tau."""
    positive_B, negative_BN = positive_B / tau, negative_BN / tau
    return torch.logaddexp(positive_B, _logsumexp(negative_BN)) - positive_B


def log_ratio(positive_B: Tensor, negative_BN: Tensor, tau: float, ratio: float) -> Tensor:
    """(B,) BSL: −x_i/tau + ratio·log Σ_j exp(x_j/tau), the positive not among the j.

    ``ratio`` 1 is SL. An example without a negative loses its second term.
    """
    logs_B = _logsumexp(negative_BN / tau)
    return ratio * torch.where(torch.isfinite(logs_B), logs_B, 0.0) - positive_B / tau


def _logsumexp(scores_BN: Tensor) -> Tensor:
    """log Σ_j exp x_j; −∞ where every x_j is, with a gradient of zero."""
    top_B1 = scores_BN.detach().amax(dim=1, keepdim=True)
    top_B1 = torch.where(torch.isfinite(top_B1), top_B1, 0.0)
    total_B = (scores_BN - top_B1).exp().sum(1)
    return torch.where(total_B > 0, total_B, 1.0).log() + torch.where(
        total_B > 0, top_B1[:, 0], -torch.inf
    )
