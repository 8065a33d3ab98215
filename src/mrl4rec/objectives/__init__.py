"""Losses of a batch, an example at a time: the caller averages.

Shapes: B examples, d dimensions, K negatives an example, L levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from mrl4rec.objectives.boundary import Boundary
from mrl4rec.objectives.pairs import bce, bpr, bpr_each, mrl, prefix_scores, squared_norms
from mrl4rec.objectives.softmax import log_ratio, log_sums, logsumexp, sampled_softmax
from mrl4rec.objectives.sphere import alignment, uniformity

PairLoss = Callable[[Tensor, Tensor, Tensor, tuple[int, ...]], Tensor]
"""(users (B, d), positives (B, d), negatives (B, K, d), levels) → losses (B,)."""

OBJECTIVES: Mapping[str, PairLoss] = {"bpr": bpr, "bpr_each": bpr_each, "mrl": mrl, "bce": bce}
"""Losses over pairs that have no parameters of their own."""

__all__ = [
    "OBJECTIVES",
    "Boundary",
    "PairLoss",
    "alignment",
    "bce",
    "bpr",
    "bpr_each",
    "log_ratio",
    "log_sums",
    "logsumexp",
    "mrl",
    "prefix_scores",
    "sampled_softmax",
    "squared_norms",
    "uniformity",
]
