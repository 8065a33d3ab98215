"""Drift: how a new dump differs from what was there before, in numbers and as a gate.

A dump is held against the newest stretch of the older rows that is as long as itself, so that a
week is compared with a week, whatever the size of the history.
"""

from mrl4rec.checks.drift.change import Change, compare
from mrl4rec.checks.drift.measure import Drift, measure
from mrl4rec.checks.drift.portrait import Portrait, portray
from mrl4rec.checks.drift.record import known, record, rows
from mrl4rec.checks.drift.taste import Taste, taste

__all__ = [
    "Change",
    "Drift",
    "Portrait",
    "Taste",
    "compare",
    "known",
    "measure",
    "portray",
    "record",
    "rows",
    "taste",
]
