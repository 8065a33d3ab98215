"""What is expected of a table: a named number (a *fact*), the limits it must keep, and why.

Facts are what a table's rows are reduced to before they are judged: on Spark for what grows with
the dump (``jobs.facts``), in NumPy for vectors and results (``mrl4rec.gate``). The same declaration
serves both, and its words are what a person reads when the gate stops the flow.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

Limit = float | int | str | None
"""A number, the name of one that is only known when the gate is run, or None: no limit."""


@dataclass(frozen=True)
class Expectation:
    """One fact and the closed interval it must lie in: exactly at a limit is within it."""

    name: str
    """Unique in its suite; what the message of a failed gate calls it."""
    fact: str
    """Column of the one-row frame of facts."""
    meaning: str
    """Plain words, true when the expectation is met."""
    low: Limit = None
    high: Limit = None
    table: str | None = None
    """With ``where``: the table whose rows it is about."""
    where: str | None = None
    """Spark SQL, true for a row of ``table`` that breaks it; the fact is how many such rows."""
    listing: str | None = None
    """Spark SQL query that lists what breaks it, where no condition on single rows can."""

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise ValueError(f"expectation {self.name} has no limit")
        if (self.where is None) != (self.table is None):
            raise ValueError(f"expectation {self.name}: table and where go together")

    def limits(self, values: Mapping[str, float]) -> tuple[float | None, float | None]:
        """The limits as numbers; raises KeyError for a name that ``values`` lacks."""
        low, high = (values[x] if isinstance(x, str) else x for x in (self.low, self.high))
        return low, high

    def offenders(self) -> str | None:
        """A Spark SQL query over ``{table}`` names that lists what breaks it, or None."""
        if self.where is not None:
            return f"SELECT * FROM {{{self.table}}} WHERE {self.where}"
        return self.listing


@dataclass(frozen=True)
class Suite:
    """The expectations under which a stage's tables are judged together, in one verdict."""

    name: str
    tables: tuple[str, ...]
    """Tables whose versions get the verdict; the stage's main output first."""
    expectations: tuple[Expectation, ...]

    def __post_init__(self) -> None:
        names = [expectation.name for expectation in self.expectations]
        if len(set(names)) < len(names):
            raise ValueError(f"suite {self.name} names an expectation twice")

    def conditions(self, table: str) -> dict[str, str]:
        """Fact → condition, for the expectations on single rows of one table."""
        return {e.fact: e.where for e in self.expectations if e.where and e.table == table}

    def digest(self, values: Mapping[str, float]) -> str:
        """What is asked, in 16 hex digits: another question gets a verdict of its own."""
        asked = [asdict(e) | {"limits": e.limits(values)} for e in self.expectations]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def none(
    name: str,
    fact: str,
    meaning: str,
    *,
    table: str | None = None,
    where: str | None = None,
    listing: str | None = None,
) -> Expectation:
    """An expectation that there is none of something."""
    return Expectation(name, fact, meaning, 0, 0, table, where, listing)


def fill(sql: str, names: Mapping[str, str]) -> str:
    """Put SQL text in for each ``{name}`` that ``names`` holds; other braces stay."""
    return re.sub(r"\{(\w+)\}", lambda m: names.get(m.group(1), m.group(0)), sql)


def blank(column: str) -> str:
    """Spark SQL: the column is null or holds nothing but white space."""
    return rf"({column} IS NULL OR rlike({column}, r'^[\s\pZ]*$'))"


def sql_time(moment: datetime) -> str:
    """A time as a Spark SQL literal."""
    return f"timestamp'{moment.astimezone(UTC).isoformat()}'"


def sql_ranges(ranges: Mapping[str, tuple[float, float]]) -> str:
    """Format → (lowest, highest rating) as a Spark SQL table ``f(format, low, high)``."""
    rows = ", ".join(f"('{name}', {low!r}D, {high!r}D)" for name, (low, high) in ranges.items())
    return f"(SELECT * FROM VALUES {rows} AS v(format, low, high)) AS f"
