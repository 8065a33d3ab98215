"""How dumps are to be read: the options of the command line, and the fields of a request."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrl4rec.formats.options import ReadOptions


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What is said of the form of dumps. None, or an empty text: seen from their content."""

    format: str | None = None
    """Name of a known format."""
    columns: str | None = None
    """``user=…,item=…,rating=…,time=…``: names, positions from 1, or dotted paths in JSON."""
    time_unit: str | None = None
    """s, ms, us or ns."""
    time_format: str | None = None
    """strptime pattern of the times."""
    rating_range: str | None = None
    """``LOW:HIGH``."""
    separator: str | None = None
    """What stands between the cells of a line."""
    encoding: str | None = None
    """How the text is encoded."""

    def __post_init__(self) -> None:
        for name in NAMES:  # Prefect's form and MLflow give an empty text for nothing
            object.__setattr__(self, name, getattr(self, name) or None)
        self.read_options()

    def read_options(self) -> ReadOptions:
        """The same, checked. Raises UsageError naming the option that is wrong."""
        from mrl4rec.formats.options import ReadOptions

        return ReadOptions.parse(**said(self))


NAMES = tuple(field.name for field in fields(Reading))
LATER = NAMES[1:]
"""Those that are newer than the first stored requests, whose parameters do not hold them."""


def said(reading: Reading) -> dict[str, Any]:
    """What is said, by name."""
    return {name: getattr(reading, name) for name in NAMES if getattr(reading, name) is not None}


def options(reading: Reading) -> list[str]:
    """The options that say something, as the command line calls them."""
    return [f"--{name.replace('_', '-')}" for name in said(reading)]


def add_options(command: argparse.ArgumentParser) -> None:
    """Give a command the options under which dumps are read."""
    group = command.add_argument_group(
        "how dumps are read", "Unset: seen from their content; `mrl4rec inspect FILE` shows it."
    )
    add = group.add_argument
    add("--format", metavar="NAME", help="a known format, instead of the options below")
    add(
        "--columns",
        metavar="user=A,item=B,…",
        help="which column holds what (user, item, rating, time): by name, by position from 1, in "
        "JSON by dotted path",
    )
    add("--time-unit", metavar="UNIT", help="of times that are numbers: s, ms, us or ns")
    add(
        "--time-format",
        metavar="PATTERN",
        help="of times that are text, as strptime has it: '%%d/%%m/%%Y %%H:%%M'",
    )
    add("--rating-range", metavar="LOW:HIGH", help="ratings outside of it are quarantined")
    add("--separator", metavar="TEXT", help="what stands between the cells of a line")
    add("--encoding", metavar="NAME", help="of the text, such as latin-1; unset: UTF-8")
