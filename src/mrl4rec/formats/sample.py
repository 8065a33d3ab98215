"""The first records of a file as columns of texts, and the refusals that show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mrl4rec.core.errors import UsageError
from mrl4rec.formats.mapping import Mapping
from mrl4rec.formats.options import ReadOptions

MOST_COLUMNS = 1000
SHOWN_COLUMNS = 30


@dataclass(frozen=True)
class Sample:
    """The structure of a file and the values of its first records."""

    where: str
    layout: Mapping
    """How records are cut and what the columns are; without roles."""
    columns: dict[str, list[str]]
    """The texts that are not blank of each named column."""
    is_typed: bool = False
    """The header gives types, as RecBole's does."""

    @property
    def is_bare(self) -> bool:
        """Whether it is a csv without a header."""
        return self.layout.syntax == "csv" and self.layout.header is None

    def listing(self) -> str:
        """The columns with a value each, in words."""
        shown = list(self.columns.items())[:SHOWN_COLUMNS]
        said = [short(n) + "".join(f" (like {short(v, 40)!r})" for v in vs[:1]) for n, vs in shown]
        more = len(self.columns) - len(said)
        return ", ".join(said) + (f" and {more:,} more" if more else "")

    def unclear(
        self, why: str, options: ReadOptions, answers: Sequence[dict[str, Any]], hint: str = ""
    ) -> UsageError:
        """The refusal that lists the columns, and what to type for each possible answer."""
        typed = " or ".join(replace(options, **answer).command() for answer in answers)
        todo = f"say it with {typed}{hint}" if typed else None
        return UsageError(f"{why}; its columns: {self.listing()}", where=self.where, todo=todo)


def short(text: str, most: int = 80) -> str:
    """The beginning of a text, with nothing that moves a cursor."""
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= most else text[:most] + "…"


def no_table(where: str, why: str, seen: str = "") -> UsageError:
    """The refusal of what holds no records that could be read."""
    return UsageError(
        f"not a form of dump that can be read: {why}"
        + (f"; it begins: {short(seen)!r}" if seen else ""),
        where=where,
        todo="give one record a line, as CSV with a header or as JSON with user, item and, if "
        "there are any, rating and time",
    )
