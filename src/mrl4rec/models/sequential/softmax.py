"""Softmax losses over items: all of them, negatives that a step shares, or the batch's own.

With a sample S of the items, drawn with probability q, the logit of each is corrected by −log q
(logQ, Bengio and Senécal 2008): the gradient then is that of the softmax over all items, nearly.
A negative that is the example's own target (an accidental hit) is left out.

Shapes: B examples of this process, S negatives of a step, I items, d dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mrl4rec.kernels import softmax_torch
from mrl4rec.models.negatives.several import ends_of_shares, shared

if TYPE_CHECKING:
    from mrl4rec.models.negatives import Place
    from mrl4rec.models.samplers import Negatives


class Sample(NamedTuple):
    """Items that a step's targets are held against, and how likely each was drawn."""

    items_S: Tensor
    log_q_S: Tensor | None
    """log q of each, up to a constant that all share; None: all are as likely."""


class Draws:
    """Draws the negatives of a step, a pure function of its place in training and the level."""

    def __init__(
        self, negatives: Negatives, counts_I: NDArray[Any], device: torch.device, levels: int = 1
    ) -> None:
        """``counts_I``: events of each item in training. The levels share a step's negatives out,
        so that a nested model draws as many as a plain one, and a step costs hardly more.
        """
        self.kind, self.device = negatives.kind, device
        self.size = -(-negatives.candidates // levels)
        """Negatives of a level."""
        self.n_items = len(counts_I)
        self.ends: Tensor | None = None
        self.log_q: Tensor | None = None
        """(I,) of the distribution that is corrected for; None: no correction."""
        power = getattr(negatives, "power", 1.0)
        if self.kind == "shared_popular":
            self.ends = torch.from_numpy(ends_of_shares(counts_I, power)).to(device)
        if self.kind in ("shared_popular", "in_batch"):
            weights = np.maximum(counts_I, 0.5).astype(np.float64) ** power
            log_q = np.log(weights / weights.sum())
            self.log_q = torch.from_numpy(log_q.astype(np.float32)).to(device)

    def sample(self, place: Place, level: int = 0) -> Sample:
        """Shared negatives of a step. Every process draws the same."""
        items = shared(place, self.size, self.n_items, self.device, level, self.ends)
        return self._of(items)

    def step(self, targets_B: Tensor, place: Place, level: int = 0) -> Sample:
        """What a step's targets are held against: shared negatives, or each other."""
        return self._of(targets_B) if self.kind == "in_batch" else self.sample(place, level)

    def _of(self, items_S: Tensor) -> Sample:
        return Sample(items_S, None if self.log_q is None else self.log_q[items_S])

    def losses(
        self,
        users_Bd: Tensor,
        items_Id: Tensor,
        targets_B: Tensor,
        place: Place,
        level: int = 0,
        half: bool = False,
    ) -> Tensor:
        """(B,) −log of the target's share, by the kind of negatives.

        ``half``: scores are bfloat16 products.
        """
        if self.kind == "none":
            return softmax_torch.losses(users_Bd, items_Id, targets_B, half)
        sample = self.step(targets_B, place, level)
        return sampled(users_Bd, items_Id, targets_B, sample, self.log_q, half)


def sampled(
    users_Bd: Tensor,
    items_Id: Tensor,
    targets_B: Tensor,
    sample: Sample,
    log_q_I: Tensor | None = None,
    half: bool = False,
) -> Tensor:
    """(B,) softmax of the target against the sample, logits corrected by −log q."""
    own_Bd = functional.embedding(targets_B, items_Id)
    others_Sd = functional.embedding(sample.items_S, items_Id)
    return of_rows(users_Bd, own_Bd, others_Sd, targets_B, sample, log_q_I, half)


def of_rows(
    users_Bd: Tensor,
    own_Bd: Tensor,
    others_Sd: Tensor,
    targets_B: Tensor,
    sample: Sample,
    log_q_I: Tensor | None = None,
    half: bool = False,
) -> Tensor:
    """The same where the vectors of the targets and of the sample are at hand."""
    own_B = (users_Bd * own_Bd).sum(1)
    if log_q_I is not None:
        own_B = own_B - log_q_I[targets_B]
    left_out = (targets_B, sample.items_S)
    return softmax_torch.against(own_B, users_Bd, others_Sd, sample.log_q_S, left_out, half)


def corrected(
    own_B: Tensor,
    others_BS: Tensor,
    targets_B: Tensor,
    sample: Sample,
    log_q_I: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Logits of the targets and the sample, less log q, with −∞ for an example's own target."""
    if log_q_I is not None and sample.log_q_S is not None:
        own_B = own_B - log_q_I[targets_B]
        others_BS = others_BS - sample.log_q_S
    hits_BS = sample.items_S[None] == targets_B[:, None]
    return own_B, others_BS.masked_fill(hits_BS, -torch.inf)


def against(own_B: Tensor, others_BS: Tensor) -> Tensor:
    """(B,) −log of the target's share."""
    logits = torch.cat([own_B[:, None], others_BS], dim=1)
    return torch.logsumexp(logits, dim=1) - own_B
