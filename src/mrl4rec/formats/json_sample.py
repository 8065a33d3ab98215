"""The first records of JSON in the shapes that tools write, and of Python literals."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.formats.mapping import BLANKS, Mapping, Syntax
from mrl4rec.formats.options import ReadOptions
from mrl4rec.formats.sample import LIST, MOST_COLUMNS, SURE, Sample, no_table, role_of, short

with lazy.imports():
    from mrl4rec.formats import framing, literals

MOST_RECORDS = 2000
WINDOW = 1 << 19
"""Characters of what spans lines that are looked at."""
LITERALS = 1 << 17
"""Characters of Python literals that are looked at."""
LITERAL = 1 << 14
"""Characters of one: a literal of 1 MiB may take 550 MB."""
DEPTH = 5
BY_COLUMNS = "write it with orient='records', lines=True"
_FAILS = (ValueError, RecursionError)
_DECODER = json.JSONDecoder()
_ID_LISTS = json.JSONDecoder(parse_int=str)
_MEMBER = re.compile(r'[\s,]*("(?:[^"\\]|\\.)*")\s*:\s*')
_NUMBERED = re.compile(r'\{\s*"\d+"\s*:')
_OBJECTS = re.compile(r"\[\s*\{")
_SCALARS = re.compile(r"\[\s*[^\s\[{\]]")


def json_sample(lines: Sequence[str], where: str) -> Sample | None:
    """The sample of JSON or Python-literal text; None where the text is neither.

    ``lines`` are those that are not blank. Raises UsageError where it is JSON that holds no
    records.
    """
    text = "\n".join(lines)[:WINDOW]
    if text[0] == "[":
        records = list(_framed(text, Mapping("json", container="array"), where))
        if not records:
            raise no_table(where, "it begins as a JSON array and holds no JSON object", text)
        return _sample(where, Mapping("json", container="array"), records)
    syntax, records, is_first = _of_lines(lines)
    if text[0] == "{" and not (is_first and len(lines) > 1):
        holder = _holder(text, where)
        if holder is not None:
            layout = Mapping("json", container="array", records=holder)
            return _sample(where, layout, _framed(text, layout, where))
    if records and (len(lines) > 1 or is_first):
        return _sample(where, Mapping(syntax), records)
    objects = Mapping("json", container="objects")
    records = list(_framed(text, objects, where)) if text[0] == "{" else []
    return _sample(where, objects, records) if records else None


def _of_lines(lines: Sequence[str]) -> tuple[Syntax, list[dict[Any, Any]], bool]:
    """The syntax that most lines are records of, these records, and whether the first is one.

    No records where most lines are none, and the first is none.
    """
    records: dict[Syntax, list[dict[Any, Any]]] = {"json": [], "python": []}
    some, is_first, left = lines[:MOST_RECORDS], False, LITERALS
    for number, line in enumerate(some):
        syntax: Syntax = "json"
        record = _loads(line)
        if record is None and line[0] == "{" and len(line) <= min(LITERAL, left):
            syntax, record = "python", literals.read_literal(line)
            left -= len(line)
        if record is not None:
            records[syntax].append(record)
            is_first |= number == 0
    best: Syntax = max(records, key=lambda name: len(records[name]))
    is_most = is_first or 2 * len(records[best]) > len(some)
    return best, records[best] if is_most else [], is_first


def _loads(line: str) -> dict[str, Any] | None:
    with suppress(*_FAILS):
        value = json.loads(line.rstrip(BLANKS + ",")) if line[:1] == "{" else None
        return value if isinstance(value, dict) else None
    return None


def _framed(text: str, layout: Mapping, where: str) -> Iterator[dict[str, Any]]:
    """The objects of text that spans lines, cut as they will be when it is read."""
    for block in framing.frame([text.encode()], layout, where):
        yield from filter(None, map(_loads, block.data.decode("utf-8", "replace").split("\n")))


def _holder(text: str, where: str) -> str | None:
    """The member whose array holds the records, where the text is one object around it.

    Raises UsageError where there are several, or where it is a table by columns.
    """
    members, goes_on = _members(text)
    if said := _by_columns(members):
        raise UsageError(f"{said}: {BY_COLUMNS}", where=where, todo=f"in pandas, {BY_COLUMNS}")
    holders = [name for name, value in members.items() if _OBJECTS.match(value)]
    is_record = {"user", "item"} <= set(map(role_of, members))
    if goes_on or is_record or not holders:
        return None
    if len(holders) > 1:
        names = ", ".join(repr(short(name)) for name in holders)
        what = f"the JSON object holds several arrays of objects: {names}"
        todo = "write the one that holds the reviews to a file of its own"
        raise UsageError(what, where=where, todo=todo)
    return holders[0]


def _members(text: str) -> tuple[dict[str, str], bool]:
    """How the members of the object that the text begins with begin, and whether more follows."""
    members: dict[str, str] = {}
    at = 1
    with suppress(*_FAILS):
        while len(members) <= MOST_COLUMNS and (match := _MEMBER.match(text, at)):
            members[json.loads(match[1])] = text[match.end() : match.end() + 200]
            _, at = _DECODER.raw_decode(text, match.end())
        return members, bool(text[at:].strip(BLANKS)[1:].strip(BLANKS + ","))
    return members, False


def _by_columns(members: dict[str, str]) -> str | None:
    """In words, where the object holds a table by columns or by rows' numbers."""
    values = members.values()
    if members.get("data", "").startswith("[[") and "columns" in members:
        return "JSON split into columns and data"
    if members and all(map(_NUMBERED.match, values)):
        return "JSON by columns"
    if len(members) < 2:
        return None
    if all(map(_SCALARS.match, values)):
        return "JSON by columns"
    by_rows = all(name.isdigit() and value[:1] == "{" for name, value in members.items())
    return "JSON by rows' numbers" if by_rows else None


