"""What became of the records of dumps, in words: read, accepted, quarantined and why."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flows import console

if TYPE_CHECKING:
    from mrl4rec.core.settings import Settings
    from mrl4rec.core.stage import Commit

log = logging.getLogger("mrl4rec")


def tell(commit: Commit, dataset: str, settings: Settings) -> None:
    """Log what an ingest took in and what it left out; of one found done only the latter."""
    if not commit.found:
        for line in taken(commit.summary):
            log.info("%s", line)
    lines = list(quarantined(commit.summary, dataset, settings))
    if lines:
        log.warning("%s", "\n  ".join(lines))


def taken(summary: Mapping[str, Any]) -> Iterator[str]:
    """What the files held, and notes."""
    total = summary["total"]
    yield (
        f"{total['rows_read']:,} records read: {total['rows_accepted']:,} accepted, "
        f"{total['rows_duplicate']:,} duplicate, {total['rows_quarantined']:,} quarantined"
    )
    yield from (f"note: {note}" for note in summary.get("notes", ()))


def quarantined(summary: Mapping[str, Any], dataset: str, settings: Settings) -> Iterator[str]:
    """How many records broke a rule, by rule with the first of them, and what lists them all."""
    total, rules = summary["total"], summary.get("rules", {})
    count = total["rows_quarantined"]
    if not count:
        return
    share = count / max(1, total["rows_read"])
    yield f"{count:,} of {total['rows_read']:,} records of {dataset} are quarantined ({share:.2%}):"
    yield from by_rule(rules, summary.get("first_bad", {}))
    before = count - sum(rules.values())
    if before > 0:
        yield f"{before:,} of files that were taken in before"
    yield f"list them: {console.command(settings, 'quarantine', '--dataset', dataset)}"


def by_rule(rules: Mapping[str, int], first_bad: Mapping[str, Any]) -> Iterator[str]:
    """A line a rule, the most first: how many records broke it, and the first of them."""
    for rule, count in sorted(rules.items(), key=lambda item: (-item[1], item[0])):
        yield f"{count:,} {rule}{_first(first_bad.get(rule))}"


def _first(bad: Mapping[str, Any] | None) -> str:
    """The first record that broke a rule: where it stands, what was seen, its raw text."""
    if bad is None:
        return ""
    detail = f" ({console.shown(bad['detail'])})" if bad.get("detail") else ""
    place = f"{console.shown(str(bad['path']))} record {bad['record_no']}"
    return f", the first: {place}{detail}: {console.shown(bad['record'] or '')}"
