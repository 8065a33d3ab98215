"""The rows of a study as tables for docs/promotion.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def page(rows: Sequence[Row]) -> str:
    """A table of A/A and one of A/B, in Markdown."""
    same = [row for row in rows if row["weight"] == 0]
    better = [row for row in rows if row["weight"] > 0]
    return f"{_same(same)}\n\n{_better(better)}\n" if better else f"{_same(same)}\n"


def _same(rows: Sequence[Row]) -> str:
    lines = [
        "| users | sides | promoted | without the guards | interval below 0 |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [_share(row, name) for name in ("promoted", "above", "below")]
        lines.append("| " + " | ".join([f"{row['users']:,}", row["design"], *cells]) + " |")
    return "\n".join(lines)


def _better(rows: Sequence[Row]) -> str:
    gains = sorted({row["expected"] for row in rows})
    head = ["users", "sides", *(f"{100 * gain:+.1f} %" for gain in gains)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for users, design in dict.fromkeys((row["users"], row["design"]) for row in rows):
        place = {
            row["expected"]: row for row in rows if (row["users"], row["design"]) == (users, design)
        }
        cells = [_both(place[gain]) if gain in place else "" for gain in gains]
        lines.append("| " + " | ".join([f"{users:,}", design, *cells]) + " |")
    return "\n".join(lines)


def _share(row: Row, name: str) -> str:
    found = row[name]
    share = f"{100 * found['rate']:.1f} ± {100 * found['error']:.1f} %"
    return f"{found['count']} of {row['pairs']} ({share})"


def _both(row: Row) -> str:
    return f"{row['promoted']['count']} ({row['above']['count']}) of {row['pairs']}"
