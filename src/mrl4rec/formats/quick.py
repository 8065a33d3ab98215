"""Quick reading of a block: every record that is spelled plainly, by DuckDB.

What is read here is read as the strict reading would. All other records are left to that.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrl4rec.formats.lines import MAX_RECORD, Block
from mrl4rec.formats.literals import HIDDEN, as_json
from mrl4rec.formats.mapping import BLANKS, Mapping
from mrl4rec.formats.rules import roles, text

_CONTROL = bytes(code for code in range(32) if code not in b"\n\r")


class Scratch:
    """A file, in memory where the system has such, that holds one text after the other."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._file: Any = os.fdopen(os.memfd_create("mrl4rec"), "wb", buffering=0)
            self._path = f"/proc/self/fd/{self._file.fileno()}"
        else:
            self._file = tempfile.NamedTemporaryFile(suffix=".json", buffering=0)  # noqa: SIM115
            self._path = self._file.name

    def holding(self, data: bytes) -> str:
        """The path under which the bytes stand until the next ones do."""
        self._file.seek(0)
        self._file.write(data)  # over those before: fresh memory costs three times as much
        self._file.truncate()
        return self._path


def read(
    con: duckdb.DuckDBPyConnection, scratch: Scratch, block: Block, mapping: Mapping, sql: str
) -> pa.Table | None:
    """The good rows of a block, ``record_no`` counted in it; None where all are read strictly.

    ``sql`` adds ``is_good`` to what stands for ``{texts}`` in it.
    """
    if mapping.syntax == "csv":
        texts = pa.table({"record_no": np.arange(len(block.ends)), "text": _strings(block)})
        con.register("texts", texts)
        rows = con.sql(sql.replace("{texts}", _csv(block, mapping))).to_arrow_table()
        con.unregister("texts")
    else:
        data, spelled = block.data, _field
        if mapping.syntax == "python":
            data, spelled = as_json(block), _of_literal
        columns = _json_columns(mapping)
        if columns is None:
            return None
        texts = _json(scratch.holding(data), columns, roles(mapping, spelled))
        rows = con.sql(sql.replace("{texts}", texts)).to_arrow_table()
        # DuckDB gives a row for each line that is not blank, nulls where it is broken.
        filled = _with_text(block)
        if rows.num_rows != len(filled):
            return None
        place = rows.schema.get_field_index("record_no")
        rows = rows.set_column(place, "record_no", pa.array(filled[rows["record_no"].to_numpy()]))
    return rows.filter(rows["is_good"]).drop_columns("is_good")


def _json_columns(mapping: Mapping) -> str | None:
    """The outermost fields that are read; None where only the strict reading tells them apart."""
    outer = dict.fromkeys(name.partition(".")[0] for name in mapping.read)
    around = {name.partition(".")[0] for name in mapping.read if "." in name}
    if around & set(mapping.read) or len({name.lower() for name in outer}) < len(outer):
        return None  # only the strict reading tells small letters from capitals
    return ", ".join(f"{text(n)}: '{'JSON' if n in around else 'VARCHAR'}'" for n in outer)


def _json(path: str, columns: str, by_role: str) -> str:
    return (
        f"SELECT row_number() OVER () - 1 AS record_no, {by_role} FROM read_json({text(path)}, "
        "format = 'newline_delimited', ignore_errors = true, auto_detect = false, "
        f"columns = {{{columns}}}, maximum_object_size = {4 * MAX_RECORD})"
    )


