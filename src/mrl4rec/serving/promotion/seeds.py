"""How much the training seed alone moves a side's mean: what drawing users again cannot show.

The value of user u under seed s is taken as μ + a_u + b_s + c_us (two crossed random effects). A
mean over E users and S seeds then varies by var(a)/E + var(c)/(E·S), which drawing users again
shows, and by var(b)/S, which it does not: another training would have moved all users together.

s², the variance of the seeds' means, estimates var(b) + var(c)/E; the mean square of the residuals
estimates var(c). So var(b) = s² − residual/E, not below 0 (Searle, Casella and McCulloch 1992).

Shapes: E users, S seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SeedNoise:
    """What the models of one side say about seeds."""

    variance: float
    """var(b): of one model's mean, beyond what its users show."""
    observed: float
    """s²: of the seeds' means as they are."""
    freedom: int
    """S − 1."""


@dataclass(frozen=True)
class Shares:
    """What seeds add to the variance of the difference of two sides."""

    variance: float
    uncertain: tuple[tuple[float, int], ...]
    """(size, degrees of freedom) of each estimate in it, for Satterthwaite."""
    counted: bool
    """Both sides' seeds are in it."""
    note: str


def noise(values_ES: NDArray[np.float64]) -> SeedNoise | None:
    """The noise of seeds, or None where one model (or one user) tells nothing."""
    n_users, n_seeds = values_ES.shape
    if n_seeds < 2 or n_users < 2:
        return None
    means_S = values_ES.mean(axis=0)
    observed = float(means_S.var(ddof=1))
    rest = values_ES - values_ES.mean(axis=1, keepdims=True) - (means_S - means_S.mean())
    residual = float((rest**2).sum()) / ((n_users - 1) * (n_seeds - 1))
    return SeedNoise(max(0.0, observed - residual / n_users), observed, n_seeds - 1)


def shares(
    champion_ES: NDArray[np.float64],
    challenger_ES: NDArray[np.float64],
    fixed: tuple[bool, bool],
    alike: bool,
) -> Shares:
    """Variance that seeds add to the difference of the sides' means.

    ``fixed`` says of each side that it draws nothing, so that seeds cannot move it. A side of one
    model takes the other side's variance where they are ``alike`` (both trained by draws).
    """
    sides = (champion_ES, challenger_ES)
    own = [None if still else noise(side) for side, still in zip(sides, fixed, strict=True)]
    variance, sizes, notes = 0.0, [0.0, 0.0], []
    for n, (name, still) in enumerate(zip(("champion", "challenger"), fixed, strict=True)):
        if still:
            continue
        by = n if own[n] is not None else 1 - n if alike else None
        known = None if by is None else own[by]
        if known is None or by is None:
            notes.append(f"the {name} is one model, and no other tells what its seed does")
            continue
        if by != n:
            notes.append(f"the {name} is one model: it takes the other side's variance of seeds")
        variance += known.variance / sides[n].shape[1]
        sizes[by] += known.observed / sides[n].shape[1]
    uncertain = [
        (size, one.freedom) for size, one in zip(sizes, own, strict=True) if one is not None
    ]
    missing = any("no other tells" in note for note in notes)
    return Shares(variance, tuple(uncertain), not missing, "; ".join(notes))
