"""Small dumps in the shapes that people bring, and what is right of each.

All hold the same 48 interactions of 8 users and 12 items, no pair twice, unless a fact says more.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

ROWS = [
    (f"u-{u}", f"p{(5 * u + 2 * k) % 12:02d}", 1 + (u * k) % 5, 1_500_000_000 + 3600 * (9 * u + k))
    for u in range(8)
    for k in range(6)
]
NAMES = ("user_id", "item_id", "rating", "timestamp")


@dataclass(frozen=True)
class Case:
    """A file's bytes, the options that read it, and facts of its mapping."""

    content: bytes
    options: dict[str, str] = field(default_factory=dict)
    """As ``ReadOptions.parse`` takes them; without them the file is refused."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Fields of the mapping."""
    records: int = 48
    refused: str | None = None
    """What the refusal says, where no options help."""


def _time(pattern: str) -> Callable[[int], str]:
    return lambda moment: datetime.fromtimestamp(moment, UTC).strftime(pattern)


def _objects(names: Sequence[str] = NAMES, time: Callable[[int], Any] = int) -> list[dict]:
    return [dict(zip(names, (u, i, float(r), time(t)), strict=True)) for u, i, r, t in ROWS]


def _lines(objects: Iterable[object], end: str = "\n") -> bytes:
    return "".join(json.dumps(value) + end for value in objects).encode()


def _table(header: Sequence[str] | None, rows: Iterable[Sequence[object]], **how: Any) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", **how)
    if header:
        writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode()


def _zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2021, 1, 1, 0, 0, 0)), content)
    return out.getvalue()


PLAIN = _lines(_objects())
_DATED = [(u, i, r, _time("%d/%m/%Y")(1_399_100_000 + 86_400 * (k % 12)))
          for k, (u, i, r, _) in enumerate(ROWS)]  # fmt: skip
_NOTES = ['two\n"quoted", lines\n' if n % 7 == 3 else "ok" for n in range(48)]
_BY_NAME = {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}
_PLACES = "user=1,item=2,rating=3,time=4"
_ORIENT = "orient='records', lines=True"

