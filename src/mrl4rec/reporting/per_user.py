"""What each user got from the evaluated models, read from the Parquet files beside ``results``.

Shapes: E users with test items, S runs (seeds) of one group, M groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError, UsageError, nearest
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import read_parquet
from mrl4rec.evaluation import sequences
from mrl4rec.evaluation.ranking.metrics import PER_USER
from mrl4rec.reporting.runs import Group, Run

OF_USERS = (*PER_USER, *sequences.METRICS)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Which of a user's numbers: metric, length of the list, width (None: all a model has)."""

    metric: str
    k: int
    width: int | None = None

    def __post_init__(self) -> None:
        if self.metric not in OF_USERS:
            raise UsageError(
                f"{self.metric!r} is no metric that each user has",
                where="--metric",
                todo=nearest(self.metric, OF_USERS),
            )

    @property
    def name(self) -> str:
        """``recall@20``, or ``recall@20 at width 16``."""
        return f"{self.metric}@{self.k}" + (f" at width {self.width}" if self.width else "")


@dataclass(frozen=True, eq=False)
class Field:
    """The same users under several groups."""

    users_E: NDArray[np.int64]
    """user_idx, ascending."""
    values: list[Floats]
    """For each group (E, S): a column a seed."""

    @property
    def means_EM(self) -> Floats:
        """Each user's mean over the seeds of each group."""
        return np.stack([values_ES.mean(axis=1) for values_ES in self.values], axis=1)


def field(settings: Settings, groups: Sequence[Group], place: Place) -> Field:
    """The values of the groups' users. Raises as ``seats``."""
    return seats(settings, [(group, place) for group in groups])


def seats(settings: Settings, rows: Sequence[tuple[Group, Place]]) -> Field:
    """The values of the users of each row: a group, and where it is looked at.

    Raises UsageError where a model was not evaluated at its place, or the models were judged on
    other users; Mrl4recError where a file is gone.
    """
    users: NDArray[np.int64] | None = None
    values = []
    for group, place in rows:
        columns = []
        for run in group.runs:
            found, column = of_run(settings, run, place)
            if users is not None and not np.array_equal(users, found):
                raise UsageError(
                    f"{group.name} was judged on other users than {rows[0][0].name}: "
                    f"{len(found):,} and {len(users):,}, not the same ones",
                    todo="compare models of one data set and split",
                )
            users = found
            columns.append(column)
        values.append(np.stack(columns, axis=1))
    assert users is not None, "no row"
    return Field(users, values)


def of_run(settings: Settings, run: Run, place: Place) -> tuple[NDArray[np.int64], Floats]:
    """(E,) users, ascending, and (E,) values of one evaluated model."""
    width = run.full if place.width is None else place.width
    if run.get(place.metric, place.k, width) is None:
        names = sorted({name for name, _, _ in run.values})
        ks = sorted({k for _, k, _ in run.values})
        widths = sorted({w for _, _, w in run.values if w is not None})
        cuts = f"k: {', '.join(map(str, ks))}; widths: "
        cuts += ", ".join(map(str, widths)) or "none, it has no prefixes"
        raise UsageError(
            f"{run.method} was not evaluated for {place.name}",
            where=f"evaluation {run.stage_key[:12]} of {run.dataset}",
            todo=cuts if place.metric in names else f"it has {', '.join(names)}",
        )
    at_width = pc.field("width").is_null() if width is None else pc.field("width") == width
    key = run.evaluation((place.metric, place.k, width))
    chosen = (pc.field("k") == place.k) & at_width
    rows = read(settings, run.dataset, key, [place.metric], chosen, run.method)
    return rows["user_idx"].astype(np.int64), rows[place.metric]


def read(
    settings: Settings,
    dataset: str,
    key: str,
    columns: Sequence[str],
    chosen: pc.Expression,
    name: str = "an evaluation",
) -> dict[str, NDArray[np.float64]]:
    """Columns of the chosen rows of one evaluation (its stage key), by user; of users who have a
    value of each metric among them.

    Raises Mrl4recError where the file is not there; ``name`` is whose values they are.
    """
    path = settings.storage.per_user_file(dataset, key)
    for metric in OF_USERS:
        if metric in columns:
            chosen &= pc.field(metric).is_valid()
    try:
        table = read_parquet(path, ["user_idx", *columns], chosen)
    except FileNotFoundError:
        raise Mrl4recError(
            f"the users' values of {name} are gone",
            where=str(path),
            todo="run `mrl4rec evaluate` for it again: it writes them anew",
        ) from None
    found = {name: table[name].to_numpy() for name in table.column_names}
    order = np.argsort(found["user_idx"], kind="stable")
    return {name: values[order] for name, values in found.items()}