def _csv(block: Block, mapping: Mapping) -> str:
    """Cells of records that are as wide as the file, where quotes are only around whole cells.

    A quoted cell with a separator in it makes two, with a quote that has none at its other end.
    """

    def cell(column: str) -> str:
        found = f"cells[{mapping.columns.index(column) + 1}]"
        bare = f"CASE WHEN {found} < '#' THEN trim({found}, '\"') ELSE {found} END"
        return bare if quotes else found

    quotes = mapping.quoted and b'"' in block.data
    single = b"\r" not in block.data and block.data.count(b"\n") == len(block.ends)
    line = "replace(text, chr(10), '')" if single else "rtrim(text, chr(10) || chr(13))"
    # Where an id is all that is read, a header with blanks around it would make one.
    whole = "line" if mapping.rating or mapping.time else "trim(line)"
    asked = [f"len(cells) = {len(mapping.columns)}"]
    if mapping.header:
        asked.append(f"{whole} <> {text(mapping.header.strip(BLANKS))}")
    if quotes:
        odd = "contains(c, '\"') AND NOT regexp_full_match(c, '\"[^\"\\r\\n]*\"')"
        wrong = f"contains(line, chr(13)) OR len(list_filter(cells, lambda c: {odd})) > 0"
        asked.append(f"CASE WHEN contains(line, '\"') THEN NOT ({wrong}) ELSE true END")
    return (
        f"SELECT record_no, {roles(mapping, cell)} FROM ("
        f"SELECT *, string_split(line, {text(mapping.separator or ',')}) AS cells FROM ("
        f"SELECT record_no, {line} AS line FROM texts)) WHERE {' AND '.join(asked)}"
    )


def _field(column: str) -> str:
    """A field of a JSON object, by its dotted path."""
    outer, _, path = column.partition(".")
    outer = '"' + outer.replace('"', '""') + '"'
    return f"json_extract_string({outer}, {text(json_path(path))})" if path else outer


def _of_literal(column: str) -> str:
    """A field of a literal; none where it may not be what the literal says (``requote``)."""
    name = _field(column)
    asked = f"NOT contains({name}, ': ') AND NOT contains({name}, chr({HIDDEN}))"
    return f"CASE WHEN {asked} THEN {name} END"


def json_path(name: str) -> str:
    """DuckDB's JSON path of a dotted name."""
    parts = name.replace("\\", "\\\\").replace('"', '\\"').split(".")
    return "$" + "".join(f'."{part}"' for part in parts)


def may_hold_control(block: Block, mapping: Mapping) -> bool:
    """Whether an id may hold a control character, which JSON has only as an escape."""
    if mapping.syntax != "csv":
        return mapping.syntax == "json" and b"\\" in block.data
    found = _CONTROL.replace((mapping.separator or "").encode(), b"")
    alone = block.data.count(b"\r") > block.data.count(b"\r\n")
    return alone or len(block.data.translate(None, found)) < len(block.data)


def _strings(block: Block) -> pa.Array:
    """The records as Arrow strings, line breaks included; blanks for one that is no UTF-8."""
    offsets = pa.py_buffer(np.append(0, block.ends).astype(np.int32))
    found = pa.StringArray.from_buffers(len(block.ends), offsets, pa.py_buffer(block.data))
    try:
        found.validate(full=True)
    except pa.ArrowInvalid:
        data = pa.py_buffer(_utf8_only(block))
        return pa.StringArray.from_buffers(len(block.ends), offsets, data)
    return found


def _utf8_only(block: Block) -> bytes:
    """The data, blanks for the records that are no UTF-8."""
    data, starts = bytearray(block.data), block.starts
    beyond = np.flatnonzero(np.frombuffer(block.data, np.uint8) > 127)
    for n in np.unique(np.searchsorted(block.ends, beyond, side="right")).tolist():
        try:
            block.record(n).decode()
        except UnicodeDecodeError:
            data[starts[n] : block.ends[n]] = b" " * int(block.ends[n] - starts[n])
    return bytes(data)


def _with_text(block: Block) -> NDArray[np.int64]:
    """The places of records that are not blank."""
    first = np.frombuffer(block.data, np.uint8)[block.starts]
    # A line that begins with a character is not blank; few begin with anything else.
    filled = ~np.isin(first, np.frombuffer(b" \t\r\n\v\f", np.uint8))
    for n in np.flatnonzero(~filled).tolist():
        filled[n] = bool(block.record(n).strip())
    return np.flatnonzero(filled)
