"""A paired difference of two means and the interval it lies in, users and seeds both counted.

The interval is the bootstrap's over users, each half widened: h → (t/z)·√(h²·E/(E − 1) + z²·v),
with v the variance that seeds add, z the normal and t Student's quantile of the level at the
degrees of freedom of the sum (Satterthwaite 1946). With many users and no seeds to count it is the
bootstrap's own; where the bootstrap is normal it is the difference ± t standard errors.

Shapes: E users, S models of a side, B draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mrl4rec.serving.promotion.seeds import Shares


@dataclass(frozen=True, eq=False)
class Change:
    """Challenger − champion for some users."""

    champion: float
    challenger: float
    n_users: int
    draws_B: NDArray[np.float64]
    """Bootstrapped means of the difference."""
    seeds: Shares

    @property
    def difference(self) -> float:
        """Mean over users of challenger − champion."""
        return self.challenger - self.champion

    @property
    def relative(self) -> float | None:
        """The difference as a share of the champion's mean; None where that is 0."""
        return self.difference / self.champion if self.champion else None

    @cached_property
    def user_variance(self) -> float:
        """Variance of the difference that drawing users again shows."""
        return float(np.nanvar(self.draws_B)) * self._small

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the sum of both variances."""
        parts = [(self.user_variance, self.n_users - 1), *self.seeds.uncertain]
        below = sum(size**2 / freedom for size, freedom in parts)
        total = self.user_variance + self.seeds.variance
        return float(total**2 / below) if total > 0 and below > 0 else float(self.n_users - 1)

    def interval(self, alpha: float) -> tuple[float, float]:
        """The two-sided interval at level 1 − ``alpha``. Needs two users."""
        z, t = stats.norm.isf(alpha / 2), stats.t.isf(alpha / 2, self.freedom)
        ends = np.nanquantile(self.draws_B, [alpha / 2, 1 - alpha / 2])
        halves = np.abs(ends - self.difference)
        low, high = t / z * np.sqrt(halves**2 * self._small + z**2 * self.seeds.variance)
        return float(self.difference - low), float(self.difference + high)

    def chance_of_fall(self) -> float:
        """One-sided p of so low a difference where there is none, by Student's t."""
        total = self.user_variance + self.seeds.variance
        if total == 0:
            return 0.0 if self.difference < 0 else 1.0
        return float(stats.t.cdf(self.difference / np.sqrt(total), self.freedom))

    @property
    def _small(self) -> float:
        """The bootstrap's variance of a mean is too small by (E − 1)/E."""
        return self.n_users / (self.n_users - 1)
