"""Quick reading of a block: every record that is spelled plainly, by DuckDB.

What is read here is read as the strict reading would. All other records are left to that.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrl4rec.formats.bounds import MAX_RECORD
from mrl4rec.formats.mapping import BLANKS, ROLES
from mrl4rec.formats.rules import names, roles, text

if TYPE_CHECKING:
    import duckdb

    from mrl4rec.formats.framing import Block
    from mrl4rec.formats.mapping import Mapping

Run = Callable[[str], pa.Table]
"""Runs SQL of record_no, problem, seen, user, item, rating, time; adds ``is_good``."""
_CONTROL = bytes(code for code in range(32) if code not in b"\n\r")
_SINGLE, _DOUBLE = "chr(39)", "chr(34)"
_TOKEN = r"""[uU]?'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^'"]+"""
"""A Python string, or what stands between two of them."""


def read(
    con: duckdb.DuckDBPyConnection, block: Block, mapping: Mapping, run: Run
) -> pa.Table | None:
    """The good rows of a block, ``record_no`` counted in it; None where all are read strictly."""
    if mapping.syntax == "json":
        return _read_json(block, mapping, run)
    texts = string_array(block)
    if texts is None:
        return None
    con.register("texts", pa.table({"record_no": np.arange(len(texts)), "text": texts}))
    try:
        rows = run(_python(mapping) if mapping.syntax == "python" else _csv(block, mapping))
    finally:
        con.unregister("texts")
    return _good(rows)


def _good(rows: pa.Table) -> pa.Table:
    return rows.filter(rows["is_good"]).drop_columns("is_good")


def _read_json(block: Block, mapping: Mapping, run: Run) -> pa.Table | None:
    """DuckDB's reader gives a row for each line that is not blank, nulls where it is broken."""
    read = names(mapping)
    if any("." in name for name in read) or len({name.lower() for name in read}) < len(read):
        return None  # only the strict reading follows paths, and tells small letters from capitals
    columns = ", ".join(f"{text(name)}: 'VARCHAR'" for name in names(mapping))
    lines = lines_with_text(block)
    with _as_file(block.data) as path:
        rows = run(
            f"SELECT row_number() OVER () - 1 AS record_no, NULL AS problem, NULL AS seen, "
            f"{roles(mapping, quoted)} FROM read_json({text(path)}, "
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
    """Cells of records without quotes; a record of another width than the file's is left."""

    def cell(column: str) -> str:
        return f"cells[{mapping.columns.index(column) + 1}]"

    line = (
        "rtrim(text, chr(10) || chr(13))" if b"\r" in block.data else "replace(text, chr(10), '')"
    )
    # Where an id is all that is read, a header with blanks around it would make one.
    whole = line if mapping.rating or mapping.time else f"trim({line})"
    header = f"{whole} <> {text(mapping.header.strip(BLANKS))}" if mapping.header else "true"
    plain = "NOT contains(text, '\"')" if mapping.quoted else "true"
    cells = f"string_split({line}, {text(mapping.separator or ',')})"
    return (
        f"SELECT record_no, NULL AS problem, NULL AS seen, {roles(mapping, cell)} FROM ("
        f"SELECT record_no, {cells} AS cells FROM texts WHERE {plain} AND {header}) "
        f"WHERE len(cells) = {len(mapping.columns)}"
    )


def _python(mapping: Mapping) -> str:
    """Dict literals, turned into JSON.

    Where neither a double quote nor a backslash is in the line, single quotes become double ones;
    else the line is turned token by token, at five times the cost. Escapes that JSON lacks make no
    JSON, and the two that mean something else there are left; so is whatever else Python has
    (tuples, other numbers), and an id with a colon and a blank, behind which a word may have been
    changed.
    """
    paths = ", ".join(text(json_path(name)) for name in names(mapping))

    def field(column: str) -> str:
        found = f"found[{names(mapping).index(column) + 1}]"
        return f"CASE WHEN NOT contains({found}, ': ') THEN {found} END"

    plain, other = f"replace(text, {_SINGLE}, {_DOUBLE})", "t"
    for old, new in (("True", "true"), ("False", "false"), ("None", "null")):
        plain = f"replace({plain}, ': {old}', ': {new}')"
        other = f"replace({other}, '{old}', '{new}')"
    string, escaped = "ltrim(t, 'uU')", f"concat('\\', {_SINGLE})"
    inside = f"replace(substr({string}, 2, length({string}) - 2), {escaped}, {_SINGLE})"
    inside = f"replace({inside}, {_DOUBLE}, concat('\\', {_DOUBLE}))"
    token = (
        f"CASE WHEN starts_with(ltrim(t, 'uU'), {_SINGLE}) "
        f"THEN concat({_DOUBLE}, {inside}, {_DOUBLE}) "
        f"WHEN starts_with(t, {_DOUBLE}) THEN t ELSE {other} END"
    )
    tokens = (
        f"array_to_string(list_transform(regexp_extract_all(text, {text(_TOKEN)}), "
        f"lambda t: {token}), '')"
    )
    return (
        f"SELECT record_no, NULL AS problem, NULL AS seen, {roles(mapping, field)} FROM ("
        f"SELECT record_no, CASE WHEN json_valid(json) AND starts_with(ltrim(json), '{{') "
        f"THEN json_extract_string(json, [{paths}]) END AS found FROM ("
        f"SELECT record_no, CASE WHEN contains(text, {_DOUBLE}) OR contains(text, '\\') "
        f"THEN {tokens} ELSE {plain} END AS json FROM texts "
        f"WHERE NOT contains(text, concat('\\', {_DOUBLE})) AND NOT contains(text, '\\/')))"
    )


def json_path(name: str) -> str:
    """DuckDB's JSON path of a dotted name."""
    parts = name.replace("\\", "\\\\").replace('"', '\\"').split(".")
    return "$" + "".join(f'."{part}"' for part in parts)


def may_hold_control(block: Block, mapping: Mapping) -> bool:
    """Whether an id may hold a control character, which JSON has only as an escape."""
    if mapping.syntax != "csv" and b"\\" in block.data:
        return True
    if mapping.syntax == "json":
        return False
    found = _CONTROL.replace((mapping.separator or "").encode(), b"")
    alone = block.data.count(b"\r") > block.data.count(b"\r\n")
    return alone or len(block.data.translate(None, found)) < len(block.data)


def string_array(block: Block) -> pa.Array | None:
    """The records as Arrow strings, line breaks included; None where one is no UTF-8."""
    offsets = np.zeros(len(block.ends) + 1, np.int32)
    offsets[1:] = block.ends
    buffers = (pa.py_buffer(offsets), pa.py_buffer(block.data))
    found = pa.StringArray.from_buffers(len(block.ends), *buffers)
    try:
        found.validate(full=True)
    except pa.ArrowInvalid:
        return None
    return found


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


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """The bytes under a path that DuckDB can read."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("mrl4rec")
        try:
            with open(number, "wb", closefd=False) as out:
                out.write(data)
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
        return
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(data)
        file.flush()
        yield file.name


def fields_schema() -> pa.Schema:
    """Columns that a strict reading gives: the texts of a record, or the rule that it breaks; the
    record itself, and where it is JSON what is to be read of it.
    """
    texts: Any = [(name, pa.string()) for name in ("problem", "seen", *ROLES, "text", "json")]
    return pa.schema([("record_no", pa.int64()), *texts])
