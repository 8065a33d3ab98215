"""How one file is read: its syntax, which column is which, units, encoding; and that in words."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass
from typing import Any, Literal

Syntax = Literal["json", "python", "csv", "lists", "parquet", "none"]
Container = Literal["lines", "objects", "array"]
TimeUnit = Literal["s", "ms", "us", "ns"]

ROLES = ("user", "item", "rating", "time")
BLANKS = " \t\r\n\u00a0\ufeff"
"""What is taken off both ends of a line and of a cell."""
ISO = "iso"
UNITS: dict[TimeUnit, str] = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}


@dataclass(frozen=True)
class Mapping:
    """How a file is read. Two files with equal mappings are read in the same way.

    A column is named as the file names it: by its header (csv, parquet), by its place from 1 where
    a csv has no header, by a dotted path through objects (json, python).
    """

    syntax: Syntax
    """lists: ``user item item …``, integers with blanks between. none: a file without a record."""
    user: str = ""
    item: str = ""
    rating: str | None = None
    time: str | None = None
    columns: tuple[str, ...] = ()
    """csv: all columns by place, "" where unnamed, "1", "2", … without a header."""
    header: str | None = None
    """csv: the text of the header record as it stands, without its line end; None without one."""
    separator: str | None = None
    quoted: bool = False
    """csv: cells may be quoted (RFC 4180), with separators and line breaks inside."""
    container: Container = "lines"
    """lines: a record a line, a comma behind it or not. objects: JSON objects one after the other,
    over many lines, commas between or not. array: elements of one JSON array."""
    records: str | None = None
    """array: the key that holds it, where an object is wrapped around it."""
    time_unit: TimeUnit | None = None
    """Of numbers since 1970-01-01 UTC; None where there is no time or it is text."""
    time_format: str | None = None
    """"iso", a strptime pattern, or None for numbers. Without a zone times are UTC."""
    rating_range: tuple[float, float] | None = None
    """Smallest and largest rating, both allowed; None: every number is."""
    encoding: str = "utf-8"
    name: str | None = None
    """Of the known format, if it is one."""
    asin_items: bool = False
    """Item ids are ASINs or ten-digit ISBNs, so shorter numbers have lost their leading zeros."""
    integer_ids: bool = False
    """Ids are the integers of a split made elsewhere, kept as they are."""

    @property
    def roles(self) -> dict[str, str]:
        """The columns that are read, by role."""
        named = {role: getattr(self, role) for role in ROLES}
        return {role: column for role, column in named.items() if column}

    @property
    def read(self) -> list[str]:
        """The columns that are read, each once."""
        return list(dict.fromkeys(self.roles.values()))

    def to_json(self) -> dict[str, Any]:
        """A value that ``json.dumps`` takes: the fields that are not their defaults."""
        given = {k: v for k, v in vars(self).items() if v != getattr(Mapping, k, None)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}

    @classmethod
    def from_json(cls, value: Dict[str, Any]) -> Mapping:
        """The mapping that ``to_json`` gave."""
        made: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        return cls(**made)


_SYNTAX = {
    "none": "empty: no record",
    "python": "Python literals",
    "lists": "lines `user item item …`",
    "lines": "json",
    "objects": "json, objects over many lines",
    "array": "json array",
}


def describe(mapping: Mapping) -> str:
    """One line: syntax, columns, units, range."""
    text = _SYNTAX.get(mapping.syntax, mapping.syntax)
    if mapping.syntax == "csv":
        header = "without" if mapping.header is None else "and"
        text = f"csv with {mapping.separator!r} {header} header"
    elif mapping.syntax == "json":
        under = f" under {mapping.records!r}" if mapping.records else ""
        text = _SYNTAX[mapping.container] + under
    if mapping.encoding != "utf-8":
        text += f", {mapping.encoding}"
    name = f"{mapping.name} ({text})" if mapping.roles and mapping.name else text
    roles = [f"{role}={column}{_more(mapping, role)}" for role, column in mapping.roles.items()]
    return ": ".join([name, ", ".join(roles)]) if roles else name


def _more(mapping: Mapping, role: str) -> str:
    if role == "rating":
        low_high = mapping.rating_range
        return " (range as seen)" if low_high is None else " ({:g} to {:g})".format(*low_high)
    if role != "time":
        return ""
    unit = UNITS[mapping.time_unit or "s"]
    return f" ({'ISO 8601' if mapping.time_format == ISO else mapping.time_format or unit})"
