"""Strict reading: single records with their raw text, by kept parsers. It decides."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.formats.framing import csv_cells
from mrl4rec.formats.lines import MAX_RECORD, Block, full_size
from mrl4rec.formats.literals import literal_fields
from mrl4rec.formats.mapping import BLANKS, ROLES, Mapping
from mrl4rec.formats.quick import json_path
from mrl4rec.formats.rules import roles, text

KEPT = 1 << 16
"""Characters of a broken record that are kept in quarantine."""
RAW = pa.schema(
    [pa.field("record_no", pa.int64())]
    + [pa.field(name, pa.string()) for name in ("problem", "seen", *ROLES, "text", "json")]
)
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)")
"""A JSON escape; the group is half of a surrogate pair."""
_PROBLEM = {"json": "not_json", "python": "not_python", "csv": "not_csv"}


def raw_records(block: Block, mapping: Mapping, at: NDArray[np.int64]) -> pa.Table:
    """What is to be read of the records at these places of the block: their texts, or what is
    wrong with them, or their JSON. Blank ones and repeated headers are left out.
    """
    header = (mapping.header or "").strip(BLANKS)
    rows = []
    for n in at.tolist():
        raw = block.record(n)
        if raw.strip() and raw.decode("utf-8", "replace").strip(BLANKS) not in ("", header):
            rows.append({"record_no": n, **fields(raw.rstrip(b"\r\n"), mapping)})
    return pa.Table.from_pylist(rows, schema=RAW)


def fields(record: bytes, mapping: Mapping) -> dict[str, str | None]:
    """The text of a record, and what is wrong with it, its JSON or the texts of its roles."""
    shown = record.decode("utf-8", "replace")
    kept: dict[str, str | None] = {"text": shown[:KEPT]}
    if len(record) > MAX_RECORD:
        return kept | {"problem": "record_too_long", "seen": f"bytes: {full_size(record)}"}
    try:
        record.decode("utf-8")
    except UnicodeDecodeError:
        return kept | {"problem": "not_utf8", "seen": "bytes that are no UTF-8"}
    if mapping.syntax == "json":
        return kept | {"json": _without_halves(shown.strip(BLANKS + "\v\f,"))}
    if mapping.syntax == "python":
        by_role = tuple(mapping.roles.get(role) for role in ROLES)
        found = literal_fields(shown.strip(BLANKS), by_role)
    else:
        found = _csv(shown, mapping)
    if found is None:
        return kept | {"problem": _PROBLEM[mapping.syntax], "seen": _no_record(mapping)}
    return kept | dict(zip(ROLES, found, strict=True))


def _without_halves(record: str) -> str:
    """JSON that DuckDB reads: for half of a surrogate pair what no id may hold either."""
    if "\\ud" not in record and "\\uD" not in record:
        return record
    return _ESCAPE.sub(lambda match: "\\u0000" if match[1] else match[0], record)


def _no_record(mapping: Mapping) -> str:
    return f"not a record of {mapping.name or mapping.syntax}"


def _csv(record: str, mapping: Mapping) -> list[str | None] | None:
    separator = mapping.separator or ","
    is_quoted = mapping.quoted and '"' in record
    cells = csv_cells(record, separator) if is_quoted else record.split(separator)
    if cells is None or len(cells) != len(mapping.columns):
        return None
    by_name: dict[str | None, str] = dict(
        zip(reversed(mapping.columns), reversed(cells), strict=True)
    )
    return [by_name.get(mapping.roles.get(role)) for role in ROLES]


def texts(mapping: Mapping) -> str:
    """SQL of the texts (``rules``) of the relation ``raw``, which ``raw_records`` gave."""
    if mapping.syntax != "json":
        return "SELECT * FROM raw"
    # One pass over a document for all paths; a document is looked at only where it is valid.
    listed = ", ".join(text(json_path(name)) for name in mapping.read)
    by_role = roles(mapping, lambda column: f"found[{mapping.read.index(column) + 1}]")
    whole = "found IS NOT NULL OR problem IS NOT NULL"
    return (
        f"SELECT record_no, text, CASE WHEN {whole} THEN problem ELSE '{_PROBLEM['json']}' END "
        f"AS problem, CASE WHEN {whole} THEN seen ELSE {text(_no_record(mapping))} END AS seen, "
        f"{by_role} FROM (SELECT *, CASE WHEN problem IS NULL AND json_valid(json) AND "
        f"json_type(json) = 'OBJECT' THEN json_extract_string(json, [{listed}]) END AS found "
        "FROM raw)"
    )


def raw_table(table: pa.Table, mapping: Mapping) -> pa.Table:
    """The columns that are read of a source's own table, by number, and ``record_no``.

    A source's names may be anything: two may differ in case alone, which SQL does not see.
    Raises UsageError where a column is missing.
    """
    held = {name: n for n, name in reversed(list(enumerate(table.column_names)))}
    missing = [name for name in mapping.read if name not in held]
    if missing:
        what = f"there is no column {missing[0]!r}: {nearest(missing[0], held)}"
        raise UsageError(what, todo="name the columns that the table has")
    chosen = table.select([held[name] for name in mapping.read])
    numbered = chosen.rename_columns([f"c{n}" for n in range(chosen.num_columns)])
    return numbered.append_column("record_no", pa.array(np.arange(table.num_rows)))


def table_texts(mapping: Mapping) -> str:
    """SQL of the texts of the relation ``raw``, which ``raw_table`` gave; without the records."""
    by_role = roles(mapping, lambda column: f"CAST(c{mapping.read.index(column)} AS VARCHAR)")
    nothing = ", ".join(f"CAST(NULL AS VARCHAR) AS {name}" for name in ("problem", "seen", "text"))
    return f"SELECT record_no, {nothing}, {by_role} FROM raw"


def row_texts(rows: pa.Table) -> list[str]:
    """Rows of a source's own table as JSON."""
    found = (rows.slice(n, 1).to_pylist()[0] for n in range(rows.num_rows))
    return [json.dumps(row, default=str, ensure_ascii=False)[:KEPT] for row in found]