CASES: dict[str, Case] = {
    "quoted line breaks": Case(
        _table((*NAMES, "note"), [(*row, n) for row, n in zip(ROWS, _NOTES, strict=True)]),
        facts={"quoted": True, "time_unit": "s", "rating_range": None} | _BY_NAME,
    ),
    "quoted line breaks between tabs": Case(
        _table(("note", *NAMES), [(n, *row) for row, n in zip(ROWS, _NOTES, strict=True)],
               delimiter="\t"),
        facts={"quoted": True, "separator": "\t"},
    ),
    "stray quotes between tabs": Case(
        ("\t".join(NAMES) + "\tband\n"
         + "".join(f'{u}\t{i}\t{r}\t{t}\t"x" y\n' for u, i, r, t in ROWS)).encode(),
        facts={"quoted": False},
    ),
    "own names": Case(
        _table(("Reviewer", "SKU", "Score", "Created At"),
               [(u, i, r, _time("%Y-%m-%d %H:%M:%S")(t)) for u, i, r, t in ROWS]),
        facts={"user": "Reviewer", "item": "SKU", "time": "Created At", "time_format": "iso"},
    ),
    "trailing separators": Case(
        ("user;item;stars\n" + "".join(f"{u};{i};{r};\n" for u, i, r, _ in ROWS)).encode(),
        facts={"columns": ("user", "item", "stars", "")},
    ),
    "trailing separator of the header": Case(
        ("user;item;stars;\n" + "".join(f"{u};{i};{r}\n" for u, i, r, _ in ROWS)).encode(),
        facts={"columns": ("user", "item", "stars")},
    ),
    "index without a name, between tabs": Case(
        _table(("", *NAMES), [(n, *row) for n, row in enumerate(ROWS)], delimiter="\t"),
        facts={"columns": ("", *NAMES)},
    ),
    "cp1252": Case(
        _table(("Who", "What", "Grade"), [(u, i, r) for u, i, r, _ in ROWS],
               delimiter=";").replace(b"u-5", "Zoë5".encode("cp1252")),
        options={"encoding": "cp1252", "columns": "user=Who,item=What,rating=Grade"},
        facts={"encoding": "cp1252"},
    ),
    "utf-16": Case(
        _table(NAMES, ROWS).decode().encode("utf-16"), facts={"encoding": "utf-16"} | _BY_NAME
    ),
    "byte order mark and CRLF": Case(
        b"\xef\xbb\xbf" + _table(NAMES, ROWS).replace(b"\n", b"\r\n"), facts=_BY_NAME
    ),
    "events": Case(
        _table(("ts", "visitor", "kind", "sku"), [(t * 10**6, u, "buy", i) for u, i, _, t in ROWS]),
        options={"columns": "user=visitor,item=sku,time=ts"},
        facts={"time_unit": "us", "rating": None},
    ),
    "no header": Case(
        _table(None, [(u, i, "a name", 7 * r) for u, i, r, _ in ROWS], delimiter="|"),
        options={"columns": "user=1,item=2,rating=4"},
        facts={"header": None, "separator": "|", "time": None},
    ),
    "blanks between": Case(
        "".join(f"{u[2:]} {i[1:]} {r}\n" for u, i, r, _ in ROWS).encode(),
        options={"columns": "user=1,item=2,rating=3", "separator": " "},
        facts={"syntax": "csv", "rating": "3"},
    ),
    "no header, order not clear": Case(
        _table(None, [(u[2:], i[1:], r, t) for u, i, r, t in ROWS]),
        options={"columns": _PLACES},
        facts={"time_unit": "s"},
    ),
    "day or month first": Case(
        _table(("user", "item", "rating", "date"), _DATED[:1] * 3),
        options={"time_format": "%d/%m/%Y"},
        facts={"time_format": "%d/%m/%Y"},
        records=3,
    ),
    "day first": Case(
        _table(("user", "item", "rating", "date"), _DATED), facts={"time_format": "%d/%m/%Y"}
    ),
    "objects over many lines": Case(
        "".join(json.dumps(value, indent=4) + "\n" for value in _objects()).encode(),
        facts={"container": "objects"},
    ),
    "array over many lines": Case(
        json.dumps(_objects(), indent=1).encode(), facts={"container": "array", "records": None}
    ),
    "array, an object a line": Case(
        b"[\n" + _lines(_objects(), ",\n").rstrip(b",\n") + b"\n]\n", facts={"container": "array"}
    ),
    "wrapped": Case(
        json.dumps({"count": 48, "votes": _objects()}).encode(),
        facts={"container": "array", "records": "votes"},
    ),
    "wrapped, an object a line": Case(
        b'{"votes": [\n' + _lines(_objects(), ",\n").rstrip(b",\n") + b"\n]}\n",
        facts={"container": "array", "records": "votes"},
    ),
    "two arrays": Case(
        json.dumps({"old": _objects(), "new": _objects()}).encode(), refused="'old', 'new'"
    ),
    "commas behind": Case(_lines(_objects(), ",\n"), facts={"container": "lines"}),
    "objects on one line": Case(_lines(_objects(), " "), facts={"container": "objects"}),
    "by columns": Case(
        json.dumps({n: {str(k): o[n] for k, o in enumerate(_objects())} for n in NAMES}).encode(),
        refused=_ORIENT,
    ),
    "lists by columns": Case(
        json.dumps({n: [o[n] for o in _objects()] for n in NAMES}).encode(), refused=_ORIENT
    ),
    "split": Case(
        json.dumps({"index": [0], "columns": NAMES, "data": [list(ROWS[0])]}).encode(),
        refused=_ORIENT,
    ),
    "dates in words": Case(
        _lines(_objects(("user", "film", "stars", "date"), _time("%a %b %d %H:%M:%S +0200 %Y"))),
        facts={"time_format": "%a %b %d %H:%M:%S %z %Y"},
    ),
    "nested": Case(
        _lines({"by": {"key": u}, "of": {"key": i}, "score": r, "at": t * 10**9}
               for u, i, r, t in ROWS),
        options={"columns": "user=by.key,item=of.key,rating=score,time=at"},
        facts={"time_unit": "ns"},
    ),
    "RecBole, ratings to 100": Case(
        ("user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
         + "".join(f"{u}\t{i}\t{20 * r}\t{t * 1000}.0\n" for u, i, r, t in ROWS)).encode(),
        facts={"name": "recbole-inter", "rating_range": None, "time_unit": "ms"},
    ),
    "RecBole sequences": Case(
        b"user_id:token\titem_id_list:token_seq\titem_id:token\nu1\tp1 p2\tp3\n",
        refused="item_id_list",
    ),
    "gzip members": Case(gzip.compress(PLAIN[:999]) + gzip.compress(PLAIN[999:]), facts=_BY_NAME),
    "gzip and zeros": Case(gzip.compress(PLAIN) + bytes(99), facts=_BY_NAME),
    "gzip and a tail": Case(gzip.compress(PLAIN) + b"tail", refused="follow the end of the gzip"),
    "bzip2": Case(bz2.compress(PLAIN[:99]) + bz2.compress(PLAIN[99:]), facts=_BY_NAME),
    "xz": Case(lzma.compress(PLAIN), facts=_BY_NAME),
    "zip": Case(
        _zip({"a/votes.json": PLAIN, "__MACOSX/a": b"\0", ".DS_Store": b"\0"}), facts=_BY_NAME
    ),
    "gzip in zip": Case(_zip({"votes.json.gz": gzip.compress(PLAIN)}), facts=_BY_NAME),
}  # fmt: skip
