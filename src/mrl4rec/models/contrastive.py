"""SSM, BSL and DirectAU: cosines or inner products against many items at once.

SSM (Wu et al. 2022) is a softmax over the positive and its negatives; the denominator of SL and BSL
(Wu et al. 2024) leaves the positive out; DirectAU (Wang et al. 2022) has no negatives: pairs close
on the sphere, everybody apart.

Shapes: B examples of this process, U users, I items, d dimensions, N negatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from mrl4rec.core import lazy
from mrl4rec.models.base import Batch
from mrl4rec.models.factors import Factors, Vectors
from mrl4rec.models.samplers import InBatch, Negatives, NoNegatives, Shared
from mrl4rec.models.values import Span, check_word, value

if TYPE_CHECKING:
    from torch import Tensor

with lazy.imports():
    import torch
    from torch.nn import functional

    from mrl4rec.kernels import contrast_torch
    from mrl4rec.models import negatives

SCORES = ("inner", "cosine")


class Rows(NamedTuple):
    """What is compared: vectors as the method's similarity takes them."""

    user_Bd: Tensor
    positive_Bd: Tensor
    chosen: Tensor
    """Items held against the positive: (N,) for all examples, (B, K) for each its own."""
    other: Tensor
    """Their vectors, (N, d) or (B, K, d)."""


@dataclass(frozen=True)
class Contrastive(Factors):
    """What the three share: similarity, negatives, regulariser."""

    code: ClassVar[int] = 3

    similarity: str = value("cosine", "what the loss compares: cosine or inner products")
    scoring: str = value("inner", "what items are ranked by: inner products or cosine")

    def check(self, owner: str) -> None:
        """Raise UsageError where a value is not allowed."""
        super().check(owner)
        check_word(owner, "similarity", self.similarity, SCORES)
        check_word(owner, "scoring", self.scoring, SCORES)

    @property
    def sums_over_examples(self) -> bool:
        """Only where the negatives are drawn, not the batch's own items."""
        return not isinstance(self.negatives, NoNegatives)

    def loss(self, model: Vectors, batch: Batch) -> Tensor:
        """This process's part of the mean over the batch; DirectAU: the loss of it.

        The regulariser is that of the other factor methods; negatives that all examples share
        count once a batch, and the batch's own items as positives only.
        """
        users, items = model.pooled()
        user_Bd = functional.embedding(batch.users_B, users)
        positive_Bd = functional.embedding(batch.positives_B, items)
        chosen = self._negatives(model, batch, users, items)
        if self.similarity == "cosine":
            user_Bd, positive_Bd = functional.normalize(user_Bd), functional.normalize(positive_Bd)
        rows = Rows(user_Bd, positive_Bd, batch.positives_B, positive_Bd)
        if chosen is not None:
            other = self._similar(functional.embedding(chosen, items))
            rows = Rows(user_Bd, positive_Bd, chosen, other)
        loss = self.compared(model, batch, rows)
        if self.l2 == 0:
            return loss
        return loss + self.l2 / 2 / batch.size * _norms(model, batch, chosen)

    def compared(self, model: Vectors, batch: Batch, rows: Rows) -> Tensor:
        """() the loss without the regulariser."""
        raise NotImplementedError

    def _negatives(
        self, model: Vectors, batch: Batch, users: Tensor, items: Tensor
    ) -> Tensor | None:
        """Items: (N,) for all examples, (B, K) for each its own; None: those of the batch."""
        if isinstance(self.negatives, NoNegatives):
            return None
        if isinstance(self.negatives, Shared):
            return negatives.shared(
                batch.place, self.negatives.candidates, len(items), batch.users_B.device
            )
        return model.sampler.choose(batch.users_B, users, items, batch.place, batch.positives_B)

    def _similar(self, vectors: Tensor) -> Tensor:
        return functional.normalize(vectors, dim=-1) if self.similarity == "cosine" else vectors

    def vectors(self, model: Vectors) -> dict[str, Tensor]:
        """The vectors to score with; of length 1 where the method scores by cosine."""
        found = super().vectors(model)
        if self.scoring == "inner":
            return found
        sides = {
            name: functional.normalize(found[name]) for name in ("user_vectors", "item_vectors")
        }
        return {"user_vectors_0": model.users, "item_vectors_0": model.items} | sides


