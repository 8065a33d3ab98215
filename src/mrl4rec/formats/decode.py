"""Decoding: blocks of raw records → typed columns, and the rule that each bad record breaks.

Most records are read quickly, a block at a time, by DuckDB. Whatever does not come out as a good
record there is read again by itself, strictly, with its raw text: that decides.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.formats import quick, strict
from mrl4rec.formats.bounds import Unpacking, cut_long_lines
from mrl4rec.formats.framing import Block, frame, line_blocks
from mrl4rec.formats.mapping import Mapping
from mrl4rec.formats.packing import chunks, packing_of
from mrl4rec.formats.rules import judged, plainly_good
from mrl4rec.formats.source_file import SourceFile

GOOD = pa.schema([
    ("source_no", pa.int32()),
    ("record_no", pa.int64()),
    ("user_id", pa.string()),
    ("item_id", pa.string()),
    ("rating", pa.float64()),
    ("reviewed_at", pa.int64()),
])  # fmt: skip
"""Records that break no rule; ``reviewed_at`` in µs since 1970 UTC."""
ASIDE = pa.schema([*GOOD, *(pa.field(name, pa.string()) for name in ("rule", "detail", "record"))])
"""All others with the rule they break, what was seen and their raw text; also those without a
rating in a format that has ratings, whose rule is null: their source decides.
"""
TABLE_ROWS = 1 << 17
TELL_EVERY = 15.0
"""Seconds between two lines of progress."""
log = logging.getLogger("mrl4rec")
BACKLOG = 3
"""Blocks that wait for each worker."""


@dataclass(frozen=True)
class Input:
    """A source, how it is read, and which part of it."""

    source: SourceFile
    mapping: Mapping
    number: int = 0
    """``source_no`` of its records."""
    most: Unpacking = field(default_factory=Unpacking)
    table: pa.Table | None = None
    """The records themselves, where they are no file."""
    part: tuple[int, int, int] | None = None
    """First byte, end, and number of the first record: of a plain file with a record a line."""


def blocks(given: Input) -> Iterator[Block | pa.Table]:
    """The records of an input in blocks, in order.

    Raises Mrl4recError where it cannot be read to its end.
    """
    if given.mapping.syntax == "none":
        return iter(())
    if given.table is not None or given.mapping.syntax == "parquet":
        return _table_blocks(given)
    if given.part is not None:
        start, end, first = given.part
        return line_blocks(cut_long_lines(_range(given.source.path, start, end)), first)
    text = chunks(given.source, given.most, given.mapping.encoding)
    return frame(text, given.mapping, given.source.shown)


def _table_blocks(given: Input) -> Iterator[pa.Table]:
    try:
        for batch in _batches(given):
            batch.validate(full=True)  # that its texts are UTF-8, above all
            yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise Mrl4recError(
            f"the table is damaged ({error})",
            where=given.source.shown,
            todo="fetch, copy or write it again; nothing was taken in",
        ) from error


def _batches(given: Input) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    if given.table is not None:
        yield from given.table.to_batches(TABLE_ROWS)
        return
    with pq.ParquetFile(given.source.path) as file:
        yield from file.iter_batches(TABLE_ROWS)


def _range(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as stream:
        stream.seek(start)
        while start < end and (chunk := stream.read(min(1 << 20, end - start))):
            start += len(chunk)
            yield chunk


def can_split(given: Input) -> bool:
    """Whether parts of the file can be read apart: plain UTF-8 with a record a line."""
    mapping = given.mapping
    lines = mapping.container == "lines" and mapping.syntax in ("json", "python", "csv")
    plain = given.table is None and lines and mapping.encoding == "utf-8"
    return plain and packing_of(given.source.path) == "plain"


class Decoder:
    """Decodes blocks of one mapping; threads may share it."""

    def __init__(self, mapping: Mapping, as_of: datetime) -> None:
        if mapping.syntax == "lists":  # framed as pairs
            mapping = replace(mapping, syntax="csv", separator=" ", columns=("1", "2"))
        self._mapping = mapping
        self._local = threading.local()
        unrated = "false" if mapping.rating is None else "stars IS NULL"
        self._quick = {
            control: plainly_good(mapping, as_of, "{fields}", control) for control in (True, False)
        }
        self._all = (
            "SELECT record_no, user_id, item_id, stars AS rating, micros AS reviewed_at, "
            f"rule, detail, {unrated} AS unrated FROM ({judged(mapping, as_of, '{fields}')})"
        )

    def decode(self, block: Block | pa.Table, number: int, first: int = 0) -> tuple[Any, Any]:
        """Tables GOOD and ASIDE of a block; ``first`` numbers the rows of a table."""
        if isinstance(block, pa.Table):
            return self._decode_table(block, number, first)
        control = quick.may_hold_control(block, self._mapping)
        run = partial(self._query, self._quick[control])
        con = self._connection()
        good = quick.read(con, self._local.scratch, block, self._mapping, run)
        rest = np.ones(len(block.ends), bool)
        if good is not None:
            rest[good["record_no"].to_numpy()] = False
        at = strict.records_at(block, self._mapping, np.flatnonzero(rest))
        again, aside = self._strictly(block, at)
        found = [part for part in (good, again) if part is not None]
        return (
            _numbered(pa.concat_tables(found), GOOD, number, block.first),
            _numbered(aside, ASIDE, number, block.first),
        )

    def _strictly(self, block: Block, at: NDArray[np.int64]) -> tuple[pa.Table, pa.Table]:
        fields = strict.fields(block, self._mapping, at)
        con = self._connection()
        con.register("raw", fields)
        rows = self._query(self._all, strict.sql(self._mapping))
        con.unregister("raw")
        return _apart(rows, strict.raw_texts(fields))

    def _decode_table(self, table: pa.Table, number: int, first: int) -> tuple[Any, Any]:
        con = self._connection()
        try:
            con.register("raw", strict.raw_table(table, self._mapping))
            rows = self._query(self._all, strict.table_sql(self._mapping))
            con.unregister("raw")
        except duckdb.NotImplementedException as error:
            raise Mrl4recError(f"a column is of a type that is not read: {error}",
                               todo="write it as text or as a number") from error  # fmt: skip
        aside = rows.filter(_aside(rows))["record_no"].to_numpy()
        good, bad = _apart(rows, strict.row_texts(table, aside))
        return _numbered(good, GOOD, number, first), _numbered(bad, ASIDE, number, first)

    def _query(self, sql: str, fields: str) -> pa.Table:
        return self._connection().sql(sql.replace("{fields}", fields)).to_arrow_table()

    def _connection(self) -> duckdb.DuckDBPyConnection:
        """This thread's own DuckDB, of one thread: rows keep their order."""
        if not hasattr(self._local, "con"):
            config = {
                "threads": 1,
                "memory_limit": "1GB",
                "autoload_known_extensions": False,
                "enable_external_file_cache": False,
            }  # one path holds many texts
            self._local.con, self._local.scratch = duckdb.connect(config=config), quick.Scratch()
            self._local.con.execute("SET TimeZone = 'UTC'")
        return self._local.con  # type: ignore[no-any-return]


