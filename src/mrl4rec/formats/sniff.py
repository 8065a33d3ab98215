"""What a file is, seen from its content: never from its name."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mrl4rec.errors import Mrl4recError, nearest
from mrl4rec.formats.array import array_elements
from mrl4rec.formats.columns import headerless_csv
from mrl4rec.formats.known import BLANKS, EMPTY, FORMATS, Format
from mrl4rec.formats.literal import read_literal
from mrl4rec.formats.sources import head

SAMPLE_BYTES = 4 << 20
SAMPLE_LINES = 400
"""Lines whose spelling is looked at; the columns of a header-less CSV are judged on all of them."""

FILE_KINDS = {
    b"PK\x03\x04": "a ZIP archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "gzip inside gzip",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
TYPED = re.compile(r"^[^:\t]+:(token|float)(_seq)?$")
MARKS_2018 = {"verified", "vote", "style", "image"}
MOST_COLUMNS = 1000
"""Spark plans an expression for each: a header of a million would never come to an end."""
HEADERS = ("amazon-2014-csv", "amazon-2023-csv", "movielens-csv")


@dataclass(frozen=True)
class Layout:
    """A form of dump as one file has it."""

    form: Format
    columns: tuple[str, ...] = ()
    """Columns of delimited text by place, as this file orders them."""
    header: str | None = None
    """The line that names the columns, without blanks around it; None without one."""

    @property
    def has_time(self) -> bool:
        """Whether the file has times at all (a typed header may leave them out)."""
        return self.form.time is not None and (not self.columns or self.form.time in self.columns)


def can_scan(layout: Layout) -> bool:
    """Whether clean lines of this layout are read by the compiled loop (``formats.scan``)."""
    form = layout.form
    return form.syntax == "json" and form.rating is not None and form.time is not None


def sniff(path: Path, asked: str | None = None) -> Layout:
    """The form of the file's content, or the form ``asked`` for, as this file has it.

    Raises Mrl4recError where the content is binary, is no known form, or lacks a column; UsageError
    where the columns do not tell their order and ``--format`` has to.
    """
    content, whole = head(path, SAMPLE_BYTES)
    _refuse_binary(path, content)
    text = content.decode("utf-8", errors="replace").removeprefix("\ufeff")
    if not text.strip():
        if not whole:
            raise _unknown(path, "", "its first 4 MiB are blank")
        return Layout(EMPTY)
    lines = text.split("\n")
    if not whole and len(lines) > 1:
        lines.pop()  # cut off by the sample, not by the file
    if asked is not None:
        return _as_asked(path, FORMATS[asked], text, lines)
    if text.lstrip()[0] == "[":
        return Layout(_array_form(path, content))
    filled = [line.strip(BLANKS) for line in lines if line.strip()]
    return _line_form(path, filled, lines)


def _refuse_binary(path: Path, content: bytes) -> None:
    kind = next((name for magic, name in FILE_KINDS.items() if content.startswith(magic)), None)
    if kind is None:
        sample = content[: 1 << 16]
        control = sum(sample.count(byte) for byte in range(32) if byte not in b"\t\n\r")
        if b"\0" in sample or control > 0.05 * len(sample):
            kind = "binary"
    if kind is not None:
        raise Mrl4recError(
            f"not a review dump: its content is {kind}",
            where=str(path),
            todo="unpack or convert it to UTF-8 text (plain or gzip); nothing was taken in",
        )


def _as_asked(path: Path, form: Format, text: str, lines: Sequence[str]) -> Layout:
    if form.syntax == "json":
        is_array = text.lstrip()[0] == "["
        name = form.name.removesuffix("-array") + ("-array" if is_array else "")
        return Layout(FORMATS[name])
    if form.header:
        return _with_header(path, form, lines)
    return Layout(form, form.columns)


def _line_form(path: Path, filled: Sequence[str], lines: Sequence[str]) -> Layout:
    spelling = Counter(map(_spelling, filled[:SAMPLE_LINES])).most_common(1)[0][0]
    if spelling in ("json", "python"):
        return Layout(_object_form(path, filled, spelling))
    if _spelling(filled[0]) == "typed":
        return _with_header(path, FORMATS["recbole-inter"], lines)
    if spelling == "colons":
        return Layout(FORMATS["movielens-dat"], FORMATS["movielens-dat"].columns)
    if spelling == "tab":
        return Layout(FORMATS["movielens-tab"], FORMATS["movielens-tab"].columns)
    if spelling == "pair":
        return Layout(FORMATS["author-lists"], FORMATS["author-lists"].columns)
    if spelling == "csv":
        return _csv_form(path, filled, lines)
    raise _unknown(path, filled[0], "its lines are spelled like none of the known forms")


def _spelling(line: str) -> str:
    """How a line without blanks around it is spelled."""
    if line.startswith("{"):
        try:
            return "json" if isinstance(json.loads(line), dict) else "broken"
        except (ValueError, RecursionError):
            literal = len(line) < 1 << 20 and read_literal(line) is not None
            return "python" if literal else "broken"
    cells = line.split("\t")
    if all(TYPED.match(cell) for cell in cells):
        return "typed"
    if len(cells) == 4 and _numbers(cells[2:]):
        return "tab"
    if len(cells := line.split("::")) == 4 and _numbers(cells[2:]):
        return "colons"
    if re.fullmatch(r"\d+( +\d+)* *", line):
        return "pair"
    return "csv" if "," in line else "broken"


def _numbers(cells: Sequence[str]) -> bool:
    return all(re.fullmatch(r"-?\d+(\.\d+)?", cell.strip()) for cell in cells)


def _array_form(path: Path, content: bytes) -> Format:
    records = []
    for element in array_elements([content], path):
        text = element.decode("utf-8", errors="replace").strip(BLANKS)
        if _spelling(text) == "json":
            records.append(json.loads(text))
        if len(records) >= SAMPLE_LINES:
            break
    if not records:
        shown = content[:80].decode("utf-8", errors="replace")
        raise _unknown(path, shown, "it begins as a JSON array and holds no JSON object")
    return FORMATS[_generation(path, records) + "-array"]


def _object_form(path: Path, filled: Sequence[str], spelling: str) -> Format:
    read = json.loads if spelling == "json" else read_literal
    records = [read(line) for line in filled[:SAMPLE_LINES] if _spelling(line) == spelling]
    name = _generation(path, [record for record in records if record is not None])
    if spelling == "python":
        if name == "amazon-2023-json":
            raise _unknown(path, filled[0], "its columns are of 2023, spelled as Python literals")
        return FORMATS["amazon-2014-loose"]
    return FORMATS[name]


def _generation(path: Path, records: Sequence[dict[str, object]]) -> str:
    names = {str(name) for record in records for name in record}
    old, new = FORMATS["amazon-2014-json"], FORMATS["amazon-2023-json"]
    form = max((old, new), key=lambda candidate: len(names & set(candidate.required)))
    if not names & {form.user, form.item}:
        raise _unknown(path, ", ".join(sorted(names)[:12]), "no record has a known user or item")
    _require(path, form, sorted(names), f"in its first {len(records)} records")
    if form is old and names & MARKS_2018:
        return "amazon-2018-json"
    return form.name


def _csv_form(path: Path, filled: Sequence[str], lines: Sequence[str]) -> Layout:
    cells = _csv_cells(filled[0])
    forms = [FORMATS[name] for name in HEADERS]
    known = {name for form in forms for name in form.required}
    if known & set(cells):
        form = max(forms, key=lambda candidate: len(set(cells) & set(candidate.required)))
        return _with_header(path, form, lines)
    rows = [_csv_cells(line) for line in filled]
    width = Counter(map(len, rows)).most_common(1)[0][0]
    rows = [row for row in rows if len(row) == width]
    valued = sum(_numbers(row[2:4]) for row in rows) if width == 4 else 0
    if valued < 0.9 * len(rows):
        raise _unknown(path, filled[0], "its CSV columns are none of the known ones")
    form = headerless_csv(path, rows)
    return Layout(form, form.columns)


def _csv_cells(line: str) -> list[str]:
    try:
        cells = next(csv.reader([line], skipinitialspace=True))
        return [cell.strip() for cell in cells] or [line]  # csv sees no cell in "" and "\r"
    except (csv.Error, StopIteration):
        return [line]


def _with_header(path: Path, form: Format, lines: Sequence[str]) -> Layout:
    line = next(line for line in lines if line.strip()).strip(BLANKS)
    if form.syntax == "tab":
        cells = [cell.split(":")[0].strip() for cell in line.split("\t")]
    else:
        cells = _csv_cells(line)
    if len(cells) > MOST_COLUMNS:
        raise Mrl4recError(
            f"its header names {len(cells):,} columns, {MOST_COLUMNS:,} are the most that are read",
            where=str(path),
            todo="keep the columns of user, item, rating and time alone",
        )
    _require(path, form, cells, "in its header")
    twice = [name for name in form.required if cells.count(name) > 1]
    if twice:
        raise Mrl4recError(f"the header names {twice[0]!r} twice", where=str(path))
    return Layout(form, tuple(cells), line)


def _require(path: Path, form: Format, names: Sequence[str], place: str) -> None:
    missing = [name for name in form.required if name not in names]
    if missing:
        hint = nearest(missing[0], [name[:80] for name in names[:200]])
        raise Mrl4recError(
            f"{form.name} needs the column {missing[0]!r}, which is not {place}; {hint}",
            where=str(path),
            todo=f"rename the column to {missing[0]!r}, or name another form with --format",
        )


def _unknown(path: Path, seen: str, why: str) -> Mrl4recError:
    shown = seen if len(seen) <= 80 else seen[:80] + "…"
    return Mrl4recError(
        f"not a known form of dump: {why}" + (f"; it begins: {shown!r}" if shown else ""),
        where=str(path),
        todo="name files that hold reviews, or the form with --format: " + ", ".join(FORMATS),
    )
