"""Which models of a leaderboard are not significantly different from the best of their column.

The best mean of a column is held against every other, user by user (sign-flip test, a user's mean
over seeds); p values are corrected for the comparisons of the column after Holm.

Shapes: E users, M models, C columns (metric at a cut-off).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.evaluation.ranking.significance import DRAWS, LEVEL, holm, sign_flip
from mrl4rec.reporting import per_user

MARK = "†"
MOST_USERS = 200_000
"""Of more users reading and testing would take longer than a table may."""
PRODUCTS = 4_000_000_000
"""Draws times users times columns of all models: about two seconds."""
FEWEST_DRAWS = 1_000

Score = tuple[str, int]
"""(metric, k)"""


@dataclass(frozen=True)
class Entry:
    """A model of one table."""

    name: str
    means: Mapping[Score, float]
    evaluations: Mapping[Score, Sequence[tuple[str, int | None]]]
    """Stage key and width of the evaluation of each seed."""
    one_seed: bool
    """Whether it was trained once, and another training would give something else."""


@dataclass(frozen=True)
class Marks:
    """What the tests of one table say."""

    worse: Mapping[tuple[int, Score], bool] = field(default_factory=dict)
    """(row, column) → significantly worse than the best; without the best and what is untested."""
    notes: Sequence[str] = ()
    """The legend, in sentences; the first says what the mark means. Empty: nothing to compare."""

    def of(self, row: int, score: Score) -> str:
        """The mark of a cell, or nothing."""
        return MARK if self.worse.get((row, score)) is False else ""

    @property
    def legend(self) -> str:
        """All sentences."""
        return " ".join(self.notes)


NONE = Marks()
BY_NAME = "`mrl4rec compare A B` tests models by name."
MEANING = (
    f"{MARK}: not significantly different from the best of its column (sign-flip test over users, "
    "corrected after Holm for the column's comparisons, 5 %)."
)


def marks(
    settings: Settings, dataset: str, entries: Sequence[Entry], columns: Sequence[Score]
) -> Marks:
    """Test each column of a table of models of one data set, split and protocol."""
    if len(entries) < 2 or not columns:
        return NONE
    users: NDArray[np.int64] | None = None
    tested: dict[int, NDArray[np.float64]] = {}
    for at, entry in enumerate(entries):
        try:
            found, values_EC = _values(settings, dataset, entry, columns)
        except (Mrl4recError, KeyError, ValueError, OSError):  # gone, or of an older version
            continue
        if len(found) > MOST_USERS:
            return Marks({}, [f"Not tested: more than {MOST_USERS:,} users. {BY_NAME}"])
        if users is None or np.array_equal(users, found):
            users, tested[at] = found, values_EC
    if users is None or len(users) < 2 or len(tested) < 2:
        return Marks({}, ["No model is marked: users' values to test by are missing."])
    notes = [MEANING]
    if any(entry.one_seed for entry in entries):
        notes.append("Models of one seed: the test is over users, not over other trainings.")
    untested = [entry.name for at, entry in enumerate(entries) if at not in tested]
    if untested:
        notes.append(f"Not tested, as their users' values are missing: {', '.join(untested)}.")
    return Marks(_worse(entries, columns, tested), notes)


def _worse(
    entries: Sequence[Entry], columns: Sequence[Score], tested: Mapping[int, NDArray[np.float64]]
) -> dict[tuple[int, Score], bool]:
    place = {at: number for number, at in enumerate(tested)}
    values = np.concatenate(list(tested.values()), axis=1)  # (E, M C)
    asked: dict[tuple[int, Score], tuple[int, int]] = {}
    for c, score in enumerate(columns):
        means = {at: entry.means[score] for at, entry in enumerate(entries) if score in entry.means}
        best = max(means, key=lambda at: means[at], default=-1)
        if best not in tested:
            continue
        for at in tested:
            if at in means and means[at] < means[best]:
                width = len(columns)
                asked[at, score] = place[best] * width + c, place[at] * width + c
    if not asked:
        return {}
    draws = int(np.clip(PRODUCTS // values.size, FEWEST_DRAWS, DRAWS))
    p = dict(zip(asked, sign_flip(values, list(asked.values()), draws=draws), strict=True))
    out: dict[tuple[int, Score], bool] = {}
    for score in columns:
        cells = [cell for cell in asked if cell[1] == score]
        corrected = holm([p[cell] for cell in cells])
        out |= {cell: value < LEVEL for cell, value in zip(cells, corrected, strict=True)}
    return out


def _values(
    settings: Settings, dataset: str, entry: Entry, columns: Sequence[Score]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(E,) users and (E, C) their means over seeds; 0 in columns that the model does not have.

    Raises as ``per_user.read``, and Mrl4recError where seeds were judged on different users.
    """
    by_key: dict[tuple[str, int | None], list[int]] = {}
    for c, score in enumerate(columns):
        for evaluation in entry.evaluations.get(score, ()):
            by_key.setdefault(evaluation, []).append(c)
    users: NDArray[np.int64] | None = None
    total: NDArray[np.float64] | None = None
    for (key, width), wanted in by_key.items():
        ks = sorted({columns[c][1] for c in wanted})
        at_width = pc.field("width").is_null() if width is None else pc.field("width") == width
        metrics = sorted({columns[c][0] for c in wanted})
        rows = per_user.read(
            settings, dataset, key, ["k", *metrics], pc.field("k").isin(ks) & at_width
        )
        for c in wanted:
            metric, k = columns[c]
            here = rows["k"] == k
            found = rows["user_idx"][here].astype(np.int64)
            if users is None or total is None:
                users, total = found, np.zeros((len(found), len(columns)))
            if not np.array_equal(users, found):
                raise Mrl4recError("seeds of one model were judged on different users")
            total[:, c] += rows[metric][here] / len(entry.evaluations[columns[c]])
    if users is None or total is None or not np.isfinite(total).all():
        raise Mrl4recError(f"{entry.name} has no value in these columns, or one that is no number")
    return users, total
