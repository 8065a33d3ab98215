"""What Python's own json module says of a line, held against the compiled loop."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mrl4rec.formats import FORMATS, MAX_RECORD, scan
from mrl4rec.formats.scan import Limits

FORM = FORMATS["amazon-2014-json"]
NAMES = (FORM.user, FORM.item, str(FORM.rating), str(FORM.time))
AS_OF = datetime(2020, 1, 1, tzinfo=UTC)
LIMITS = Limits(1.0, 5.0, datetime(1990, 1, 1, tzinfo=UTC).timestamp(), AS_OF.timestamp())
NOTHING = {"", "null", "none", "nan"}
MAX_ID = 256


@dataclass(frozen=True)
class Clean:
    """A record as the loop gives it; ``line`` is its number."""

    line: int
    user: str
    item: str
    rating: float
    time: int


def interpreted(content: bytes) -> tuple[list[Clean], list[tuple[int, bytes]], int]:
    """The loop run by the interpreter, where reading past the end is an IndexError.

    Clean records, lines left with their numbers, and how many lines there are. ``content`` ends
    with a line break.
    """
    names, ends = "".join(NAMES).encode(), np.cumsum([len(name) for name in NAMES]).tolist()
    bounds = [LIMITS.low, LIMITS.high, LIMITS.first, LIMITS.last]
    lines = content.count(b"\n")
    row: dict[str, Any] = {name: [0] * lines for name in scan._ROW}
    left = np.zeros((lines, 3), np.int64)
    loop = getattr(scan._scan, "py_func", scan._scan)
    at = number = 0
    clean: list[Clean] = []
    kept: list[tuple[int, bytes]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hashes are meant to overflow
        while at < len(content):
            found, still, at, number = loop(
                content, at, number, names, ends, bounds, MAX_RECORD, 1, *row.values(), left
            )
            clean += [_record(content, row, n) for n in range(found)]
            kept += [(int(k[2]), content[k[0] : k[1]]) for k in left[:still].tolist()]
    return clean, kept, lines


def _record(content: bytes, row: dict[str, Any], n: int) -> Clean:
    user = content[row["user"][n] : row["user_end"][n]].decode("ascii")
    item = content[row["item"][n] : row["item_end"][n]].decode("ascii")
    return Clean(row["line"][n], user, item, float(row["rating"][n]), int(row["micros"][n]))


def compiled(
    content: bytes, cuts: Sequence[int], folder: Path
) -> tuple[list[Clean], list[tuple[int, bytes]], int]:
    """The same by the compiled loop, from a file that is read in stretches."""
    path = folder / "lines.txt"
    path.write_bytes(content)
    edges = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    scanner = scan.Scanner(FORM, LIMITS)
    clean: list[Clean] = []
    left: list[tuple[int, bytes]] = []
    lines = 0
    for start, end in pairwise(edges):
        found = scanner.scan(path, start, end)
        rows = found.rows.to_pydict()
        for n, line in enumerate(rows["line"]):
            time = int(rows["reviewed_at"][n].timestamp())
            record = (rows["user_id"][n], rows["item_id"][n], rows["rating"][n], time)
            clean.append(Clean(lines + line, *record))
        rest = found.left.to_pydict()
        left += [(lines + line, v) for line, v in zip(rest["line"], rest["value"], strict=True)]
        lines += found.lines
    return clean, left, lines


def check(content: bytes, clean: Sequence[Clean], left: Sequence[tuple[int, bytes]]) -> None:
    """Every line is clean, left or blank, once; json agrees with every clean one; and a plainly
    good line is clean.
    """
    lines = content.split(b"\n")[:-1]
    numbers = [record.line for record in clean] + [number for number, _ in left]
    blank = [n for n, line in enumerate(lines) if not line.strip(b" \t\r")]
    assert sorted([*numbers, *blank]) == list(range(len(lines))), "a line is lost or read twice"
    for number, line in left:
        assert line == lines[number], "a line that is left is not as it was"
        assert not is_plainly_good(line), f"a good line is left: {line!r}"
    for record in clean:
        agrees(record, lines[record.line])


def agrees(record: Clean, line: bytes) -> None:
    """json reads the same record from the line, and no rule is broken."""
    pairs = json.loads(line.decode("utf-8"), object_pairs_hook=list, parse_constant=_refuse)
    wanted = [(name, value) for name, value in pairs if name in NAMES]
    assert sorted(name for name, _ in wanted) == sorted(NAMES), "a key is missing or comes twice"
    found = dict(wanted)
    values = tuple(found[name] for name in NAMES)
    assert values == (record.user, record.item, record.rating, record.time), (values, record)
    assert [type(value) for value in values[:2]] == [str, str]
    assert type(values[3]) is int
    for name in (record.user, record.item):
        assert 0 < len(name) <= MAX_ID
        assert name.lower() not in NOTHING
        assert name.isascii()
        assert name.isprintable()
        assert name[0] not in "{["
    assert LIMITS.low <= record.rating <= LIMITS.high
    assert LIMITS.first <= record.time <= LIMITS.last
    assert len(line) <= MAX_RECORD


def _refuse(word: str) -> Any:
    raise AssertionError(f"{word} is no JSON, and was taken")


def is_plainly_good(line: bytes) -> bool:
    """Whether the line is one that json itself would write of a good record: such a one has to be
    clean (of any other it may be doubted).
    """
    try:
        record = json.loads(line)
        if not isinstance(record, dict) or json.dumps(record).encode() != line:
            return False
        user, item, rating, time = (record[name] for name in NAMES)
        numbers = type(rating) in (int, float) and type(time) is int
        return (
            numbers
            and all(_plain_id(name) for name in (user, item))
            and rating in (1, 2, 3, 4, 5, 1.5, 2.5)
            and LIMITS.first <= time <= LIMITS.last
            and all(_plain_value(name, value) for name, value in record.items())
        )
    except (ValueError, KeyError, RecursionError):
        return False


def _plain_id(name: Any) -> bool:
    return isinstance(name, str) and name.isalnum() and name.isascii() and 4 < len(name) < MAX_ID


def _plain_value(name: str, value: Any) -> bool:
    small = not isinstance(value, int) or abs(value) < 10**18
    plain_key = name.isascii() and name.isidentifier() and len(name) < 100
    return plain_key and small and (value is None or isinstance(value, str | bool | int))
