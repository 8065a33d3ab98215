"""What is expected of a table: a named number (a *fact*), the limits it must keep, and why.

Facts are what a table's rows are reduced to before they are judged: by the data engine for what
grows with the dump (``mrl4rec.transforms.facts``), in NumPy for vectors and results
(``mrl4rec.checks.gate``). The same declaration serves both, and its words are what a person reads
when the gate stops the flow. SQL here is in the subset that DuckDB and Spark run unchanged, over
relations that have the tables' names; times are BIGINT µs since 1970 UTC.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

Limit = float | int | str | None
"""A number, the name of one that is only known when the gate is run, or None: no limit."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WHITE = (
    "\t\n\x0b\f\r \u00a0\u1680"
    + "".join(map(chr, range(0x2000, 0x200B)))
    + "\u2028\u2029\u202f\u205f\u3000"
)
"""ASCII white space and what Unicode calls separators."""


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
    """SQL, true for a row of ``table`` that breaks it; the fact is how many such rows."""
    listing: str | None = None
    """SQL query that lists what breaks it, where no condition on single rows can."""
    warns: bool = False
    """Not met, it is logged and kept, and the verdict is a pass all the same."""
    example: str | None = None
    """SQL query of rows that show it, where the first ones of the listing would not."""

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
        """An SQL query that lists what breaks it, or None."""
        if self.where is not None:
            return f"SELECT * FROM {self.table} WHERE {self.where}"
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
        for question in asked:
            del question["example"]  # it shows the answer and is no part of the question
            if not question["warns"]:
                del question["warns"]  # the digest is what it was before there were warnings
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
    """SQL: the column is null or holds nothing but white space."""
    # A text that begins with a visible ASCII character is not blank. Most ids do, and CASE, other
    # than AND, looks no further at them.
    visible = f"{column} >= '!' AND {column} < '~'"
    white = f"translate({column}, '{WHITE}', '') = ''"
    return f"(CASE WHEN {column} IS NULL THEN true WHEN {visible} THEN false ELSE {white} END)"


def sql_time(moment: datetime) -> str:
    """A time as µs since 1970 UTC, which is what a time is inside a query."""
    return str((moment.astimezone(UTC) - EPOCH) // timedelta(microseconds=1))


def sql_double(number: float) -> str:
    """A DOUBLE literal: with an exponent, or it would be a decimal number."""
    text = repr(float(number))
    return text if "e" in text else f"{text}e0"


def sql_session_place(sessions: Collection[str]) -> str:
    """SQL of a row's record_no where its source, by digest, is one of the sessions; else null.

    Sessions have no times, and name an item as often as it was seen: the place keeps these apart.
    """
    if not sessions:
        return "CAST(NULL AS BIGINT)"
    listed = ", ".join(f"'{digest}'" for digest in sorted(sessions))
    return f"CASE WHEN source_sha256 IN ({listed}) THEN record_no END"


def sql_ranges(ranges: Mapping[str, tuple[float, float]]) -> str:
    """Digest of a source → (lowest, highest rating) as the SQL of a table.

    Its columns are source_sha256, low and high; sources whose ratings have no range are not in it.
    """
    rows = [f"('{digest}', {sql_double(low)}, {sql_double(high)})"
            for digest, (low, high) in ranges.items()]  # fmt: skip
    none = "('', 0e0, 0e0)"  # no digest is empty
    return f"(VALUES {', '.join(rows or [none])}) AS f(source_sha256, low, high)"
