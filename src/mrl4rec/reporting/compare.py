"""The paper's numbers beside those measured, where the two may be compared at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mrl4rec.reporting import paper
from mrl4rec.reporting.cells import Table, percent, stat_text
from mrl4rec.reporting.runs import Group
from mrl4rec.reporting.views import levels_of
from mrl4rec.reporting.warehouse import Context


@dataclass(frozen=True)
class Comparison:
    """What the page says of the paper."""

    known: paper.PaperSet
    notes: list[str]
    measured: Table | None
    """Paper beside measured; None where nothing here may be compared."""
    others: Table | None
    """Rows of the paper that were not run here."""


def compare(context: Context, groups: Sequence[Group]) -> Comparison | None:
    """The comparison for a data set of the paper, known by its counts; None for another one."""
    counts = context.counts
    known = paper.recognise(*counts) if counts else None
    if known is None:
        return None
    notes = []
    fair = [group for group in groups if group.protocol == paper.PROTOCOL]
    if not fair:
        notes.append(
            "The printed numbers come from the protocol `paper`, which chooses the epoch on test. "
            "The runs here are of another protocol, so they are not compared; "
            "`--protocol paper` makes runs that can be."
        )
    elif not _same_split(context, known):
        notes.append(
            f"These are the {known.name} data of the paper on another split than the authors' "
            f"({known.train:,} training and {known.test:,} test pairs): expect other values."
        )
    table, seen = _measured(known, fair)
    if any("?" in row[2] for row in table.rows):
        notes.append(f"“?”: {paper.GUESSED}.")
    return Comparison(known, notes, table if table.rows else None, _others(known, seen))


def _measured(known: paper.PaperSet, groups: Sequence[Group]) -> tuple[Table, set[str]]:
    head = ["method", "metric", "level set", "paper", "measured", "seeds", "difference", "Table",
            "what is known of it"]  # fmt: skip
    table = Table(head, numeric=frozenset({3, 4, 5, 6}))
    seen = set()
    for number in paper.printed(known.name):
        for group in groups:
            if paper.row_of(group.method) != number.method or levels_of(group) != number.levels:
                continue
            stat = group.stat(number.metric, number.k, group.full)
            if stat is None:
                continue
            seen.add(number.method)
            table.rows.append(
                [
                    group.label,
                    f"{number.metric}@{number.k}",
                    (group.levels or "–") + ("?" if number.note else ""),
                    f"{number.value:.4f}",
                    stat_text(stat),
                    str(stat.n) if group.seeds else "–",
                    percent(stat.mean / number.value - 1),
                    number.table,
                    paper.REASONS.get(number.method, "–"),
                ]
            )
    table.rows.sort(key=lambda row: (row[0], row[2], row[1].split("@")[0] != "recall"))
    return table, seen


def _others(known: paper.PaperSet, seen: set[str]) -> Table | None:
    table = Table(["method", "recall@20", "ndcg@20", "Table"], numeric=frozenset({1, 2}))
    by_method: dict[str, dict[str, paper.Printed]] = {}
    for number in paper.printed(known.name):
        if number.k == 20 and number.table != "4" and number.method not in seen:
            by_method.setdefault(number.method, {})[number.metric] = number
    for method, found in by_method.items():
        values = [f"{found[m].value:.4f}" if m in found else "–" for m in ("recall", "ndcg")]
        table.rows.append([method, *values, next(iter(found.values())).table])
    table.rows.sort(key=lambda row: row[1], reverse=True)
    return table if table.rows else None


def _same_split(context: Context, known: paper.PaperSet) -> bool:
    summary = context.split.summary if context.split else {}
    try:
        fitted = int(summary["train"]) + int(summary["valid"])
    except (KeyError, TypeError, ValueError):
        return False
    return (fitted, summary.get("test"), summary.get("strategy")) == (
        known.train, known.test, "predefined",
    )  # fmt: skip
