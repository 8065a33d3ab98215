"""Retraining on the page: the ledger, and what is told of the champion and of the dumps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath
from typing import Any, NamedTuple

from mrl4rec.checks import drift
from mrl4rec.core.settings import Settings
from mrl4rec.reporting.cells import Table, text
from mrl4rec.serving.registry import ledger
from mrl4rec.serving.registry.ledger import Entry, short
from mrl4rec.serving.registry.summaries import change_in_short
from mrl4rec.tables.drift import DRIFT

DISTANCES = {
    "ratings": "ratings",
    "user_rows": "rows a user",
    "item_rows": "rows an item",
    "new_users": "new users",
    "new_items": "new items",
    "top_item": "top item",
    "top_user": "top user",
}
"""What is drawn of a dump's change, and what it is called."""


@dataclass(frozen=True)
class Judgement:
    """One row of the ledger that a duel stands behind."""

    row: Entry
    since: datetime
    """Begin of its window."""

    @property
    def told(self) -> Mapping[str, Any]:
        """The comparison at full width."""
        found: Mapping[str, Any] = self.row.evidence["difference"]
        return found


class Refused(NamedTuple):
    """A dump that was refused, and the stretch of time it would have added."""

    row: Entry
    begins: datetime
    ends: datetime


@dataclass(frozen=True)
class History:
    """What retraining has left in the tables of a data set."""

    rows: list[Entry] = field(default_factory=list)
    dumps: list[dict[str, Any]] = field(default_factory=list)
    """Rows of the table `drift`, oldest first."""

    @property
    def judged(self) -> list[Judgement]:
        """The rows with a duel, in the order of their windows."""
        found = [
            Judgement(row, datetime.fromisoformat(row.evidence["window"]["since"]))
            for row in self.rows
            if (row.evidence.get("difference") or {}).get("judged") and row.evidence.get("window")
        ]
        return sorted(found, key=lambda judgement: (judgement.since, judgement.row.seq))

    def refused(self) -> list[Refused]:
        """Refused dumps that had a time."""
        stretches = self._stretches()
        out = []
        for row in self.rows:
            known = [stretches[d] for d in row.evidence.get("sources", ()) if d in stretches]
            if row.decision == "refused" and known:
                begins, ends = zip(*known, strict=True)
                out.append(Refused(row, min(begins), max(ends)))
        return out

    def _stretches(self) -> dict[str, tuple[datetime, datetime]]:
        """What each dump adds to the time that was known, by its sources: late rows do not count.

        One that adds nothing to it stands for all of its own time.
        """
        found: dict[str, tuple[datetime, datetime]] = {}
        newest: datetime | None = None
        for dump in self.dumps:
            if not dump["first"]:
                continue
            first, last = (datetime.fromisoformat(dump[name]) for name in ("first", "last"))
            begins = first if newest is None or newest >= last else max(first, newest)
            found |= dict.fromkeys(dump["source_sha256"], (begins, last))
            newest = last if newest is None else max(newest, last)
        return found


def history(settings: Settings, dataset: str) -> History:
    """The ledger and the drift of a data set; empty where nothing was retrained."""
    return History(ledger.entries(settings, dataset), drift.rows(settings, dataset))


def ledger_table(found: History) -> Table | None:
    """Who was champion when and why, oldest first."""
    if not found.rows:
        return None
    head = ["row", "at (UTC)", "decision", "champion", "challenger", "NDCG@20",
            "interval of the gain", "users", "why"]  # fmt: skip
    table = Table(head, numeric=frozenset({0, 7}), mono=frozenset({3, 4}))
    for row in found.rows:
        told = row.evidence.get("difference") or {}
        numbers = ["–", "–", "–"]
        if told.get("judged"):
            numbers = [
                f"{told['champion']:.4f} → {told['challenger']:.4f}",
                f"{told['low']:+.4f} … {told['high']:+.4f}",
                text(told["users"]),
            ]
        table.rows.append(
            [
                str(row.seq),
                f"{row.at:%Y-%m-%d %H:%M}",
                row.decision.replace("_", " "),
                change_in_short(row),
                short(row.challenger) if row.challenger else "–",
                *numbers,
                row.why,
            ]
        )
    return table


def champion_table(found: History) -> Table | None:
    """The numbers under the drawing of the champion."""
    if not found.judged:
        return None
    head = ["window from", "champion", "challenger", "difference", "interval", "users", "decision"]
    table = Table(head, numeric=frozenset({1, 2, 3, 5}))
    for judgement in found.judged:
        told = judgement.told
        table.rows.append(
            [
                f"{judgement.since:%Y-%m-%d}",
                f"{told['champion']:.4f}",
                f"{told['challenger']:.4f}",
                f"{told['difference']:+.4f}",
                f"{told['low']:+.4f} … {told['high']:+.4f}",
                text(told["users"]),
                judgement.row.decision,
            ]
        )
    return table


def dump_table(found: History) -> Table | None:
    """The dumps as they came: sizes and what the champion made of them."""
    if not found.dumps:
        return None
    head = ["dump", "first", "last", "records", "new rows", "users", "items", "new users",
            "quarantined", "champion's AUC"]  # fmt: skip
    table = Table(head, numeric=frozenset(range(3, 10)))
    for dump in found.dumps:
        table.rows.append(
            [
                name_of(dump),
                (dump["first"] or "–")[:10],
                (dump["last"] or "–")[:10],
                *(text(dump[name]) for name in ("rows_read", "rows", "users", "items")),
                f"{dump['portrait']['new_users']:.0%}",
                f"{dump['quarantined_share']:.1%}",
                "–" if dump["champion_auc"] is None else f"{dump['champion_auc']:.3f}",
            ]
        )
    return table


def drift_table(found: History) -> Table | None:
    """How each judged dump differs from as many rows before it."""
    dumps = [dump for dump in found.dumps if dump["before"]["rows"]]
    if not dumps:
        return None
    head = ["dump", *DISTANCES.values(), "pace"]
    table = Table(head, numeric=frozenset(range(1, len(head))))
    for dump in dumps:
        change = dump["change"]
        values = [f"{change[name]:+.3f}" if name.startswith(("new", "top")) else
                  f"{change[name]:.3f}" for name in DISTANCES]  # fmt: skip
        table.rows.append([name_of(dump), *values, f"{change['pace']:.2f}×"])
    return table


def name_of(dump: Mapping[str, Any]) -> str:
    """A dump by its file's name, with how many others came with it."""
    paths: Sequence[str] = dump["paths"]
    if not paths:
        return f"{DRIFT.name} {dump['reviews_version']}"
    first = PurePath(paths[0]).name
    return first if len(paths) == 1 else f"{first} and {len(paths) - 1} more"