def _sample(where: str, layout: Mapping, records: Iterable[dict[Any, Any]]) -> Sample:
    columns: dict[str, list[str]] = {}
    for record in islice(records, MOST_RECORDS):
        for name, text in _flat(record, "", DEPTH):
            if name in columns or len(columns) < MOST_COLUMNS:
                columns.setdefault(name, []).extend([text] if text else [])
    return Sample(where, layout, columns)


def _flat(record: dict[Any, Any], above: str, depth: int) -> Iterator[tuple[str, str]]:
    """Paths and texts of what is in the record; a name with a dot in it has no path."""
    for name, value in record.items():
        if not isinstance(name, str) or "." in name or not name.isprintable() or not name:
            continue
        if isinstance(value, list):
            yield above + name, LIST
        elif not isinstance(value, dict):
            is_text = isinstance(value, (str, int, float)) and not isinstance(value, bool)
            is_text &= not isinstance(value, int) or value.bit_length() <= literals.MOST_BITS
            yield above + name, str(value).strip(BLANKS) if is_text else ""
        elif depth > 1:
            yield from _flat(value, f"{above}{name}.", depth - 1)


def sessions_sample(
    lines: Sequence[str], where: str, options: ReadOptions, is_known: bool
) -> Sample | None:
    """The sample of lines that are JSON lists of ids; None where they are something else.

    ``is_known``: an option, or the data set's first file, says that they are sessions. Else raises
    UsageError where nearly all have the same length, and so may be rows of a table, or where too
    many hold other values.
    """
    some = [line for line in lines[:MOST_RECORDS] if len(line) <= WINDOW]
    read = [(line, _ids(line)) for line in some]
    lists = [ids for _, ids in read if ids is not None]
    others = [line for line, ids in read if ids is None]
    is_asked = options.format is not None and any(line[0] == "[" for line in lines)
    sessions = replace(options, format="session-lists").command()
    if not is_asked and not any(lists):
        return None
    if not is_asked and len(lists) < (0.5 if is_known else SURE) * len(some):
        if not all(line[0] == "[" and line[-1] == "]" for line in others):
            return None
        what = f"{len(others):,} of its first {len(some):,} lists hold other values than whole "
        what += f"numbers and text, like {short(others[0])!r}"
        todo = f"write the ids alone, or have what is no id quarantined: {sessions}"
        raise UsageError(what, where=where, todo=todo)
    ((width, count),) = Counter(map(len, lists)).most_common(1) or [(0, 0)]
    if not is_known and width > 1 and count >= SURE * len(lists):
        what = f"its lines are JSON lists of {width} values each, the first {short(some[0])!r}"
        todo = f"if each is a session: {sessions}; if each is a row of a table, write it as CSV"
        raise UsageError(f"{what}: are they sessions or rows of a table?", where=where, todo=todo)
    items = [ids[0] for ids in lists if ids]
    numbers = [str(n) for n in range(len(lists))]
    return Sample(where, Mapping("sessions"), {"session": numbers, "item": items})


def _ids(line: str) -> list[str] | None:
    """The items of a JSON list of texts and whole numbers; none of another line."""
    with suppress(*_FAILS):
        items = _ID_LISTS.decode(line) if line[:1] == "[" else None
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return items
    return None
