"""Contrast between two views of the same nodes. N nodes, d dimensions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def info_nce(one_Nd: Tensor, other_Nd: Tensor, temperature: float) -> Tensor:
    """Mean over nodes n of −log(exp(c_nn/τ) / Σ_m exp(c_nm/τ)), c the cosine of the two views.

    The node's own pair is among those it is held against (van den Oord et al. 2018).
    """
    one, other = normalize(one_Nd), normalize(other_Nd)
    own_N = (one * other).sum(1) / temperature
    return (torch.logsumexp(one @ other.T / temperature, dim=1) - own_N).mean()
