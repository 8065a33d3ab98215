"""Framing: the bytes of a file → blocks of records, numbered in the order of the file.

A file with a record a line is cut at line breaks. What spans lines (quoted line breaks, JSON values
over many lines) is framed in order, by ``csv`` and ``json``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from mrl4rec.formats.json_values import JsonReader
from mrl4rec.formats.lines import MAX_RECORD, Block, author_pairs, cut_long_lines, line_blocks
from mrl4rec.formats.mapping import Mapping

MOST_LINES = 10_000
"""Lines that a record with quoted line breaks may span."""


def frame(chunks: Iterable[bytes], mapping: Mapping, where: str | None = None) -> Iterator[Block]:
    """The records of a text file whose content comes in ``chunks`` of at most 1 MiB.

    Raises Mrl4recError where so much is broken that records cannot be told apart in fair time.
    """
    if mapping.syntax == "lists":
        return line_blocks(author_pairs(chunks))
    if mapping.syntax == "json" and mapping.container != "lines":
        return line_blocks(JsonReader(chunks, where).values(mapping.records))
    blocks = line_blocks(cut_long_lines(chunks))
    return _csv_records(blocks, mapping) if mapping.quoted else blocks


def _csv_records(blocks: Iterable[Block], mapping: Mapping) -> Iterator[Block]:
    """Join the lines that a quoted line break cuts apart (RFC 4180, section 2.6).

    A quote that opens and does not close in a record as wide as the file's columns breaks its own
    line only.
    """
    first, rest = 0, b""
    for block in blocks:
        lines = Block.of_lines(first, rest + block.data) if rest else replace(block, first=first)
        made, rest = _joined(lines, mapping) if b'"' in lines.data else (lines, b"")
        if len(made.ends):
            yield made
            first += len(made.ends)
    if rest:
        yield _joined(Block.of_lines(first, rest), mapping, last=True)[0]


def _joined(lines: Block, mapping: Mapping, last: bool = False) -> tuple[Block, bytes]:
    """Records of the lines, and the lines that may go on in those that follow."""
    data, ends = lines.data, lines.ends
    quotes = np.searchsorted(ends, np.flatnonzero(np.frombuffer(data, np.uint8) == 34), "right")
    is_odd = np.bincount(quotes, minlength=len(ends)) % 2 == 1
    odd = np.flatnonzero(is_odd & (np.diff(ends, prepend=0) <= MAX_RECORD)).tolist()
    is_end = np.ones(len(ends), np.bool_)
    at = 0
    while at < len(odd):
        line = odd[at]
        end = odd[at + 1] if at + 1 < len(odd) else len(ends)
        begin = int(ends[line - 1]) if line else 0
        near = ends[end - 1] - begin <= MAX_RECORD and end - line <= MOST_LINES
        if near and end == len(ends) and not last:
            return Block(lines.first, data[:begin], ends[:line][is_end[:line]]), data[begin:]
        is_one = near and end < len(ends) and _is_whole(data[begin : ends[end]], mapping)
        if is_one:
            is_end[line:end] = False
        at += 2 if is_one else 1
    return replace(lines, ends=ends[is_end]), b""


def _is_whole(record: bytes, mapping: Mapping) -> bool:
    cells = csv_cells(record.decode("utf-8", "replace"), mapping.separator or ",")
    return cells is not None and len(cells) == len(mapping.columns)


def csv_cells(record: str, separator: str) -> list[str] | None:
    """The cells of one CSV record; None where its quotes do not fit.

    Blanks may stand around quotes.
    """
    csv.field_size_limit(MAX_RECORD)  # 128 KiB by default
    text = record.rstrip("\r\n")
    for spelled in (text, re.sub(rf'" +(?={re.escape(separator)}|$)', '"', text)):
        try:
            rows = list(csv.reader([spelled], delimiter=separator, strict=True,
                                   skipinitialspace=separator != " "))  # fmt: skip
        except csv.Error:
            continue
        return rows[0] if len(rows) == 1 else None
    return None
