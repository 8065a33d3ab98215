"""UIB: a boundary of each user between the items above and below it.

b_u = <w, e_u> + c is a linear head on the user's vector; a positive is to score above it, a
negative below. Shapes: B examples, d dimensions, K negatives an example.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrl4rec.core import lazy
from mrl4rec.core.hashing import uniform
from mrl4rec.models.base import Setup
from mrl4rec.models.factors import Factors, Vectors
from mrl4rec.models.samplers import Negatives, Uniform
from mrl4rec.models.values import Span, check_word, value

if TYPE_CHECKING:
    from torch import Tensor

with lazy.imports():
    import torch
    from torch.nn import functional

FORMS = ("convex", "paper", "broadcast")
TABLE = 2
"""Number of the head among the tables that are drawn from a seed; users and items are 0 and 1."""


@dataclass(frozen=True)
class Uib(Factors):
    """``convex``: (1 − a)·sp(b_u − s_ui) + a·Σ_k sp(s_uj_k − b_u); ``paper``: weights 1 and a."""

    objective: str = "uib"
    negatives: Negatives = Uniform()
    a: float = value(0.5, "weight of the negatives' part", low=0, high=1, tune=Span(0.1, 0.9))
    form: str = value(
        "convex",
        "convex: weights 1 − a and a; paper: 1 and a; broadcast: every boundary of the batch meets "
        "every example, as the authors' code does",
    )

    def check(self, owner: str) -> None:
        """Raise UsageError where a value is not allowed."""
        super().check(owner)
        check_word(owner, "form", self.form, FORMS)

    @property
    def sums_over_examples(self) -> bool:
        """Unless every boundary of the batch meets every example."""
        return self.form != "broadcast"

    def start(self, setup: Setup) -> Vectors:
        """The vectors, and the head."""
        model = super().start(setup)
        bound = 1 / math.sqrt(setup.dim)
        weight = uniform(1, setup.dim, bound, setup.seed, TABLE)
        setup.parameter("objective.weight", weight)
        setup.zeros("objective.bias", 1)
        return model

    def losses(
        self, model: Vectors, user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor
    ) -> Tensor:
        """(B,) losses at full width."""
        head = model.parameters
        boundary_B = (user_Bd * head["objective.weight"]).sum(1) + head["objective.bias"]
        positive_B = (user_Bd * positive_Bd).sum(1)
        negative_BK = (user_Bd[:, None] * negative_BKd).sum(2)
        if self.form == "broadcast":
            return broadcast(boundary_B, positive_B, negative_BK, self.a)
        softplus = functional.softplus
        share = 1.0 if self.form == "paper" else 1 - self.a
        below_B = softplus(negative_BK - boundary_B[:, None]).sum(1)
        return share * softplus(boundary_B - positive_B) + self.a * below_B


def broadcast(boundary_B: Tensor, positive_B: Tensor, negative_BK: Tensor, a: float) -> Tensor:
    """(B,) UIB with the boundary kept as a column: every user's boundary b_v meets every example.

    (1 − a)·mean_u sp(b_v − s_ui) + a·mean_k log(1 + Σ_u exp(s_uj_k − b_v)), u over the batch: a
    boundary of the batch, not of a user. It is here to see what the printed row comes from.
    """
    above_BB = functional.softplus(boundary_B[:, None] - positive_B[None, :])
    gaps_BBK = negative_BK[None] - boundary_B[:, None, None]
    below_BK = functional.softplus(torch.logsumexp(gaps_BBK, dim=1))
    return (1 - a) * above_BB.mean(1) + a * below_BK.mean(1)


VARIANTS = (
    Uib("UIB"),
    # the settings that MRL4Rec's authors ran
    Uib("UIB-mrl4rec", a=0.2, form="broadcast"),
)
