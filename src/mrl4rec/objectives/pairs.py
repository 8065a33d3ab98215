"""Losses over pairs of a positive and its negatives. Equations: docs/methods.md#losses.

Shapes: B examples, d dimensions, K negatives an example, L levels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

Levels = tuple[int, ...]


def bpr(user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor, levels: Levels) -> Tensor:
    """(B,) log(1 + Σ_k exp(s_uj_k − s_ui)) at full width; with one negative sp(s_uj − s_ui)."""
    positive_B = (user_Bd * positive_Bd).sum(1)
    if negative_BKd.shape[1] == 1:
        return softplus((user_Bd * negative_BKd[:, 0]).sum(1) - positive_B)
    gaps_BK = (user_Bd[:, None] * negative_BKd).sum(2) - positive_B[:, None]
    zero_B1 = torch.zeros_like(gaps_BK[:, :1])
    return torch.logsumexp(torch.cat([zero_B1, gaps_BK], dim=1), dim=1)


def mrl(user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor, levels: Levels) -> Tensor:
    """(B,) Σ_l w_l sp(s^l_uj_l − s^l_ui), w_l = 1/L; a single negative serves every level."""
    positive_BL = prefix_scores(user_Bd, positive_Bd[:, None], levels)
    negative_BL = prefix_scores(user_Bd, negative_BKd, levels)
    return softplus(negative_BL - positive_BL).mean(dim=1)


def bpr_each(user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor, levels: Levels) -> Tensor:
    """(B,) Σ_k sp(s_uj_k − s_ui): a loss for every negative, as DNS(M, N) is published."""
    positive_B = (user_Bd * positive_Bd).sum(1)
    negative_BK = (user_Bd[:, None] * negative_BKd).sum(2)
    return softplus(negative_BK - positive_B[:, None]).sum(1)


def bce(user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor, levels: Levels) -> Tensor:
    """(B,) sp(−s_ui) + Σ_k sp(s_uj_k): positives and negatives classified each on its own."""
    positive_B = (user_Bd * positive_Bd).sum(1)
    negative_BK = (user_Bd[:, None] * negative_BKd).sum(2)
    return softplus(-positive_B) + softplus(negative_BK).sum(1)


def prefix_scores(user_Bd: Tensor, item_BKd: Tensor, levels: Levels) -> Tensor:
    """(B, L) inner products of the first d_l coordinates, with the level's own item where K = L."""
    if item_BKd.shape[1] == 1:
        parts = (user_Bd * item_BKd[:, 0]).split(_steps(levels), dim=1)
        return torch.stack([part.sum(1) for part in parts], dim=1).cumsum(1)
    return torch.stack(
        [
            (user_Bd[:, :width] * item_BKd[:, level, :width]).sum(1)
            for level, width in enumerate(levels)
        ],
        dim=1,
    )


def squared_norms(user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor) -> Tensor:
    """Σ‖e_u‖² + Σ‖e_i‖² + Σ‖e_j‖² over all K negatives, full width: the regulariser's sum."""
    return user_Bd.pow(2).sum() + positive_Bd.pow(2).sum() + negative_BKd.pow(2).sum()


def _steps(levels: Levels) -> list[int]:
    return [width - before for before, width in zip((0, *levels), levels, strict=False)]
