"""Recall by width, with what a vector of that width takes: for the terminal, and as Markdown."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.reporting.leaderboard import boards, model_grid
from mrl4rec.reporting.lines import label

with lazy.imports():
    import rich.console

BYTES = 4
"""Of a number of a vector, float32."""
METRIC, K = "recall", 20
Row = Mapping[str, Any]
Cells = dict[tuple[str, str | None], dict[int | None, list[float]]]
"""(label, levels) → width → values over seeds."""


def memory(width: int) -> str:
    """``64 B``: bytes of one user's or one item's vector of that width."""
    return f"{BYTES * width:,} B"


def tables(rows: Sequence[Row]) -> dict[str, Cells]:
    """Recall@20 of leaderboard rows by board; only where there are two widths."""
    found: dict[str, Cells] = {}
    for title, of_it in boards(rows).items():
        cells = found.setdefault(title, {})
        for row in of_it:
            if (row["metric"], row["k"]) == (METRIC, K):
                by_width = cells.setdefault((label(row), row["levels"]), {})
                by_width.setdefault(row["width"], []).append(float(row["value"]))
    return {title: cells for title, cells in found.items() if len(widths_of(cells)) > 1}


def widths_of(cells: Cells) -> list[int]:
    """Every width that some model has, ascending."""
    return sorted({w for by_width in cells.values() for w in by_width if w is not None})


def print_widths(rows: Sequence[Row], file: Any = None) -> None:
    """Print Recall@20 at every width, one table a data set, split and protocol.

    The second line of a head is the memory of one vector at that width. Over several seeds the
    mean.
    """
    out = file or sys.stdout
    console = rich.console.Console(file=out, width=None if out.isatty() else 160, highlight=False)
    for board, cells in tables(rows).items():
        title = f"{board} · {METRIC}@{K} by width, bytes a user and an item"
        grid = model_grid(title)
        for width in widths_of(cells):
            grid.add_column(f"{width}\n{memory(width)}", justify="right", no_wrap=True)
        grid.add_column("no\nprefixes", justify="right", no_wrap=True)
        for (method, levels), by_width in cells.items():
            grid.add_row(method, levels or "–", *_values(cells, by_width))
        console.print(grid)


def _values(cells: Cells, by_width: Mapping[int | None, Sequence[float]]) -> list[str]:
    places: list[int | None] = [*widths_of(cells), None]
    return [f"{statistics.fmean(v):.4f}" if (v := by_width.get(p)) else "–" for p in places]


def widths_markdown(rows: Sequence[Row]) -> str:
    """The same tables in Markdown."""
    parts = []
    for board, cells in tables(rows).items():
        heads = [f"{width} ({memory(width)})" for width in widths_of(cells)]
        head = ["method", "levels", *heads, "no prefixes"]
        parts += [
            f"### {board}: {METRIC}@{K} by width (bytes a user and an item)",
            "",
            "| " + " | ".join(head) + " |",
            "|" + "---|" * len(head),
        ]
        for (method, levels), by_width in cells.items():
            values = [method, levels or "–", *_values(cells, by_width)]
            parts.append("| " + " | ".join(values) + " |")
        parts.append("")
    return "\n".join(parts)