def _norms(model: Vectors, batch: Batch, chosen: Tensor | None) -> Tensor:
    """Squared norms of the layer-0 rows of this process's examples."""
    total = functional.embedding(batch.users_B, model.users).pow(2).sum()
    total = total + functional.embedding(batch.positives_B, model.items).pow(2).sum()
    if chosen is None:
        return total
    share = len(batch.users_B) / batch.size if chosen.dim() == 1 else 1.0
    return total + share * functional.embedding(chosen, model.items).pow(2).sum()


@dataclass(frozen=True)
class Softmax(Contrastive):
    """A positive against log Σ_j exp(x_j/tau) of its negatives."""

    tau: float = value(0.2, "temperature; > 0", low=1e-6, tune=Span(5e-2, 1.0, log=True))

    def compared(self, model: Vectors, batch: Batch, rows: Rows) -> Tensor:
        """This process's part of the mean over the batch."""
        user_Bd, positive_Bd, chosen, other = rows
        if other.dim() == 2:  # the same for all examples
            left_out_BN = model.sampler.seen_among(batch.users_B, chosen)
            logs_B = contrast_torch.log_sums(user_Bd, other, left_out_BN, self.tau)
        else:
            logs_B = contrast_torch.logsumexp((user_Bd[:, None] * other).sum(2) / self.tau)
        own_B = (user_Bd * positive_Bd).sum(1)
        return self.softmax_losses(own_B, logs_B).sum() / batch.size

    def softmax_losses(self, positive_B: Tensor, logs_B: Tensor) -> Tensor:
        """(B,) losses; ``logs_B`` are log Σ_j exp(x_j/tau) of the negatives."""
        raise NotImplementedError


@dataclass(frozen=True)
class Ssm(Softmax):
    """−log of the positive's share, itself in the denominator."""

    objective: str = "ssm"
    negatives: Negatives = InBatch()

    def softmax_losses(self, positive_B: Tensor, logs_B: Tensor) -> Tensor:
        """(B,) losses."""
        positive_B = positive_B / self.tau
        return torch.logaddexp(positive_B, logs_B) - positive_B


@dataclass(frozen=True)
class Bsl(Softmax):
    """−x_i/tau + ratio·log Σ_j exp(x_j/tau), the positive not among the j."""

    objective: str = "bsl"
    negatives: Negatives = Shared(1024)
    scoring: str = value("cosine", "what items are ranked by: inner products or cosine")
    tau: float = value(0.14, "temperature; > 0", low=1e-6, tune=Span(5e-2, 1.0, log=True))
    ratio: float = value(1.32, "weight of the negatives' part; 1: SL", low=0, tune=Span(0.8, 2.0))

    def softmax_losses(self, positive_B: Tensor, logs_B: Tensor) -> Tensor:
        """(B,) losses. An example without a negative loses its second term."""
        logs_B = torch.where(torch.isfinite(logs_B), logs_B, 0.0)
        return self.ratio * logs_B - positive_B / self.tau


@dataclass(frozen=True)
class DirectAu(Contrastive):
    """mean ‖u − i‖² + gamma/2 times the uniformity of the users and of the items."""

    objective: str = "directau"
    gamma: float = value(
        0.5,
        "weight of the uniformity of users and items",
        low=0,
        tune=Span(1e-1, 10.0, log=True),
    )

    def compared(self, model: Vectors, batch: Batch, rows: Rows) -> Tensor:
        """The loss of the whole batch."""
        apart = contrast_torch.uniformity(rows.user_Bd) + contrast_torch.uniformity(
            rows.positive_Bd
        )
        return alignment(rows.user_Bd, rows.positive_Bd) + self.gamma / 2 * apart


def alignment(user_Bd: Tensor, positive_Bd: Tensor) -> Tensor:
    """() mean ‖u − i‖²."""
    return (user_Bd - positive_Bd).pow(2).sum(1).mean()


VARIANTS = (
    Ssm("SSM"),
    DirectAu("DAU"),
    DirectAu("DAU-cosine", scoring="cosine"),
    DirectAu("DAU-own", batch=256, l2=0.0, patience=10, evaluate_every=1),
    Bsl("BSL"),
    Bsl("BSL-own", lr=5e-4, l2=1e-3),
)
"""Settings are MRL4Rec's where the loss has none of its own; ``X-own`` has its paper's others too,
as far as they can be had here."""
