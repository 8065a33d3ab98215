"""Other kinds of negatives. Equations: docs/methods.md#negative-samplers.

Rows have the settings that MRL4Rec trains every row of its tables with (dimension, batch, step
size, regulariser, stopping) and their own paper's where the sampler has its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mrl4rec.methods.base import Method, value
from mrl4rec.methods.factors import Factors


@dataclass(frozen=True)
class Popular(Factors):
    """Negatives drawn by popularity."""

    power: float = value(0.75, "an item is drawn in proportion to its pairs to this power", low=0)


@dataclass(frozen=True)
class DnsMn(Factors):
    """DNS(M, N): one of the M best of N candidates, or all M (Shi et al. 2023)."""

    top: int = value(
        2, "M: of so many best-scored candidates one is drawn, or all are taken", low=1
    )


@dataclass(frozen=True)
class Ahns(Factors):
    """AHNS: least |s_uc − beta·(s_ui + alpha)^(p + 1)|: the worse a pair is fitted, the harder."""

    alpha: float = value(1.0, "added to the positive's score; > 0", low=1e-6)
    beta: float = value(0.1, "scale of the score that is looked for", low=0)
    p: float = value(-2.0, "p < 0; the power is p + 1", high=0, low=-10)


@dataclass(frozen=True)
class MixGcf(Factors):
    """MixGCF: candidates mixed with the positive, layer by layer (Huang et al. 2021)."""

    trained_as: ClassVar[str] = "mixing"


@dataclass(frozen=True)
class Dens(Factors):
    """DENS: gates separate the relevant part of an item from the rest (Lai et al. 2023)."""

    trained_as: ClassVar[str] = "mixing"

    gamma: float = value(0.3, "weight of the loss that trains the gates", low=0)
    warm_up: int = value(
        100,
        "epochs over which candidates' own scores fade from the choice; 0: alpha instead",
        low=0,
    )
    alpha: float = value(
        0.2, "share by which they are faded throughout; without warm-up", low=0, high=1
    )


ROWS: tuple[Method, ...] = (
    Popular("BPR-pop", "mf", "bpr", "popular", candidates=1),
    DnsMn("DNS-MN", "mf", "bpr", "dns_mn", candidates=16),
    DnsMn("DNS-MN-sum", "mf", "bpr_each", "dns_best", candidates=16),
    Ahns("AHNS", "mf", "bpr", "ahns", candidates=32),
    Ahns("LHANS", "mf", "mrl", "per_level(ahns)", candidates=16),
    MixGcf("MixGCF", "mf", "bpr", "mixgcf", candidates=16),
    Dens("DENS", "mf", "bpr", "dens", candidates=6),
    Dens("DENS-mrl4rec", "mf", "bpr", "dens", candidates=16, gamma=0.5, warm_up=0),
)  # fmt: skip
