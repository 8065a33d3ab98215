"""Methods that are fitted as a whole, without epochs to choose.

Equations and defaults: docs/methods.md#simple-models.
"""

from __future__ import annotations

from dataclasses import dataclass

from mrl4rec.errors import UsageError
from mrl4rec.methods.base import Method, value
from mrl4rec.methods.levels import default_levels


@dataclass(frozen=True)
class Popularity(Method):
    """Score of an item: the number of training pairs it has."""


@dataclass(frozen=True)
class Ease(Method):
    """EASE^R (Steck 2019): B = −P/diag(P) with zero diagonal, P = (XᵀX + λI)⁻¹."""

    on_device = True
    lam: float = value(200.0, "λ, added to the diagonal of XᵀX, in users; > 0", low=1e-9)


@dataclass(frozen=True)
class ItemCf(Method):
    """Neighbours by cosine, damped: w_ij = c_ij / (√(n_i n_j) + h), zero diagonal."""

    shrink: float = value(20.0, "h, added to √(n_i n_j), in users; 0: plain cosine", low=0)


@dataclass(frozen=True)
class Rp3Beta(Method):
    """Walks item → user → item (Paudel 2017): steps to the power α, popularity to the power β."""

    alpha: float = value(0.8, "α, power of both steps' probabilities; ≥ 0", low=0)
    beta: float = value(0.0, "β, power of popularity that a score is divided by; 0: none", low=0)


@dataclass(frozen=True)
class Slim(Method):
    """SLIM (Ning 2011): ½‖x_j − Xw‖² + l1·Σw + ½·l2·‖w‖² for each item j, w ≥ 0, w_j = 0."""

    l1: float = value(0.5, "weight of Σw, in users; 0: none", low=0)
    l2: float = value(200.0, "weight of ½‖w‖², in users; > 0", low=1e-9)
    sweeps: int = value(100, "at most so many passes over a column's weights", low=1)


@dataclass(frozen=True)
class _Vectors(Method):
    """What gives vectors that may be cut to 4, 8, 16 … numbers."""

    dim: int = value(64, "numbers in a vector", low=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.dim, int):
            raise UsageError(f"{self.name}.dim is {self.dim!r}", todo="a whole number")

    def widths(self, levels: tuple[int, ...] | None) -> tuple[int | None, ...]:
        """4, 8, 16 … up to d."""
        return default_levels(self.dim)


@dataclass(frozen=True)
class Ials(_Vectors):
    """Implicit ALS (Hu 2008, with the regulariser and settings of Rendle 2022)."""

    on_device = True
    a0: float = value(0.02, "weight of a pair that is not there, beside 1 of one that is", low=1e-6)
    lam: float = value(0.01, "λ, weight of the squared norms; > 0", low=1e-9)
    nu: float = value(1.0, "ν: a row of n pairs counts (n + a0 · columns)^ν in the norms", low=0)
    sweeps: int = value(16, "times that users, then items are solved", low=1)
    rotated: bool = False
    """Turned by the exact SVD rotation once it is trained, so that every prefix is the best."""

    @property
    def deterministic(self) -> bool:
        """It starts from random item vectors."""
        return False


@dataclass(frozen=True)
class EaseSvd(_Vectors):
    """The best d numbers for EASE's scores: the truncated SVD of X B."""

    on_device = True
    lam: float = value(200.0, "EASE's λ, in users; > 0", low=1e-9)
    rotated: bool = True
    """An SVD's prefixes are the best there are: turning it changes nothing."""


ROWS: tuple[Method, ...] = (
    Popularity("Pop", "pop"),
    Ease("EASE", "ease"),
    ItemCf("ItemCF", "itemcf"),
    Rp3Beta("RP3beta", "rp3beta"),
    Slim("SLIM", "slim"),
    Ials("iALS", "ials"),
    Ials("iALS-wide", "ials", dim=256, rotated=True),
    EaseSvd("EASE-SVD", "ease-svd"),
)
