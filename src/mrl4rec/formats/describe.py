"""A mapping in words, and as the options that ask for it."""

from __future__ import annotations

from mrl4rec.formats.known import FORMATS
from mrl4rec.formats.mapping import ISO, UNITS, Mapping
from mrl4rec.formats.options import ReadOptions

SEEN = {None, ",", ";", "\t", "|", "::"}
"""Separators that need not be said."""
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


def options_of(mapping: Mapping) -> str:
    """The command-line options that ask for exactly this mapping."""
    form = FORMATS.get(mapping.name or "")
    base = form or Mapping(mapping.syntax)
    same_unit, same_range = (
        getattr(mapping, name) == getattr(base, name) for name in ("time_unit", "rating_range")
    )
    return ReadOptions(
        format=form.name if form else None,
        columns={} if form else mapping.roles,
        time_unit=None if same_unit else mapping.time_unit,
        time_format=mapping.time_format,
        rating_range=None if same_range else mapping.rating_range,
        separator=None if form or mapping.separator in SEEN else mapping.separator,
        encoding=None if mapping.encoding == "utf-8" else mapping.encoding,
    ).command()
