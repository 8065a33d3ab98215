"""Other losses over vectors of users and items. Equations: docs/methods.md#losses.

Rows have the settings that MRL4Rec trains every row of its Table 2 with (dimension, batch, step
size, regulariser, stopping) and their own paper's where the loss has its own; ``X-own`` has other
settings of its own paper too, as far as they can be had here; ``X-mrl4rec`` is what MRL4Rec ran.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mrl4rec.methods.base import Method, check_word, value
from mrl4rec.methods.factors import Factors

FORMS = ("convex", "paper", "broadcast")
SCORES = ("inner", "cosine")


@dataclass(frozen=True)
class Uib(Factors):
    """UIB: positives above a boundary of the user, negatives below it (Zhuo et al. 2022)."""

    a: float = value(0.5, "weight of the negatives' part", low=0, high=1)
    form: str = value(
        "convex",
        "convex: weights 1 − a and a; paper: 1 and a; broadcast: every boundary of the batch meets "
        "every example, as the authors' code does",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_word(self.name, "form", self.form, FORMS)

    @property
    def sums_over_examples(self) -> bool:
        """Unless every boundary of the batch meets every example."""
        return self.form != "broadcast"


@dataclass(frozen=True)
class Contrastive(Factors):
    """A loss of cosines or inner products against many negatives at once."""

    trained_as: ClassVar[str] = "contrastive"

    similarity: str = value("cosine", "what the loss compares: cosine or inner products")
    scoring: str = value("inner", "what items are ranked by: inner products or cosine")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_word(self.name, "similarity", self.similarity, SCORES)
        check_word(self.name, "scoring", self.scoring, SCORES)

    @property
    def sums_over_examples(self) -> bool:
        """Only where the negatives are drawn, not the batch's own items."""
        return self.kind not in ("none", "in_batch")


@dataclass(frozen=True)
class Ssm(Contrastive):
    """SSM: softmax over the positive and its negatives (arXiv 2201.02327)."""

    tau: float = value(0.2, "temperature; > 0", low=1e-6)


@dataclass(frozen=True)
class Bsl(Contrastive):
    """SL and BSL: softmax whose denominator leaves the positive out."""

    tau: float = value(0.14, "temperature; > 0", low=1e-6)
    ratio: float = value(1.32, "weight of the negatives' part; 1: SL", low=0)


@dataclass(frozen=True)
class DirectAu(Contrastive):
    """DirectAU: alignment and uniformity on the sphere; no negatives (arXiv 2206.12811)."""

    gamma: float = value(0.5, "weight of the uniformity of users and items", low=0)


ROWS: tuple[Method, ...] = (
    Factors("BCE", "mf", "bce", "uniform", candidates=1),
    Ssm("SSM", "mf", "ssm", "in_batch", candidates=1),
    Uib("UIB", "mf", "uib", "uniform", candidates=1),
    Uib("UIB-mrl4rec", "mf", "uib", "uniform", candidates=1, a=0.2, form="broadcast"),
    DirectAu("DAU", "mf", "directau", "none", candidates=1),
    DirectAu("DAU-cosine", "mf", "directau", "none", candidates=1, scoring="cosine"),
    DirectAu(
        "DAU-own", "mf", "directau", "none", candidates=1, batch=256, l2=0.0, patience=10,
        evaluate_every=1,
    ),
    Bsl("BSL", "mf", "bsl", "shared", candidates=1024, scoring="cosine"),
    Bsl("BSL-own", "mf", "bsl", "shared", candidates=1024, scoring="cosine", lr=5e-4, l2=1e-3),
)  # fmt: skip
