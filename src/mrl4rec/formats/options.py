"""What a person says of a file: the reading options of the command line."""

from __future__ import annotations

import codecs
import csv
import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.formats.mapping import FORMATS, ISO, ROLES, UNITS, Mapping, TimeUnit, known_format

_EXCLUDE = (("format", "columns"), ("format", "separator"), ("time_unit", "time_format"))
_NO_TEXT = {"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7"}
_PLAIN = {None, ",", ";", "\t", "|", "::"}
"""Separators that need not be said."""


@dataclass(frozen=True)
class ReadOptions:
    """What is fixed of how a file is read; the rest is seen from its content."""

    format: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    """Column by role: user, item, rating, time."""
    time_unit: TimeUnit | None = None
    time_format: str | None = None
    """strptime pattern, or "iso"."""
    rating_range: tuple[float, float] | None = None
    separator: str | None = None
    encoding: str | None = None
    """As ``codecs.lookup`` names it."""

    @classmethod
    def parse(cls, **said: str | None) -> ReadOptions:
        """From the strings of a command line, by field. Raises UsageError that names the option."""
        given = {name: text for name, text in said.items() if text is not None}
        if "format" in given:
            known_format(given["format"])
        for one, other in _EXCLUDE:
            if one in given and other in given:
                what = f"{_option(one)} and {_option(other)} exclude each other"
                raise UsageError(what, todo="leave one out")
        return cls(**{name: _PARSE[name](text) for name, text in given.items()})

    @property
    def is_given(self) -> bool:
        """Whether anything is fixed."""
        return self != ReadOptions()

    def as_params(self) -> dict[str, Any]:
        """What is fixed, for ``json.dumps``."""
        given = {name: value for name, value in vars(self).items() if value}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}

    def command(self) -> str:
        """The options as they are typed in a shell."""
        said: dict[str, Any] = dict(vars(self))
        cells = [f"{role}={self.columns[role]}" for role in ROLES if role in self.columns]
        said["columns"] = ",".join(
            '"' + cell.replace('"', '""') + '"' if "," in cell or '"' in cell else cell
            for cell in cells
        )
        if self.rating_range is not None:
            bounds = (repr(bound).removesuffix(".0") for bound in self.rating_range)
            said["rating_range"] = ":".join(bounds)
        said["separator"] = (self.separator or "").replace("\t", "\\t")
        return " ".join(f"{_option(k)} {shlex.quote(v)}" for k, v in said.items() if v)


def options_of(mapping: Mapping) -> str:
    """The command-line options that ask for exactly this mapping."""
    form = FORMATS.get(mapping.name or "")
    base = form or Mapping(mapping.syntax)
    is_same_unit, is_same_range = (
        getattr(mapping, name) == getattr(base, name) for name in ("time_unit", "rating_range")
    )
    return ReadOptions(
        format=form.name if form else None,
        columns={} if form else mapping.roles,
        time_unit=None if is_same_unit else mapping.time_unit,
        time_format=mapping.time_format,
        rating_range=None if is_same_range else mapping.rating_range,
        separator=None if form or mapping.separator in _PLAIN else mapping.separator,
        encoding=None if mapping.encoding == "utf-8" else mapping.encoding,
    ).command()


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _refusal(option: str, what: str, example: str) -> UsageError:
    return UsageError(what, where=f"--{option}", todo=f"write it like --{option} {example}")


def _columns(text: str) -> dict[str, str]:
    columns: dict[str, str] = {}
    what = None
    try:
        parts = next(csv.reader([text]), [])
    except csv.Error as error:
        parts, what = [], f"{text!r} cannot be read: {error}"
    for part in parts:
        role, _, column = map(str.strip, part.partition("="))
        if not column:
            what = f"{part!r} is not ROLE=COLUMN"
        elif role not in ROLES:
            what = f"unknown role {role!r}: {nearest(role, ROLES)}"
        elif role in columns or column in columns.values():
            what = f"{part!r}: named twice"
        columns[role] = column
    missing = [role for role in ROLES[:2] if role not in columns]
    if what is None and missing:
        what = f"no column is named as {missing[0]}"
    if what is not None:
        raise _refusal("columns", what, "user=customer,item=product,rating=stars,time=when")
    return columns


def _unit(text: str) -> str:
    if text not in UNITS:
        raise _refusal("time-unit", f"unknown unit {text!r}: {nearest(text, UNITS)}", "ms")
    return text


def _pattern(text: str) -> str:
    if text.strip().lower() == ISO:
        return ISO
    if "%" not in text:
        what = f"{text!r} is no strptime pattern"
        raise _refusal("time-format", what, "'%d/%m/%Y %H:%M', or iso")
    return text


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise _refusal("rating-range", f"{text!r} is not LOWEST:HIGHEST", "1:10")
    return low, high


def _separator(text: str) -> str:
    made = "\t" if text.lower() == "tab" else text.replace("\\t", "\t")
    if not made or len(made) > 8 or any(c in '"\r\n\0' or c.isalnum() for c in made):
        raise _refusal("separator", f"{text!r} cannot separate columns", "';' or '\\t'")
    return made


def _encoding(text: str) -> str:
    try:
        "".encode(text)  # refuses codecs that are not of text
        name = codecs.lookup(text).name
    except (LookupError, ValueError):
        name = "undefined"
    if name in _NO_TEXT:
        raise _refusal("encoding", f"unknown encoding {text!r}", "latin-1, or as Python names it")
    return {"utf-8-sig": "utf-8", "iso8859-1": "latin-1"}.get(name, name)


_PARSE: dict[str, Callable[[str], Any]] = {
    "format": str,
    "columns": _columns,
    "time_unit": _unit,
    "time_format": _pattern,
    "rating_range": _range,
    "separator": _separator,
    "encoding": _encoding,
}
