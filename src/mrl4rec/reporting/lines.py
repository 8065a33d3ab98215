"""A board of the leaderboard as lines: one a model, its values at full width over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mrl4rec.core.settings import Settings
from mrl4rec.evaluation.cut import ROTATED
from mrl4rec.evaluation.ranking.metrics import METRICS
from mrl4rec.reporting.caveats import signed
from mrl4rec.reporting.marks import NONE, Entry, Marks, marks
from mrl4rec.reporting.runs import Stat

SHOWN = ("recall", "ndcg")
SORTED = {name: n for n, name in enumerate(METRICS)}

Row = Mapping[str, Any]
"""A value of a model, as ``leaderboard`` gives it."""
Score = tuple[str, int]
"""(metric, k)"""


@dataclass(frozen=True)
class Line:
    """A model of a board at its full width, over its seeds."""

    label: str
    levels: str
    seeds: str
    epoch: str
    """The epochs kept, as a span."""
    values: Mapping[Score, Stat]
    evaluations: Mapping[Score, Sequence[tuple[str, int | None]]] = field(default_factory=dict)
    """Stage key and width of the evaluations that a value is the mean of."""

    @property
    def entry(self) -> Entry:
        """What a test needs of it."""
        means = {score: stat.mean for score, stat in self.values.items()}
        return Entry(self.label, means, self.evaluations, self.seeds == "1")


def label(row: Row) -> str:
    """The method, and what sets the model apart from others of that name."""
    name = signed(str(row["method"]))
    return f"{name} ({row['settings']})" if row["settings"] else name


def lines(rows: Sequence[Row]) -> list[Line]:
    """The models of one board (``boards``), the best Recall@20, or first metric, first.

    Rotated models are left out: at full width they score as those they were made from.
    """
    models: dict[tuple[str, str | None], list[Row]] = {}
    for row in _without_rotated(rows):
        models.setdefault((label(row), row["levels"]), []).append(row)
    found = [_line(name, levels or "–", of_it) for (name, levels), of_it in models.items()]
    columns = scores(found)
    first = ("recall", 20) if ("recall", 20) in columns else (columns or [("", 0)])[0]
    return sorted(found, key=lambda line: -(s.mean if (s := line.values.get(first)) else -1.0))


def scores(found: Sequence[Line]) -> list[Score]:
    """The columns that are shown: Recall and NDCG at each cut-off that some model has."""
    places = {place for line in found for place in line.values if place[0] in SHOWN}
    return sorted(places, key=lambda place: (SORTED[place[0]], place[1]))


def best_of(found: Sequence[Line]) -> dict[Score, float]:
    """The best mean of each column."""
    return {
        place: max(line.values[place].mean for line in found if place in line.values)
        for place in scores(found)
    }


def marks_of(settings: Settings | None, rows: Sequence[Row], found: Sequence[Line]) -> Marks:
    """Which cells are not significantly different from the best of their column.

    None is marked where there are no settings, and so no users' values.
    """
    entries = [line.entry for line in found]
    if settings is None or not found:
        return NONE
    return marks(settings, str(rows[0]["dataset"]), entries, scores(found))


def _without_rotated(rows: Sequence[Row]) -> list[Row]:
    plain = {row["model_key"] for row in rows if not row["method"].endswith(ROTATED)}
    return [r for r in rows if not r["method"].endswith(ROTATED) or r["model_key"] not in plain]


def _line(name: str, levels: str, rows: Sequence[Row]) -> Line:
    full = max((row["width"] for row in rows if row["width"] is not None), default=None)
    by_seed: dict[Score, dict[Any, Row]] = {}
    for row in rows:
        if row["width"] == full:
            by_seed.setdefault((row["metric"], row["k"]), {})[row["seed"]] = row
    stats = {
        place: stat
        for place, of_it in by_seed.items()
        if (stat := Stat.of([float(row["value"]) for row in of_it.values()]))
    }
    epochs = sorted({row["epoch"] for row in rows if row["epoch"] is not None})
    span = "–".join(str(epoch) for epoch in dict.fromkeys((epochs or ["–"])[:1] + epochs[-1:]))
    seeds = {row["seed"] for row in rows if row["seed"] is not None}
    keys = {p: [(row["stage_key"], full) for row in of_it.values()] for p, of_it in by_seed.items()}
    return Line(name, levels, str(len(seeds)) if seeds else "–", span, stats, keys)
