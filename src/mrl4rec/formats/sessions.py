"""Sessions: lines that are JSON lists of item ids → a record for each event, without times."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from mrl4rec.formats.lines import cut_long_lines, line_blocks
from mrl4rec.formats.mapping import Mapping
from mrl4rec.formats.strict import KEPT, RAW, fields

EVENTS = 1 << 17
"""Events after which a table ends, at the end of their line."""
_JSON = Mapping("json")
_LISTS = json.JSONDecoder(parse_int=str)
"""Whole numbers stay as they are spelled, however long."""
_SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s,\[\]]+')


class Event(NamedTuple):
    """One item of a list, or a line that is no list; ``problem`` is the rule that it breaks."""

    user: str | None = None
    item: str | None = None
    problem: str | None = None
    seen: str | None = None
    text: str = ""
    """As it stands in the file."""


Columns = Sequence[Sequence[str | None]]
"""The fields of events, each as a column."""


def events(chunks: Iterable[bytes], prefix: str) -> Iterator[tuple[int, pa.Table]]:
    """The number of the first event, and events in the order of the file, as ``strict.RAW``.

    The user of an event is its session: ``prefix``, and the number of the line from 0.
    """
    held: list[list[str | None]] = [[] for _ in Event._fields]
    first = line = 0
    for block in line_blocks(cut_long_lines(chunks)):
        for n in range(len(block.ends)):
            record = block.record(n)
            if record.strip():
                for column, values in zip(held, _events(record, f"{prefix}-{line}"), strict=True):
                    column += values
            line += 1
            if len(held[0]) >= EVENTS:
                yield first, _table(held)
                first += len(held[0])
                held = [[] for _ in Event._fields]
    if held[0]:
        yield first, _table(held)


def _events(record: bytes, user: str) -> Columns:
    found = fields(record.rstrip(b"\r\n"), _JSON)
    kept, text = found["text"] or "", found.get("json")
    if text is None:
        return _one(Event(None, None, found["problem"], found["seen"], kept))
    try:
        items = _LISTS.decode(text)
    except (ValueError, RecursionError):
        return _one(Event(None, None, "not_json", "no JSON list of items", kept))
    types = set(map(type, items)) if isinstance(items, list) else {dict}
    if types & {list, dict}:
        seen = "a list in a list" if isinstance(items, list) else "no list of items"
        return _one(Event(None, None, "not_list", seen, kept))
    if not types:
        return _one(Event(user, None, "no_item", "the list is empty", kept))
    if types == {str} and "\\" not in text and len(text) <= KEPT:
        nothing = [None] * len(items)
        return [user] * len(items), items, nothing, nothing, items
    spelled = _SCALAR.findall(text)
    made = [_event(user, item, raw) for item, raw in zip(items, spelled, strict=True)]
    return list(zip(*made, strict=True))


def _one(event: Event) -> Columns:
    return [[value] for value in event]


def _event(user: str, item: object, raw: str) -> Event:
    if item is None or isinstance(item, str):  # the rules of all formats say of null: no_item
        return Event(user, item, None, None, raw[:KEPT])
    return Event(user, None, "bad_id", f"no whole number and no text: {raw[:200]}", raw[:KEPT])


def _table(held: Columns) -> pa.Table:
    columns = {
        name: pa.array(values, pa.string())
        for name, values in zip(Event._fields, held, strict=True)
    }
    columns["record_no"] = pa.array(np.arange(len(held[0])))
    nothing = pa.nulls(len(held[0]), pa.string())
    return pa.table([columns.get(name, nothing) for name in RAW.names], schema=RAW)
