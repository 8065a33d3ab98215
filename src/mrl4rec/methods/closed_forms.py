"""Methods that are solved in one go. Equations and defaults: METHODS.md 6."""

from __future__ import annotations

from dataclasses import dataclass

from mrl4rec.methods.base import Method, value


@dataclass(frozen=True)
class Popularity(Method):
    """Score of an item: the number of training pairs it has."""


@dataclass(frozen=True)
class Ease(Method):
    """EASE^R (Steck 2019): B = −P/diag(P) with zero diagonal, P = (XᵀX + λI)⁻¹."""

    lam: float = value(200.0, "λ, added to the diagonal of XᵀX, in users; > 0", low=1e-9)


ROWS: tuple[Method, ...] = (Popularity("Pop", "pop"), Ease("EASE", "ease"))
