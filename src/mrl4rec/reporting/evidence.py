"""How sure the leaderboard is: which differences are significant, and for which users and items.

Shapes: E users with test items, M groups, best first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.evaluation.ranking.significance import LEVEL
from mrl4rec.evaluation.slices import ACTIVITY, POPULARITY, Bounds, by_activity
from mrl4rec.reporting import per_user
from mrl4rec.reporting.contest import Contest, judge
from mrl4rec.reporting.per_user import Field, Place
from mrl4rec.reporting.runs import Group, headline

HISTORY: Bounds = (*ACTIVITY[:-1], ("20-49", 20, 49), ("50-99", 50, 99), ("100-199", 100, 199),
                   ("200+", 200, None))  # fmt: skip
"""Users by their training pairs."""
LENGTHS: Bounds = (("1-2", 1, 2), ("3-4", 3, 4), *HISTORY[2:])
"""Users by the events of their history."""
Z = 1.96
"""Standard errors to each side of a 95 % interval."""


STEPS = tuple(step / 20 for step in range(21))
"""Values of a metric at which users are counted."""


@dataclass(frozen=True)
class Slice:
    """One metric of all groups over some users, or over some of their test items."""

    name: str
    users: int
    means_M: list[float | None]


@dataclass(frozen=True)
class Spread:
    """How a metric is distributed over the users of one group; shares of all users."""

    none: float
    """Whose value is 0."""
    quartiles: tuple[float, float, float]
    at_least: list[float]
    """Whose value is at least 0, 0.05, … 1."""
    better: float | None
    """Who have more than with the best group; None for that group itself."""
    worse: float | None


@dataclass(frozen=True)
class Evidence:
    """What the users' values say of one protocol's groups."""

    groups: list[Group]
    """Best first, by the users' mean."""
    place: Place
    means_M: list[float]
    half_M: list[float]
    """Half the 95 % interval over users."""
    users: int
    contests: list[Contest]
    runs: list[tuple[int, int]]
    """Stretches (first, last) of groups of which no two differ significantly."""
    spread: list[Spread]
    activity: list[Slice]
    popularity: list[Slice]
    """Empty where the evaluations are older than the slices."""


def evidence(
    settings: Settings, groups: Sequence[Group], bounds: Bounds = HISTORY
) -> Evidence | str:
    """The evidence of groups of one split and protocol, or why there is none.

    ``bounds``: those of the slices of users.
    """
    metric, k = headline([run for group in groups for run in group.runs])
    if len(groups) < 2:
        return "Only one row: there is nothing to compare."
    place = Place(metric, k)
    try:
        together = per_user.field(settings, groups, place)
        if len(together.users_E) < 2:
            return "Too few users have test items for a paired test."
        order = np.argsort(-together.means_EM.mean(axis=0), kind="stable")
        groups = [groups[m] for m in order]
        together = Field(together.users_E, [together.values[m] for m in order])
        contests = judge(groups, together)
    except Mrl4recError as error:
        return f"No paired tests: {error.what}."
    means_EM = together.means_EM
    half_M = Z * means_EM.std(axis=0, ddof=1) / np.sqrt(len(means_EM))
    return Evidence(
        list(groups),
        place,
        means_EM.mean(axis=0).tolist(),
        half_M.tolist(),
        len(means_EM),
        contests,
        stretches(len(groups), contests, groups),
        [spread(means_EM[:, m], means_EM[:, 0] if m else None) for m in range(len(groups))],
        *_slices(settings, groups, place, means_EM, bounds),
    )


def spread(values_E: NDArray[np.float64], best_E: NDArray[np.float64] | None) -> Spread:
    """Of one group's users, beside those of the best group (None: it is the best)."""
    low, middle, high = np.quantile(values_E, (0.25, 0.5, 0.75)).tolist()
    return Spread(
        float((values_E == 0).mean()),
        (low, middle, high),
        [float((values_E >= least - 1e-12).mean()) for least in STEPS],
        None if best_E is None else float((values_E > best_E).mean()),
        None if best_E is None else float((values_E < best_E).mean()),
    )


def stretches(
    n: int, contests: Sequence[Contest], groups: Sequence[Group]
) -> list[tuple[int, int]]:
    """The longest runs of neighbours of which no pair differs significantly, without singles."""
    at = {id(group): place for place, group in enumerate(groups)}
    apart = {
        (at[id(one.a)], at[id(one.b)]) for one in contests if one.p_holm < LEVEL
    }  # a stands before b: groups are held against each other in their order
    found: list[tuple[int, int]] = []
    for first in range(n):
        last = first
        while last + 1 < n and not any(
            pair in apart for pair in combinations(range(first, last + 2), 2)
        ):
            last += 1
        if last > first and not any(last <= end for _, end in found):
            found.append((first, last))
    return found


def _slices(
    settings: Settings,
    groups: Sequence[Group],
    place: Place,
    means_EM: NDArray[np.float64],
    bounds: Bounds,
) -> tuple[list[Slice], list[Slice]]:
    """By the users' training pairs or events, and by the popularity of the test items."""
    names = [f"{place.metric}_{name}" for name in POPULARITY]
    columns: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    history_E: NDArray[np.float64] | None = None
    for group in groups:
        by_name: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
        for run in group.runs:
            full = (
                pc.field("width").is_null() if run.full is None else pc.field("width") == run.full
            )
            key = run.evaluation((place.metric, place.k, run.full))
            try:
                chosen = (pc.field("k") == place.k) & full
                columns_ = ["history", place.metric, *names]
                rows = per_user.read(settings, run.dataset, key, columns_, chosen, run.method)
            except (Mrl4recError, KeyError, ValueError, OSError):  # evaluated by an older version
                return [], []
            history_E = rows["history"]
            for name in names:
                by_name[name].append(rows[name])
        for name in names:
            columns[name].append(np.mean(by_name[name], axis=0))
    assert history_E is not None
    activity = [
        Slice(name, int(who.sum()), means_EM[who].mean(axis=0).tolist())
        for name, who in by_activity(history_E.astype(np.int64), bounds).items()
        if who.any()
    ]
    popularity = []
    for name, of_name in zip(POPULARITY, names, strict=True):
        values_EM = np.stack(columns[of_name], axis=1)
        who = ~np.isnan(values_EM).any(axis=1)
        if who.any():
            means = values_EM[who].mean(axis=0).tolist()
            popularity.append(Slice(name, int(who.sum()), means))
    return activity, popularity
