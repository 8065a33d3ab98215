"""Quick reading of a block: every record that is spelled plainly, by DuckDB.

What is read here is read as the strict reading would. All other records are left to that.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrl4rec.formats.bounds import MAX_RECORD
from mrl4rec.formats.mapping import BLANKS, ROLES
from mrl4rec.formats.requote import HIDDEN, as_json
from mrl4rec.formats.rules import names, roles, text

if TYPE_CHECKING:
    import duckdb

    from mrl4rec.formats.framing import Block
    from mrl4rec.formats.mapping import Mapping

Run = Callable[[str], pa.Table]
"""Runs SQL of record_no, problem, seen, user, item, rating, time; adds ``is_good``."""
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
    con: duckdb.DuckDBPyConnection, scratch: Scratch, block: Block, mapping: Mapping, run: Run
) -> pa.Table | None:
    """The good rows of a block, ``record_no`` counted in it; None where all are read strictly."""
    if mapping.syntax == "json":
        return _read_json(scratch, block, mapping, run, _field)
    if mapping.syntax == "python":
        return _read_json(scratch, as_json(block), mapping, run, _of_literal)
    texts = string_array(block)
    con.register("texts", pa.table({"record_no": np.arange(len(texts)), "text": texts}))
    try:
        rows = run(_csv(block, mapping))
    finally:
        con.unregister("texts")
    return _good(rows)


def _good(rows: pa.Table) -> pa.Table:
    return rows.filter(rows["is_good"]).drop_columns("is_good")


def _read_json(
    scratch: Scratch, block: Block, mapping: Mapping, run: Run, field: Callable[[str], str]
) -> pa.Table | None:
    """DuckDB's reader gives a row for each line that is not blank, nulls where it is broken."""
    read = names(mapping)
    outer = dict.fromkeys(name.partition(".")[0] for name in read)
    around = {name.partition(".")[0] for name in read if "." in name}
    if around & set(read) or len({name.lower() for name in outer}) < len(outer):
        return None  # only the strict reading tells small letters from capitals
    columns = ", ".join(f"{text(n)}: '{'JSON' if n in around else 'VARCHAR'}'" for n in outer)
    lines = lines_with_text(block)
    rows = run(
        f"SELECT row_number() OVER () - 1 AS record_no, NULL AS problem, NULL AS seen, "
        f"{roles(mapping, field)} FROM read_json({text(scratch.holding(block.data))}, "
        "format = 'newline_delimited', ignore_errors = true, auto_detect = false, "
        f"columns = {{{columns}}}, maximum_object_size = {4 * MAX_RECORD})"
    )
    if rows.num_rows != len(lines):
        return None
    if len(lines) < len(block.ends):
        place = rows.schema.get_field_index("record_no")
        rows = rows.set_column(place, "record_no", pa.array(lines[rows["record_no"].to_numpy()]))
    return _good(rows)


def quoted(name: str) -> str:
    """A column's name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


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
        f"SELECT record_no, NULL AS problem, NULL AS seen, {roles(mapping, cell)} FROM ("
        f"SELECT *, string_split(line, {text(mapping.separator or ',')}) AS cells FROM ("
        f"SELECT record_no, {line} AS line FROM texts)) WHERE {' AND '.join(asked)}"
    )


def _field(column: str) -> str:
    """A field of a JSON object, by its dotted path."""
    outer, _, path = column.partition(".")
    return (
        f"json_extract_string({quoted(outer)}, {text(json_path(path))})" if path else quoted(outer)
    )


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


def string_array(block: Block) -> pa.Array:
    """The records as Arrow strings, line breaks included; blanks for one that is no UTF-8."""
    offsets = np.zeros(len(block.ends) + 1, np.int32)
    offsets[1:] = block.ends

    def made(data: bytes) -> pa.Array:
        return pa.StringArray.from_buffers(
            len(block.ends), pa.py_buffer(offsets), pa.py_buffer(data)
        )

    try:
        found = made(block.data)
        found.validate(full=True)
    except pa.ArrowInvalid:
        return made(_utf8_only(block))
    return found


def _utf8_only(block: Block) -> bytes:
    """The data, blanks for the records that are no UTF-8."""
    data = bytearray(block.data)
    beyond = np.flatnonzero(np.frombuffer(block.data, np.uint8) > 127)
    starts = np.concatenate([[0], block.ends[:-1]])
    for n in np.unique(np.searchsorted(block.ends, beyond, side="right")).tolist():
        try:
            data[starts[n] : block.ends[n]].decode()
        except UnicodeDecodeError:
            data[starts[n] : block.ends[n]] = b" " * int(block.ends[n] - starts[n])
    return bytes(data)


def lines_with_text(block: Block) -> NDArray[np.int64]:
    """The places of records that are not blank."""
    starts = np.concatenate([[0], block.ends[:-1]])
    data = np.frombuffer(block.data, np.uint8)
    first = data[starts]
    # A line that begins with a character is not blank; few begin with anything else.
    filled = ~np.isin(first, np.frombuffer(b" \t\r\n\v\f", np.uint8))
    for at in np.flatnonzero(~filled):
        filled[at] = bool(block.data[starts[at] : block.ends[at]].strip())
    return np.flatnonzero(filled)


def fields_schema() -> pa.Schema:
    """Columns that a strict reading gives: the texts of a record, or the rule that it breaks; the
    record itself, and where it is JSON what is to be read of it.
    """
    texts: Any = [(name, pa.string()) for name in ("problem", "seen", *ROLES, "text", "json")]
    return pa.schema([("record_no", pa.int64()), *texts])