def _aside(rows: pa.Table) -> NDArray[np.bool_]:
    unrated = rows["unrated"].to_numpy(zero_copy_only=False)
    valid: NDArray[np.bool_] = rows["rule"].is_valid().to_numpy(zero_copy_only=False)
    return valid | unrated.astype(bool)


def _apart(rows: pa.Table, texts: dict[int, str]) -> tuple[pa.Table, pa.Table]:
    """Good rows, and all others with the raw text that belongs to their number."""
    aside = _aside(rows)
    bad = rows.filter(pa.array(aside))
    raw = pa.array([texts[n][: strict.KEPT] for n in bad["record_no"].to_pylist()], pa.string())
    names = [name for name in GOOD.names if name != "source_no"]
    return (
        rows.filter(pa.array(~aside)).select(names),
        bad.drop_columns("unrated").append_column("record", raw),
    )


def _numbered(rows: pa.Table, schema: pa.Schema, number: int, first: int) -> pa.Table:
    place = rows.schema.get_field_index("record_no")
    numbers = pa.array(rows["record_no"].to_numpy() + first, pa.int64())
    rows = rows.set_column(place, "record_no", numbers)
    source = pa.array(np.full(rows.num_rows, number, np.int32))
    return rows.append_column("source_no", source).select(schema.names).cast(schema)


Insert = Callable[[pa.Table, pa.Table], None]


def decode_all(inputs: Iterable[Input], as_of: datetime, insert: Insert, workers: int) -> None:
    """Decode every input, blocks side by side, and hand the two tables of each to ``insert``.

    Raises what reading raises; then nothing more is inserted.
    """
    insert = _telling(insert)
    with ThreadPoolExecutor(workers) as pool:
        waiting: set[Future[None]] = set()
        try:
            for task in _tasks(inputs, as_of, insert):
                waiting.add(pool.submit(task))
                if len(waiting) >= BACKLOG * workers:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
            for future in waiting:
                future.result()
        finally:
            for future in waiting:
                future.cancel()


def _telling(insert: Insert) -> Insert:
    """``insert`` that logs how far it came."""
    records, told = 0, time.monotonic()

    def insert_and_tell(good: pa.Table, aside: pa.Table) -> None:
        nonlocal records, told
        insert(good, aside)
        records += good.num_rows + aside.num_rows
        if time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            log.info("%s records decoded so far", f"{records:,}")

    return insert_and_tell


def _tasks(
    inputs: Iterable[Input], as_of: datetime, insert: Insert
) -> Iterator[Callable[[], None]]:
    decoders: dict[Mapping, Decoder] = {}
    for given in inputs:
        decoder = decoders.setdefault(given.mapping, Decoder(given.mapping, as_of))
        first = 0
        for block in blocks(given):
            yield partial(_decode_into, decoder, block, given.number, first, insert)
            first += block.num_rows if isinstance(block, pa.Table) else 0


def _decode_into(
    decoder: Decoder, block: Block | pa.Table, number: int, first: int, insert: Insert
) -> None:
    insert(*decoder.decode(block, number, first))


def sample(given: Input, as_of: datetime, rows: int) -> pa.Table:
    """The first ``rows`` records (about) as ASIDE has them, good ones with a null rule."""
    decoder, found, first = Decoder(given.mapping, as_of), [], 0
    for block in blocks(given):
        good, aside = decoder.decode(block, given.number, first)
        nothing = [pa.nulls(good.num_rows, pa.string())] * 3
        full = pa.table([*good.columns, *nothing], schema=ASIDE)
        found += [full, aside]
        first += good.num_rows + aside.num_rows
        if first >= rows:
            break
    if not found:
        return ASIDE.empty_table()
    return pa.concat_tables(found).sort_by("record_no").slice(0, rows)
