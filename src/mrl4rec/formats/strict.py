"""Strict reading: single records with their raw text, by kept parsers. It decides."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.formats.bounds import MARK, MAX_RECORD
from mrl4rec.formats.framing import csv_cells
from mrl4rec.formats.literal import literal_fields
from mrl4rec.formats.mapping import BLANKS, ROLES
from mrl4rec.formats.quick import fields_schema, json_path
from mrl4rec.formats.rules import columns_of, names, roles, text

if TYPE_CHECKING:
    from mrl4rec.formats.framing import Block
    from mrl4rec.formats.mapping import Mapping

KEPT = 1 << 16
"""Characters of a broken record that are kept in quarantine."""
Fields = list[str | None]
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)")
"""A JSON escape; the group is half of a surrogate pair."""
_SYNTAX = {"json": "not_json", "python": "not_python", "parquet": "not_a_row"}


def records_at(block: Block, mapping: Mapping, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of these places those that hold a record: not blank, and not the header again."""
    header = (mapping.header or "").strip(BLANKS)
    kept = []
    for n in at.tolist():
        line = _raw(block, n)
        if line.strip() and line.decode("utf-8", "replace").strip(BLANKS) not in ("", header):
            kept.append(n)
    return np.array(kept, np.int64)


def fields(block: Block, mapping: Mapping, at: NDArray[np.int64]) -> pa.Table:
    """``quick.fields_schema`` of the records at these places of the block."""
    rows = [{"record_no": n, **_fields(_raw(block, n), mapping)} for n in at.tolist()]
    return pa.Table.from_pylist(rows, schema=fields_schema())


def _raw(block: Block, n: int) -> bytes:
    return block.data[int(block.ends[n - 1]) if n else 0 : int(block.ends[n])]


def _fields(raw: bytes, mapping: Mapping) -> dict[str, str | None]:
    record = raw.rstrip(b"\r\n")
    shown = record.decode("utf-8", "replace")
    if len(record) > MAX_RECORD:
        size = record.rpartition(MARK)[2].decode("ascii", "replace") if MARK in record else ""
        whole = size if size.isdigit() else str(len(record))
        kept = shown[:KEPT]
        return {"problem": "record_too_long", "seen": f"bytes: {whole}", "text": kept}
    try:
        record.decode("utf-8")
    except UnicodeDecodeError:
        return {"problem": "not_utf8", "seen": "bytes that are no UTF-8", "text": shown}
    if mapping.syntax == "json":  # in SQL, where the quick reading is
        return {"text": shown, "json": _without_halves(shown.strip(BLANKS + "\v\f,"))}
    found = _python(shown, mapping) if mapping.syntax == "python" else _csv(shown, mapping)
    if found is None:
        return {"problem": _problem(mapping), "seen": _not(mapping), "text": shown}
    return {**dict(zip(ROLES, found, strict=True)), "text": shown}


def _without_halves(record: str) -> str:
    """JSON that DuckDB reads: for half of a surrogate pair what no id may hold either."""
    if "\\ud" not in record and "\\uD" not in record:
        return record
    return _ESCAPE.sub(lambda match: "\\u0000" if match[1] else match[0], record)


def _problem(mapping: Mapping) -> str:
    return _SYNTAX.get(mapping.syntax, "not_csv")


def _not(mapping: Mapping) -> str:
    return f"not a record of {mapping.name or mapping.syntax}"


def _python(record: str, mapping: Mapping) -> Fields | None:
    return literal_fields(record.strip(BLANKS), columns_of(mapping))


def _csv(record: str, mapping: Mapping) -> Fields | None:
    separator = mapping.separator or ","
    cells: list[str] | None
    if mapping.quoted and '"' in record:
        cells = csv_cells(record, separator)
    else:
        cells = record.split(separator)
    if cells is None or len(cells) != len(mapping.columns):
        return None
    return [None if c is None else cells[mapping.columns.index(c)] for c in columns_of(mapping)]


def sql(mapping: Mapping) -> str:
    """SQL of the texts of the relation ``raw``, which has the columns of ``fields``."""
    if mapping.syntax != "json":
        return "SELECT * FROM raw"
    # One pass over a document for all paths; a document is looked at only where it is valid.
    listed = ", ".join(text(json_path(name)) for name in names(mapping))
    texts = roles(mapping, lambda column: f"found[{names(mapping).index(column) + 1}]")
    whole = "found IS NOT NULL OR problem IS NOT NULL"
    return (
        f"SELECT record_no, CASE WHEN {whole} THEN problem ELSE '{_problem(mapping)}' END "
        f"AS problem, CASE WHEN {whole} THEN seen ELSE {text(_not(mapping))} END AS seen, {texts} "
        "FROM (SELECT *, CASE WHEN problem IS NULL AND json_valid(json) AND "
        f"json_type(json) = 'OBJECT' THEN json_extract_string(json, [{listed}]) END AS found "
        "FROM raw)"
    )


def raw_table(table: pa.Table, mapping: Mapping) -> pa.Table:
    """The columns that are read of a source's own table, by number, and ``record_no``.

    A source's names may be anything: two may differ in case alone, which SQL does not see.
    Raises UsageError where a column is missing.
    """
    held = {name: n for n, name in reversed(list(enumerate(table.column_names)))}
    missing = [name for name in names(mapping) if name not in held]
    if missing:
        raise UsageError(
            f"there is no column {missing[0]!r}: {nearest(missing[0], held)}",
            todo="name the columns that the table has",
        )
    chosen = table.select([held[name] for name in names(mapping)])
    numbered = chosen.rename_columns([f"c{n}" for n in range(chosen.num_columns)])
    return numbered.append_column("record_no", pa.array(np.arange(table.num_rows)))


def table_sql(mapping: Mapping) -> str:
    """SQL of the texts of the relation ``raw``, which ``raw_table`` gave."""
    texts = roles(mapping, lambda column: f"CAST(c{names(mapping).index(column)} AS VARCHAR)")
    return f"SELECT record_no, NULL AS problem, NULL AS seen, {texts} FROM raw"


def row_texts(table: pa.Table, at: NDArray[np.int64]) -> dict[int, str]:
    """These rows as JSON, by their place."""
    rows = {n: table.slice(n, 1).to_pylist()[0] for n in at.tolist()}
    return {n: json.dumps(row, default=str, ensure_ascii=False) for n, row in rows.items()}


def raw_texts(fields_: Any) -> dict[int, str]:
    """Raw text by record number."""
    return dict(zip(fields_["record_no"].to_pylist(), fields_["text"].to_pylist(), strict=True))
