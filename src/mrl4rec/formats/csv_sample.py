"""The first records of delimited text: its separator, quoting and header; and lines of items."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from mrl4rec.core.errors import UsageError
from mrl4rec.formats.mapping import BLANKS, ISO, Mapping
from mrl4rec.formats.options import ReadOptions
from mrl4rec.formats.sample import MOST_COLUMNS, SURE, Sample, are, no_table, role_of
from mrl4rec.formats.times import is_number, parses

SEPARATORS = {"::": 2, "\t": 2, ",": 1, ";": 1, "|": 1, " ": 0}
"""With their rank: of two that fit the higher is taken, then the one that cuts into more."""
FIRST_ROWS = 400
MOST_ROWS = 20_000
LONGEST = 1 << 20
"""Characters of a line that is looked at."""
_TYPED = re.compile(r"[^:\t]+:(token|float)(_seq)?")
_WHOLE = re.compile(r"\d+(\s+\d+)*")
_NOTHING = {"", "na", "n/a", "nan", "null", "none", "\\n", "-", "?", "."}
Rows = list[list[str]]


def csv_sample(lines: Sequence[str], where: str, options: ReadOptions) -> Sample:
    """The sample of delimited text; ``lines`` are those that are not blank, as they stand.

    Raises UsageError where no separator fits, or the header and ``options.columns`` disagree.
    """
    lines = [line.strip("\r\n") for line in lines[:MOST_ROWS] if len(line) <= LONGEST]
    if not lines:
        raise no_table(where, "its lines are longer than 1 MiB")
    separator, quoted = _separator(lines, where, options.separator)
    rows = list(_rows(lines, separator, quoted))
    width, _ = _width(rows[1:] or rows)
    if max(width, len(rows[0])) > MOST_COLUMNS:
        raise no_table(where, f"it has more than {MOST_COLUMNS:,} columns")
    names, header = _header(rows, where, options), None
    if names is None:
        names = [str(place) for place in range(1, width + 1)]
    else:
        rows, header = rows[1:], _record_text(lines, quoted)
        names = _fitted(names, rows, width, where)
    layout = Mapping("csv", columns=tuple(names), header=header, separator=separator, quoted=quoted)
    cells = {name: _cells(rows, place) for place, name in enumerate(names) if name}
    is_typed = header is not None and all(map(_TYPED.fullmatch, header.split(separator)))
    return Sample(where, layout, cells, is_typed)


def _separator(lines: Sequence[str], where: str, given: str | None) -> tuple[str, bool]:
    few = lines[:FIRST_ROWS]
    fitting: list[tuple[int, int, str, bool]] = []
    for separator in (given,) if given else SEPARATORS:
        quoted = _is_quoted(few, separator)
        rows = list(_rows(few, separator, quoted))
        width, share = _width(rows[1:] or rows)
        # Prose has blanks too.
        is_table = separator != " " or given or any(_is_valued(rows[1:], n) for n in range(width))
        if width > 1 and share >= 0.8 and is_table:
            fitting.append((SEPARATORS.get(separator, 0), width, separator, quoted))
    if fitting:
        return max(fitting)[2:]
    marks = " ".join(map(repr, (given,) if given else SEPARATORS))
    why = f"its lines are not cut into columns of one number by {marks}"
    raise no_table(where, why if given else f"it is not spelled as JSON, and {why}", lines[0])


def _width(rows: Iterable[Sequence[str]]) -> tuple[int, float]:
    """The commonest number of cells, and its share of the rows."""
    widths = Counter(map(len, rows)) or Counter([0])
    ((width, count),) = widths.most_common(1)
    return width, count / widths.total()


def _is_quoted(lines: Sequence[str], separator: str) -> bool:
    """Whether cells may be quoted; between tabs only if all quotes of the sample fit."""
    if len(separator) > 1 or separator in " ,;|":
        return separator in (",", ";", "|")
    rows = csv.reader((line + "\n" for line in lines), delimiter=separator, strict=True)
    try:
        return any('"' in line for line in lines) and _width(rows)[1] >= SURE
    except csv.Error:
        return False


def _rows(lines: Sequence[str], separator: str, quoted: bool) -> Iterator[list[str]]:
    rows: Iterator[list[str]] = (line.split(separator) for line in lines)
    if quoted:
        how: Any = {"delimiter": separator, "skipinitialspace": separator != "\t"}
        rows = csv.reader((line + "\n" for line in lines), **how)
    while True:
        try:
            yield [cell.strip(BLANKS) for cell in next(rows)]
        except csv.Error:
            continue  # a cell of over 128 KiB, or a bare carriage return
        except StopIteration:
            return


def _record_text(lines: Sequence[str], quoted: bool) -> str:
    """The text of the first record, which may hold quoted line breaks."""
    texts = ("\n".join(lines[:count]) for count in range(1, min(len(lines), 100) + 1))
    return next((text for text in texts if not quoted or text.count('"') % 2 == 0), lines[0])


def _header(rows: Rows, where: str, options: ReadOptions) -> list[str] | None:
    """The names in the first row; None where it is a record.

    Raises UsageError where ``options`` give places and there are names, or where a column holds
    sequences.
    """
    first = rows[0]
    is_typed = all(map(_TYPED.fullmatch, first))
    names = [cell.partition(":")[0] for cell in first] if is_typed else first
    asked = options.columns.values()
    by_place = bool(asked) and all(column.isdecimal() for column in asked)
    if not by_place and set(asked) & set(names):
        return names
    known = sum(role_of(name) is not None for name in names)
    may_name = known > by_place or any(
        name.lower() not in _NOTHING and _is_valued(rows[1:], at) for at, name in enumerate(names)
    )
    is_header = is_typed or (may_name and not any(map(_is_value, first)))
    if is_header and by_place:
        at = {role: int(place) - 1 for role, place in options.columns.items()}
        named = {role: names[n] for role, n in at.items() if 0 <= n < len(names)}
        what = "the file has a header, so that its columns have names"
        todo = "name them: " + replace(options, columns=named).command()
        raise UsageError(what, where=where, todo=todo)
    lists = [name for name, cell in zip(names, first, strict=True) if cell.endswith(":token_seq")]
    if is_typed and lists and not asked:
        what = f"the column {lists[0]!r} holds sequences of items, which are not read from .inter"
        todo = (
            "write one interaction a line, or lines `user item item …` with ids that are whole "
            "numbers; --columns user=…,item=… reads other columns alone"
        )
        raise UsageError(what, where=where, todo=todo)
    return names if is_header else None


def _is_value(cell: str) -> bool:
    return is_number(cell) or parses(cell, ISO)


def _is_valued(rows: Rows, place: int) -> bool:
    """Whether nearly all cells of the column are numbers or times."""
    cells = _cells(rows[:FIRST_ROWS], place)
    return bool(cells) and are(_is_value, cells)


def _cells(rows: Rows, place: int) -> list[str]:
    return [row[place] for row in rows if len(row) > place and row[place]]


def _fitted(names: list[str], rows: Rows, width: int, where: str) -> list[str]:
    """The names by place; separators at the end of the header or of the rows name nothing."""
    if not rows or (width < len(names) and not any(names[width:])):
        return names[:width] if rows else names
    extra = _cells(rows, len(names))
    if width > len(names) and len(extra) > (1 - SURE) * len(rows):
        raise no_table(where, f"its header has {len(names)} columns, its lines have {width}")
    return names + [""] * (width - len(names))


def lists_or_triples(lines: Sequence[str]) -> int | None:
    """0 for lines ``user item item …`` of whole numbers, their width for what may be a table of
    three or more columns, None for other text.
    """
    texts = [line[:4096].strip(BLANKS) for line in lines[:MOST_ROWS]]
    tokens = [text.split() for text in texts if "\t" not in text and _WHOLE.fullmatch(text)]
    if len(tokens) < SURE * len(texts):
        return None
    width, share = _width(tokens)
    is_table = width > 2 and len(tokens) > 1 and share >= SURE
    return width if is_table and (width < 5 or len({t[0] for t in tokens}) < len(tokens)) else 0
