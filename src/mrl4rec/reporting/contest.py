"""Paired comparisons of evaluated models, seeds put together and many comparisons corrected.

A method with several seeds gives each user the mean over them, so the interval and the p value
speak of users: would these trained models differ for other users of the kind? What another training
would do is said beside it, as the standard deviation that the seeds add (promotion/seeds.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from mrl4rec.core.settings import Settings
from mrl4rec.evaluation.ranking.significance import DRAWS, LEVEL, Paired, holm, paired
from mrl4rec.reporting.per_user import Field, Floats, Place, field
from mrl4rec.reporting.runs import Group
from mrl4rec.serving.promotion.seeds import shares

MOST_SIGNS = 400_000_000
"""Draws times users: with very many users fewer draws are as exact."""
FEWEST_DRAWS = 1_000


@dataclass(frozen=True)
class Contest:
    """Two groups of one data set, split and protocol, held against each other."""

    a: Group
    b: Group
    found: Paired
    p_holm: float
    """Corrected for all comparisons that were made with this one."""
    seeds_sd: float | None
    """Standard deviation that the training seeds add to the difference; None: not known."""
    seeds_note: str

    @property
    def better(self) -> Group | None:
        """The better one where the corrected test says so, else None."""
        if self.p_holm >= LEVEL or not self.found.difference:
            return None
        return self.a if self.found.difference > 0 else self.b

    def as_dict(self) -> dict[str, Any]:
        """Flat JSON values."""
        sides = {"a": self.a.name, "b": self.b.name, "seeds_a": self.a.seeds,
                 "seeds_b": self.b.seeds}  # fmt: skip
        rest = {"p_holm": self.p_holm, "seeds_sd": self.seeds_sd, "seeds_note": self.seeds_note}
        return {**sides, **asdict(self.found), **rest}


def contests(
    settings: Settings,
    groups: Sequence[Group],
    place: Place,
    *,
    draws: int | None = None,
    seed: int = 0,
) -> list[Contest]:
    """Every pair of the groups, in their order, with Holm's correction over all of them.

    ``draws`` None: 10,000, fewer where there are very many users. Raises as ``per_user.field``.
    """
    together = field(settings, groups, place)
    return judge(groups, together, draws=draws, seed=seed)


def judge(
    groups: Sequence[Group],
    together: Field,
    *,
    draws: int | None = None,
    seed: int = 0,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> list[Contest]:
    """``contests`` of values that were read; of these ``pairs`` alone, where they are given."""
    if pairs is None:
        pairs = list(combinations(range(len(groups)), 2))
    number = draws or draws_for(len(together.users_E))
    found = paired(together.means_EM, pairs, draws=number, seed=seed)
    corrected = holm([one.p for one in found])
    out = []
    for (a, b), one, p in zip(pairs, found, corrected, strict=True):
        sd, note = _seeds(groups[a], groups[b], together.values[a], together.values[b])
        out.append(Contest(groups[a], groups[b], one, p, sd, note))
    return out


def draws_for(n_users: int) -> int:
    """How often to draw for so many users."""
    return int(np.clip(MOST_SIGNS // max(1, n_users), FEWEST_DRAWS, DRAWS))


def _seeds(a: Group, b: Group, a_ES: Floats, b_ES: Floats) -> tuple[float | None, str]:
    fixed = (not a.seeds, not b.seeds)
    said = shares(a_ES, b_ES, fixed, alike=False)
    note = said.note.replace("the champion", a.name).replace("the challenger", b.name)
    return (math.sqrt(said.variance) if said.counted else None), note
