"""Dynamic routing (Sabour et al. 2017; Li et al. 2019, MIND) from the items read to K capsules.

Shapes: B examples, L places, K capsules, d dimensions; G is 1 where all capsules see the same votes
of an item, K where each has its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrl4rec.core import lazy

if TYPE_CHECKING:
    from torch import Tensor

with lazy.imports():
    import torch

ROUNDS = 3
TINY = 1e-9
"""Under the root, so that a capsule of zeros has a gradient."""


def squash(sums: Tensor) -> Tensor:
    """‖z‖²/(1 + ‖z‖²) · z/‖z‖ along the last dimension."""
    squares = sums.pow(2).sum(-1, keepdim=True)
    return sums * (squares / (1 + squares) / torch.sqrt(squares + TINY))


def routed(votes_BGLd: Tensor, logits_BKL: Tensor, there_BL: Tensor) -> Tensor:
    """(B, K, d) capsules after three rounds, from these first logits.

    An item's shares are a softmax over the CAPSULES; an empty place has none. Only the last round
    is differentiated, and of it the votes, not the shares. A capsule whose logits are −∞ stays 0.
    """
    batch, groups = votes_BGLd.shape[:2]
    capsules = logits_BKL.shape[1]
    shape = (batch, groups, capsules // groups, -1)

    def capsules_of(votes: Tensor, logits: Tensor) -> Tensor:
        shares = logits.softmax(dim=1) * there_BL[:, None]
        return squash((shares.view(shape) @ votes).view(batch, capsules, -1))

    with torch.no_grad():
        for _ in range(ROUNDS - 1):
            found = capsules_of(votes_BGLd, logits_BKL)
            agreement = found.view(shape) @ votes_BGLd.transpose(2, 3)
            logits_BKL = logits_BKL + agreement.view(batch, capsules, -1)
    return capsules_of(votes_BGLd, logits_BKL)
