"""MIND (Li et al. 2019): a user's items vote for K capsules, and the target attends to them.

All votes are S e_i with one matrix S (behaviour-to-interest routing). Routing starts from random
logits, which part the capsules: in training drawn anew for every example, from its place; at
serving one draw for everybody, by place in the history (counted from the newest item) and capsule,
so that a history always gives the same vectors.

Shapes: B examples, L places of a window, K capsules, I items, d dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrl4rec.core import lazy
from mrl4rec.models.sequential.base import RATE, Noise
from mrl4rec.models.sequential.interests import Level, SeveralInterests, Table
from mrl4rec.models.values import Span, check_word, value

if TYPE_CHECKING:
    from torch import Tensor

    from mrl4rec.models.sequential.weights import Weights

with lazy.imports():
    import torch

    from mrl4rec.kernels import noise_torch
    from mrl4rec.models.sequential import capsules, interests, layers

READOUTS = ("attention", "argmax")


@dataclass(frozen=True)
class Mind(SeveralInterests):
    """A softmax of the target, by a mean of the capsules weighed by how near they are to it."""

    model: str = "mind"
    lr: float = value(1e-3, "Adam's step size; > 0", low=1e-12, tune=RATE)
    readout: str = value(
        "attention",
        "the vector in training: `attention`, capsules weighed by softmax(<v_k, e>^sharpness), or "
        "`argmax`, the nearest capsule",
    )
    sharpness: float = value(
        2.0,
        "p of the attention, which keeps the sign of <v_k, e>; with products above 1, the larger, "
        "the nearer to argmax",
        low=1,
        tune=Span(1.0, 16.0, log=True),
    )
    adaptive: int = value(
        0,
        "1: K_u = max(1, min(K, log2 of the items read)) capsules a user, rounded down, as in the "
        "paper; the rest repeat the first. 0: K",
        low=0,
        high=1,
    )
    head: int = value(0, "1: a ReLU layer after the capsules, as in the paper; 0: none", 0, 1)

    def check(self, owner: str) -> None:
        """Raise UsageError where a value is not allowed."""
        super().check(owner)
        check_word(owner, "readout", self.readout, READOUTS)

    def net(self, weights: Weights, n_items: int, dim: int) -> Capsules:
        """Item vectors, S and perhaps the head."""
        return Capsules(weights, n_items, dim, self)

    def read(self, level: Level) -> Tensor:
        """(B, w) by the attention, or the nearest capsule."""
        if self.readout == "argmax":
            return super().read(level)
        products_BK = (level.users_BKw @ level.own_Bw[:, :, None])[:, :, 0]
        logits_BK = products_BK.sign() * products_BK.abs().pow(self.sharpness)
        if self.adaptive:
            used_BK = capsules_used(level.examples.lengths_B, self.interests)
            logits_BK = logits_BK.masked_fill(~used_BK, -torch.inf)
        return (logits_BK.softmax(1)[:, None] @ level.users_BKw)[:, 0]


def capsules_used(lengths_B: Tensor, capsule_count: int) -> Tensor:
    """(B, K) which capsules users with so many items have: the first, and number k ≤ log2 n."""
    powers_K = 2 ** torch.arange(1, capsule_count + 1, device=lengths_B.device)
    powers_K[0] = 0
    return lengths_B[:, None] >= powers_K


class Capsules(Table):
    """The net."""

    def __init__(self, weights: Weights, n_items: int, dim: int, method: Mind) -> None:
        self.table = layers.table(weights, "items", n_items, dim)
        self.map = layers.Linear(weights, "map", dim, dim, bias=False)
        self.head = layers.Linear(weights, "head", dim, dim) if method.head else None
        self.interests, self.adaptive = method.interests, bool(method.adaptive)

    def encode(self, items_BL: Tensor, noise: Noise | None = None) -> Tensor:
        """(B, K, d)."""
        items_BL = interests.newest_last(items_BL, len(self.table))
        values_BLd, there_BL = layers.embed(self.table, items_BL)
        votes_B1Ld = self.map(values_BLd)[:, None]
        logits_BKL = first_logits(items_BL, self.interests, noise).to(values_BLd.dtype)
        used_BK = capsules_used(there_BL.sum(1), self.interests)
        if self.adaptive:
            logits_BKL = logits_BKL.masked_fill(~used_BK[:, :, None], -torch.inf)
        found_BKd = capsules.routed(votes_B1Ld, logits_BKL, there_BL)
        if self.head is not None:
            found_BKd = torch.relu(self.head(found_BKd))
        if self.adaptive:
            found_BKd = torch.where(used_BK[:, :, None], found_BKd, found_BKd[:, :1])
        return found_BKd


def first_logits(items_BL: Tensor, capsule_count: int, noise: Noise | None) -> Tensor:
    """(B, K, L) of a standard normal distribution cut at ±2, without a gradient.

    In training a function of (seed, step, example, place, capsule), at serving of place and
    capsule. Places count from the newest.
    """
    batch, length = items_BL.shape
    place = noise.place if noise is not None else None
    rows = torch.zeros(1, dtype=torch.int64, device=items_BL.device)
    at: noise_torch.Word = noise_torch.word(0, 0, noise_torch.NORMAL)
    if place is not None:
        rows = torch.arange(place.first, place.first + batch, device=items_BL.device)
        at = noise_torch.word(place.seed, place.step, noise_torch.NORMAL)
    uniform = noise_torch.uniforms(at, rows, length * capsule_count)
    within = math.erf(math.sqrt(2))  # the share of a normal distribution between ±2
    normal = math.sqrt(2) * torch.erfinv((2 * uniform - 1) * within)
    return normal.view(-1, length, capsule_count).flip(1).transpose(1, 2).expand(batch, -1, -1)


VARIANTS = (Mind("MIND"), Mind("MIND-argmax", readout="argmax"))
