"""A table of text, and how numbers are written in its cells."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from mrl4rec.reporting.marks import MARK
from mrl4rec.reporting.runs import Stat

SPREAD = " ± "
DASH = "–"
_COMMAS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")


@dataclass
class Table:
    """A table of text."""

    head: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    numeric: frozenset[int] = frozenset()
    """Columns set flush right."""
    best: set[tuple[int, int]] = field(default_factory=set)
    """(row, column) of cells to be marked."""
    links: dict[tuple[int, int], str] = field(default_factory=dict)
    """(row, column) → relative address."""
    mono: frozenset[int] = frozenset()
    """Columns set in a fixed width (keys, paths)."""

    def as_csv(self) -> str:
        """The table for a program: ``mean ± sd`` in two columns, marks in one of their own, whole
        numbers without commas, an empty cell for a dash.
        """
        spread = self.spreads()
        marked = {
            at for row in self.rows for at in self.numeric if at < len(row) and MARK in row[at]
        }
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        head = []
        for at, name in enumerate(self.head):
            head += [name, *([f"{name} sd"] if at in spread else [])]
            head += [f"{name} mark"] if at in marked else []
        writer.writerow(head)
        for row in self.rows:
            cells = []
            for at, cell in enumerate(row):
                mean, _, sd = cell.partition(SPREAD)
                if at in marked:
                    mean = mean.replace(MARK, "")
                cells.append(_plain(mean, at in self.numeric))
                cells += [sd] if at in spread else []
                cells += [MARK if MARK in cell else ""] if at in marked else []
            writer.writerow(cells)
        return out.getvalue()

    @property
    def data_uri(self) -> str:
        """``as_csv`` as an address that a browser downloads, without a server or a script."""
        return "data:text/csv;charset=utf-8," + quote(self.as_csv())

    def spreads(self) -> set[int]:
        """Columns in which some cell has a ``±`` part, so that all must leave room for it."""
        return {at for row in self.rows for at, cell in enumerate(row) if SPREAD in cell}


def stat_text(stat: Stat | None, mark: str = "") -> str:
    """``0.1234`` or ``0.1234† ± 0.0005``; a dash for nothing."""
    if stat is None:
        return "–"
    mean = f"{stat.mean:.4f}{mark}"
    return mean if stat.sd is None else f"{mean}{SPREAD}{stat.sd:.4f}"


def percent(relative: float | None) -> str:
    """A relative difference, signed: ``+3.1 %``."""
    if relative is None:
        return "–"
    return f"{round(100 * relative, 1) + 0.0:+.1f} %".replace("-", "−")  # + 0.0: no -0.0


def text(value: Any) -> str:
    """A value for people: thousands apart, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def size(count: int) -> str:
    """Bytes in the largest unit that leaves a number above 1."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")


def _plain(cell: str, numeric: bool) -> str:
    if cell == DASH:
        return ""
    return cell.replace(",", "") if numeric and _COMMAS.fullmatch(cell) else cell
