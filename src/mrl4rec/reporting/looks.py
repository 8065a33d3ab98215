"""Colours, line styles and markers of the report's figures.

Colours are Okabe and Ito's, which differ with any colour vision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mrl4rec.evaluation.cut import ROTATED
from mrl4rec.reporting.runs import Group

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c6d31")
METHODS = ("MRL-M", "MRL-D", "BPR-D", "BPR-M", "BPR", "EASE", "Pop", "MRL-M@lightgcn-1")
"""Methods whose colour is the same in every report."""
LINES: tuple[Any, ...] = ("-", "--", "-.", (0, (1, 1.2)), (0, (6, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<")


def looks(groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """A colour for each method, rotated or not; a marker and line of its own for each group.

    Whatever the order of the groups, so that they look alike in all figures of one table.
    """
    named = sorted((g.method.removesuffix(ROTATED), g.name) for g in groups)
    colours = _colours({method for method, _ in named})
    uses = [0] * len(MARKS)
    found = {}
    for method, name in named:
        first = colours[method] % len(MARKS)
        order = [*range(first, len(MARKS)), *range(first)]
        mark = min(order, key=lambda at: uses[at])
        look = {"linestyle": LINES[(mark + uses[mark]) % len(LINES)], "marker": MARKS[mark]}
        found[name] = {"color": PALETTE[colours[method]], **look}
        uses[mark] += 1
    return found


def _colours(methods: set[str]) -> dict[str, int]:
    """Places in the palette: those of ``METHODS`` are fixed, others take what they leave free."""
    found = {method: METHODS.index(method) for method in methods if method in METHODS}
    every = range(len(PALETTE))[::-1]  # the first ones are those of the commonest methods
    free = [at for at in every if at not in found.values()] or list(every)
    others = sorted(methods - found.keys())
    return found | {method: free[at % len(free)] for at, method in enumerate(others)}


def shape(number: int) -> dict[str, Any]:
    """The line's style and the marker of one of several lines, by its number."""
    return {"linestyle": LINES[number % len(LINES)], "marker": MARKS[number % len(MARKS)]}


def colour(method: str, number: int) -> str:
    """The colour of a method: its own in every report, else that of the number."""
    return PALETTE[place_of(method, number) % len(PALETTE)]


def place_of(method: str, number: int) -> int:
    """A method's place among the colours, counted on where there are no more."""
    return METHODS.index(method) if method in METHODS else len(METHODS) + number
