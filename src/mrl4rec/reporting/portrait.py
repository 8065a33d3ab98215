"""The dump's portrait: degrees, rows over time, ratings, quarantine; counted by delta-rs, in SQL.

DataFusion (inside delta-rs) counts in native code with bounded memory, so that a dump of many
millions of rows costs seconds and no JVM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from deltalake import QueryBuilder

from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import open_table
from mrl4rec.reporting.warehouse import Context
from mrl4rec.tables.versions import readable

Degrees = list[tuple[int, int]]
"""(degree, how many users or items have it), ascending."""


@dataclass(frozen=True)
class Portrait:
    """Counts of a dump and of its core; empty where the table, or its files, are not there."""

    degrees: Mapping[str, Degrees] = field(default_factory=dict)
    """By ``users in the dump``, ``users in the core`` and the same of items."""
    rows: int = 0
    """Reviews."""
    timed: int = 0
    """Reviews that have a time."""
    first: datetime | None = None
    last: datetime | None = None
    over_time: list[tuple[datetime, int]] = field(default_factory=list)
    """(start of the span, reviews in it)."""
    span: str = "month"
    """Length of those spans: month or day."""
    ratings: list[tuple[float | None, int]] = field(default_factory=list)
    rules: list[tuple[str, int, str | None]] = field(default_factory=list)
    """(rule, records it set aside, what was seen in one of them), most first."""


def portrait(settings: Settings, context: Context) -> Portrait:
    """Count what the context's versions of reviews, interactions and quarantine hold."""
    versions = context.versions()
    ask = _Asker(settings, context.dataset, versions)
    degrees: dict[str, Degrees] = {}
    for side in ("user", "item"):
        for place, table, column in (
            ("dump", "reviews", f"{side}_id"),
            ("core", "interactions", f"{side}_idx"),
        ):
            found = ask.degrees(table, column)
            if found:
                degrees[f"{side}s in the {place}"] = found
    rows: dict[str, Any] = {}
    if ask.has("reviews"):
        rows = ask(
            "select count(*) as n, count(reviewed_at) as timed, min(reviewed_at) as first,"
            " max(reviewed_at) as last from reviews"
        )[0]
    span, over_time = ask.over_time(rows.get("first"), rows.get("last"))
    return Portrait(
        degrees=degrees,
        rows=int(rows.get("n") or 0),
        timed=int(rows.get("timed") or 0),
        first=rows.get("first"),
        last=rows.get("last"),
        over_time=over_time,
        span=span,
        ratings=ask.ratings(),
        rules=ask.rules(),
    )


class _Asker:
    def __init__(self, settings: Settings, dataset: str, versions: Mapping[str, int]) -> None:
        self.builder, self.tables = QueryBuilder(), set()
        for name in ("reviews", "interactions", "quarantine"):
            delta = open_table(settings.storage.table_uri(dataset, name), versions.get(name))
            if delta is not None and readable(settings, dataset, name, delta.version()):
                self.builder = self.builder.register(name, delta)
                self.tables.add(name)

    def __call__(self, sql: str) -> list[dict[str, Any]]:
        return pa.table(self.builder.execute(sql).read_all()).to_pylist()

    def has(self, table: str) -> bool:
        return table in self.tables

    def degrees(self, table: str, column: str) -> Degrees:
        if not self.has(table):
            return []
        rows = self(
            f"select degree, count(*) as n from (select count(*) as degree from {table}"
            f" group by {column}) as d group by degree order by degree"
        )
        return [(int(row["degree"]), int(row["n"])) for row in rows]

    def over_time(
        self, first: datetime | None, last: datetime | None
    ) -> tuple[str, list[tuple[datetime, int]]]:
        if first is None or last is None:
            return "month", []
        span = "month" if (last - first).days > 400 else "day"
        rows = self(
            f"select date_trunc('{span}', reviewed_at) as at, count(*) as n from reviews"
            " where reviewed_at is not null group by 1 order by 1"
        )
        return span, _without_gaps([(row["at"], int(row["n"])) for row in rows], span)

    def ratings(self) -> list[tuple[float | None, int]]:
        if not self.has("reviews"):
            return []
        rows = self("select rating, count(*) as n from reviews group by rating order by rating")
        return [(row["rating"], int(row["n"])) for row in rows]

    def rules(self) -> list[tuple[str, int, str | None]]:
        if not self.has("quarantine"):
            return []
        rows = self(
            "select rule, count(*) as n, min(detail) as detail from quarantine"
            " group by rule order by n desc, rule"
        )
        return [(row["rule"], int(row["n"]), row["detail"]) for row in rows]


def _without_gaps(found: list[tuple[datetime, int]], span: str) -> list[tuple[datetime, int]]:
    """The same with a zero for every month (or day) that has no review, and one behind the last."""
    counts = dict(found)
    at, last = min(counts), max(counts)
    out = []
    while at <= last:
        out.append((at, counts.get(at, 0)))
        at = _next(at, span)
    return [*out, (at, 0)]


def _next(at: datetime, span: str) -> datetime:
    if span == "day":
        return at + timedelta(days=1)
    return at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)
