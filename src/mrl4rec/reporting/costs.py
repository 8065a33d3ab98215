"""What each row of a leaderboard took: candidates, tuning, seconds, memory, size of its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mrl4rec.core.errors import UsageError
from mrl4rec.models import resolve
from mrl4rec.reporting.runs import Group, Run, Stat
from mrl4rec.training.tuning.store import Tuning, best_settings

DEFAULT, BY_HAND, UNKNOWN = "default", "by hand", "–"
MIB = 1 << 20
DRAWN_BY_NONE = ("none", "in_batch")
"""Kinds of negatives for which nothing is drawn."""


@dataclass(frozen=True)
class Cost:
    """Of one group; None or a dash for what is not known."""

    candidates: int | None
    """Negatives drawn for each positive; None for a method that draws none."""
    tuned: str
    """``default``, ``20 trials``, or ``by hand``."""
    seconds: Stat | None
    """To train one model, by the clock."""
    cpu_seconds: Stat | None
    """The same of the processor, all threads: what other work beside it does not lengthen."""
    peak_mb: float | None
    """Most memory that the training process held, MiB."""
    model_mb: float | None
    """Of the model's tensors on disk, MiB."""
    device: str


def cost(group: Group, studies: Sequence[Tuning]) -> Cost:
    """What the model cards of a group say of its cost."""
    peaks = _values(group, "peak_mb")
    sizes = [s for run in group.runs if (s := _size(run)) is not None]
    devices = sorted({str((run.card or {}).get("device") or "cpu") for run in group.runs})
    return Cost(
        candidates(_method(group.runs[-1]), group.levels),
        tuned(group, studies),
        Stat.of(_values(group, "seconds")),
        Stat.of(_values(group, "cpu_seconds")),
        max(peaks, default=None),
        max(sizes, default=None),
        " and ".join(devices),
    )


def candidates(method: Mapping[str, Any], levels: str | None) -> int | None:
    """Negatives drawn for each positive: a level has its own where they are drawn by level."""
    number, negatives = method.get("candidates"), str(method.get("negatives", ""))
    if not isinstance(number, int):
        return None
    if negatives in DRAWN_BY_NONE:
        return 0
    by_level = negatives.startswith("per_level")
    return number * (len(levels.split(",")) if by_level and levels else 1)


def tuned(group: Group, studies: Sequence[Tuning]) -> str:
    """How the group's settings came about, as far as the warehouse can tell."""
    run = group.runs[-1]
    values = _method(run)
    if not values:
        return UNKNOWN
    for settings, study in best_settings(list(studies), run.split):
        if dict(settings) == values and study.levels == group.levels:
            return f"{study.tried} trials"
    try:
        defaults = resolve(str(values.get("name", group.method))).as_dict()
    except UsageError:  # a method of an older version
        return UNKNOWN
    differs = any(defaults[name] != value for name, value in values.items() if name in defaults)
    return BY_HAND if differs else DEFAULT


def seconds_text(stat: Stat | None) -> str:
    """``12.3``, ``140`` or a dash."""
    if stat is None:
        return UNKNOWN
    return f"{stat.mean:,.1f}" if stat.mean < 100 else f"{stat.mean:,.0f}"


def megabytes(value: float | None) -> str:
    """Whole MiB, one digit behind the point below 10."""
    if value is None:
        return UNKNOWN
    return f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


def _values(group: Group, name: str) -> list[float]:
    """What the model cards tell of one kind of cost."""
    return [float(v) for run in group.runs if (v := _spent(run).get(name)) is not None]


def _method(run: Run) -> dict[str, Any]:
    return dict((run.card or {}).get("method") or {})


def _spent(run: Run) -> Mapping[str, Any]:
    return dict((run.card or {}).get("cost") or {})


def _size(run: Run) -> float | None:
    files = dict((run.card or {}).get("files") or {})
    facts = files.get("model.safetensors")
    return facts["bytes"] / MIB if isinstance(facts, Mapping) and "bytes" in facts else None
