"""How one file is read: its syntax, which column is which, units, encoding; and that in words."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass, replace
from typing import Any, Literal

from mrl4rec.core.errors import UsageError, nearest

Syntax = Literal["json", "python", "csv", "lists", "sessions", "parquet", "none"]
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
    """lists: ``user item item …``, integers with blanks between. sessions: JSON lists of items, one
    a line. none: a file without a record."""
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
    "sessions": "JSON lists of items, one a line",
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


# The published forms of review dumps, by name.

STARS = (1.0, 5.0)
HALF_STARS = (0.5, 5.0)

_PLACES: dict[str, Any] = {
    **dict(zip(ROLES, "1234", strict=True)), "columns": ("1", "2", "3", "4"),
}  # fmt: skip
_2014 = Mapping(
    "json", "reviewerID", "asin", "overall", "unixReviewTime",
    time_unit="s", rating_range=STARS, asin_items=True,
)  # fmt: skip
_2023 = replace(_2014, user="user_id", item="parent_asin", rating="rating", time="timestamp",
                time_unit="ms")  # fmt: skip
_CSV: dict[str, Any] = {"syntax": "csv", "separator": ",", "quoted": True}
_RATINGS = replace(_2014, **_CSV, **_PLACES)
_MOVIELENS = Mapping("csv", **_PLACES, rating_range=HALF_STARS)

_ALL = {
    "amazon-2014-json": _2014,
    "amazon-2014-json-array": replace(_2014, container="array"),
    "amazon-2014-loose": replace(_2014, syntax="python"),
    "amazon-2014-csv": replace(_2014, **_CSV),
    "amazon-2018-json": _2014,
    "amazon-2018-json-array": replace(_2014, container="array"),
    "amazon-2023-json": _2023,
    "amazon-2023-json-array": replace(_2023, container="array"),
    "amazon-2023-csv": replace(_2023, **_CSV),
    "amazon-ratings-user-item": _RATINGS,
    "amazon-ratings-item-user": replace(_RATINGS, user="2", item="1"),
    "recbole-inter": Mapping(
        "csv", "user_id", "item_id", "rating", "timestamp", separator="\t", time_unit=None
    ),
    "movielens-tab": replace(_MOVIELENS, separator="\t"),
    "movielens-dat": replace(_MOVIELENS, separator="::"),
    "movielens-csv": Mapping(
        **_CSV, user="userId", item="movieId", rating="rating", time="timestamp",
        rating_range=HALF_STARS,
    ),
    "author-lists": Mapping("lists", "1", "2", integer_ids=True),
    "session-lists": Mapping("sessions", "session", "item"),
    "retailrocket-events": Mapping(
        **_CSV, user="visitorid", item="itemid", time="timestamp", time_unit="ms"
    ),
}  # fmt: skip

FORMATS: dict[str, Mapping] = {name: replace(form, name=name) for name, form in _ALL.items()}
"""What ``--format`` takes. Columns and header of a csv with names, and a unit that is None, are
seen from the file."""
EMPTY = Mapping("none", name="empty")
"""A file without a record."""
MARKS_2018 = {"verified", "vote", "style", "image"}
"""Fields that tell a dump of 2018 from one of 2014."""
NEED_COLUMNS = {"retailrocket-events": {"event", "transactionid"}}
"""Columns that are not read, without which a file is not of the format."""
NEED_RATING = {"amazon-2023-csv", "movielens-csv"}
"""Whose header must name a rating: MovieLens' tags.csv has the same columns without."""


def known_format(name: str) -> Mapping:
    """The format called ``name``. Raises UsageError with the nearest names where there is none."""
    form = FORMATS.get(name)
    if form is None:
        todo = "leave --format out to have it seen from the content; "
        raise UsageError(
            f"unknown format {name!r}", where="--format", todo=todo + nearest(name, FORMATS)
        )
    return form
