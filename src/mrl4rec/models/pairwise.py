"""BPR and its kin: a positive against its negatives, at full width or at every level.

MRL-M is (mf, mrl, per_level(dns)): each level of the nested vectors has a loss of its own, with a
negative that is hard at that width. The rows of the paper's Table 3 are here, and the negative
samplers it is compared with.

Shapes: B examples, d dimensions, K negatives an example, L levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrl4rec.core import lazy
from mrl4rec.models.factors import Factors, Vectors
from mrl4rec.models.samplers import Ahns, Dns, DnsBest, DnsMn, PerLevel, Popular, Uniform
from mrl4rec.models.values import check_word

if TYPE_CHECKING:
    from torch import Tensor

with lazy.imports():
    import torch
    from torch.nn import functional

Levels = tuple[int, ...]


def bpr(user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor, levels: Levels) -> Tensor:
    """(B,) log(1 + Σ_k exp(s_uj_k − s_ui)) at full width; with one negative sp(s_uj − s_ui)."""
    positive_B = (user_Bd * positive_Bd).sum(1)
    if negative_BKd.shape[1] == 1:
        return functional.softplus((user_Bd * negative_BKd[:, 0]).sum(1) - positive_B)
    gaps_BK = (user_Bd[:, None] * negative_BKd).sum(2) - positive_B[:, None]
    zero_B1 = torch.zeros_like(gaps_BK[:, :1])
    return torch.logsumexp(torch.cat([zero_B1, gaps_BK], dim=1), dim=1)


def mrl(user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor, levels: Levels) -> Tensor:
    """(B,) Σ_l w_l sp(s^l_uj_l − s^l_ui), w_l = 1/L; a single negative serves every level."""
    positive_BL = prefix_scores(user_Bd, positive_Bd[:, None], levels)
    negative_BL = prefix_scores(user_Bd, negative_BKd, levels)
    return functional.softplus(negative_BL - positive_BL).mean(dim=1)


def bpr_each(user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor, levels: Levels) -> Tensor:
    """(B,) Σ_k sp(s_uj_k − s_ui): a loss for every negative, as DNS(M, N) is published."""
    positive_B = (user_Bd * positive_Bd).sum(1)
    negative_BK = (user_Bd[:, None] * negative_BKd).sum(2)
    return functional.softplus(negative_BK - positive_B[:, None]).sum(1)


def bce(user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor, levels: Levels) -> Tensor:
    """(B,) sp(−s_ui) + Σ_k sp(s_uj_k): positives and negatives classified each on its own."""
    positive_B = (user_Bd * positive_Bd).sum(1)
    negative_BK = (user_Bd[:, None] * negative_BKd).sum(2)
    return functional.softplus(-positive_B) + functional.softplus(negative_BK).sum(1)


OBJECTIVES: Mapping[str, Callable[[Tensor, Tensor, Tensor, Levels], Tensor]] = {
    "bpr": bpr,
    "bpr_each": bpr_each,
    "mrl": mrl,
    "bce": bce,
}


def prefix_scores(user_Bd: Tensor, item_BKd: Tensor, levels: Levels) -> Tensor:
    """(B, L) inner products of the first d_l coordinates, with the level's own item where K = L."""
    if item_BKd.shape[1] == 1:
        steps = [width - before for before, width in zip((0, *levels), levels, strict=False)]
        parts = (user_Bd * item_BKd[:, 0]).split(steps, dim=1)
        return torch.stack([part.sum(1) for part in parts], dim=1).cumsum(1)
    return torch.stack(
        [
            (user_Bd[:, :width] * item_BKd[:, level, :width]).sum(1)
            for level, width in enumerate(levels)
        ],
        dim=1,
    )


@dataclass(frozen=True)
class Pairwise(Factors):
    """A loss of ``OBJECTIVES`` against the negatives of any sampler."""

    def check(self, owner: str) -> None:
        """Raise UsageError where a value is not allowed."""
        super().check(owner)
        check_word(owner, "objective", self.objective, list(OBJECTIVES))

    @property
    def has_levels(self) -> bool:
        """The loss or the negatives are made a level at a time."""
        return self.objective == "mrl" or super().has_levels

    def losses(
        self, model: Vectors, user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor
    ) -> Tensor:
        """(B,) losses of the objective."""
        return OBJECTIVES[self.objective](user_Bd, positive_Bd, negative_BKd, model.levels)


VARIANTS = (
    Pairwise("BPR", "mf", "bpr", Uniform()),
    Pairwise("BPR-D", "mf", "bpr", Dns(16)),
    # as many candidates as MRL-M draws over its levels
    Pairwise("BPR-D80", "mf", "bpr", Dns(80)),
    Pairwise("BPR-M", "mf", "bpr", PerLevel(Dns(16))),
    Pairwise("MRL-D", "mf", "mrl", Dns(16)),
    Pairwise("MRL-M", "mf", "mrl", PerLevel(Dns(16))),
    Pairwise("BCE", "mf", "bce", Uniform()),
    Pairwise("BPR-pop", "mf", "bpr", Popular(1)),
    Pairwise("DNS-MN", "mf", "bpr", DnsMn(16)),
    Pairwise("DNS-MN-sum", "mf", "bpr_each", DnsBest(16)),
    Pairwise("AHNS", "mf", "bpr", Ahns(32)),
    Pairwise("LHANS", "mf", "mrl", PerLevel(Ahns(16))),
)
"""Settings are MRL4Rec's (dimension, batch, step size, regulariser, stopping), and those of a
sampler's own paper where it has its own."""
