"""Decoding: blocks of raw records → typed columns, and the rule that each bad record breaks.

Most records are read quickly, a block at a time, by DuckDB. Whatever does not come out as a good
record there is read again by itself, strictly, with its raw text: that decides.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import starmap
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.formats import quick, sessions, strict
from mrl4rec.formats.framing import frame
from mrl4rec.formats.lines import Block, cut_long_lines, line_blocks
from mrl4rec.formats.mapping import Mapping
from mrl4rec.formats.packing import Unpacking, packing_of
from mrl4rec.formats.rules import judged, plainly_good
from mrl4rec.formats.sources import SourceFile
from mrl4rec.formats.text import chunks

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
BACKLOG = 3
"""Blocks that wait for each worker."""
log = logging.getLogger("mrl4rec")


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


class Rows(NamedTuple):
    """Consecutive records of a table; ``first`` is the number of the first, from 0."""

    first: int
    table: pa.Table


def blocks(given: Input) -> Iterator[Block | Rows]:
    """The records of an input in blocks, in order.

    Raises Mrl4recError where it cannot be read to its end.
    """
    if given.mapping.syntax == "none":
        return iter(())
    if given.table is not None or given.mapping.syntax == "parquet":
        return _rows(given)
    if given.part is not None:
        start, end, first = given.part
        return line_blocks(cut_long_lines(_range(given.source.path, start, end)), first)
    text = chunks(given.source, given.most, given.mapping.encoding)
    if given.mapping.syntax == "sessions":
        # A file that was not digested is only looked at.
        return starmap(Rows, sessions.events(text, given.source.sha256[:12] or "session"))
    return frame(text, given.mapping, given.source.shown)


def _rows(given: Input) -> Iterator[Rows]:
    first = 0
    try:
        batches = (
            pq.ParquetFile(given.source.path.open("rb")).iter_batches(TABLE_ROWS)
            if given.table is None
            else given.table.to_batches(TABLE_ROWS)
        )
        for batch in batches:
            batch.validate(full=True)  # that its texts are UTF-8, above all
            yield Rows(first, pa.Table.from_batches([batch]))
            first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        todo = "fetch, copy or write it again; nothing was taken in"
        what = f"the table is damaged ({error})"
        raise Mrl4recError(what, where=given.source.shown, todo=todo) from error


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


class _Thread(threading.local):
    """What each thread has of its own."""

    @cached_property
    def con(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB of one thread: rows keep their order."""
        config = {
            "threads": 1,
            "memory_limit": "1GB",
            "autoload_known_extensions": False,
            "enable_external_file_cache": False,  # one path holds many texts
        }
        con = duckdb.connect(config=config)
        con.execute("SET TimeZone = 'UTC'")
        return con

    @cached_property
    def scratch(self) -> quick.Scratch:
        return quick.Scratch()


class Decoder:
    """Decodes blocks of one mapping; threads may share it."""

    def __init__(self, mapping: Mapping, as_of: datetime) -> None:
        if mapping.syntax == "lists":  # framed as pairs
            mapping = replace(mapping, syntax="csv", separator=" ", columns=("1", "2"))
        self._mapping = mapping
        self._thread = _Thread()
        self._judged = judged(mapping, as_of, "{texts}")
        self._quick = {
            control: plainly_good(mapping, as_of, "{texts}", control) for control in (True, False)
        }

    def decode(self, block: Block | Rows, number: int) -> tuple[pa.Table, pa.Table]:
        """Tables GOOD and ASIDE of a block of the source that has the number."""
        if isinstance(block, Rows):
            good, aside = self._of_table(block.table)
        else:
            good, aside = self._of_text(block)
        return (
            _numbered(good, GOOD, number, block.first),
            _numbered(aside, ASIDE, number, block.first),
        )

    def _of_text(self, block: Block) -> tuple[pa.Table, pa.Table]:
        mapping, mine = self._mapping, self._thread
        sql = self._quick[quick.may_hold_control(block, mapping)]
        quickly = quick.read(mine.con, mine.scratch, block, mapping, sql)
        rest = np.ones(len(block.ends), bool)
        if quickly is not None:
            rest[quickly["record_no"].to_numpy()] = False
        raw = strict.raw_records(block, mapping, np.flatnonzero(rest))
        good, aside = self._judge(raw, strict.texts(mapping))
        return pa.concat_tables([good, *([] if quickly is None else [quickly])]), aside

    def _of_table(self, table: pa.Table) -> tuple[pa.Table, pa.Table]:
        if self._mapping.syntax == "sessions":  # read already
            return self._judge(table, strict.texts(self._mapping))
        try:
            raw = strict.raw_table(table, self._mapping)
            good, aside = self._judge(raw, strict.table_texts(self._mapping))
        except duckdb.NotImplementedException as error:
            raise Mrl4recError(f"a column is of a type that is not read: {error}",
                               todo="write it as text or as a number") from error  # fmt: skip
        texts = strict.row_texts(table.take(aside["record_no"]))
        return good, aside.drop_columns("record").append_column(
            "record", pa.array(texts, pa.string())
        )

    def _judge(self, raw: pa.Table, texts: str) -> tuple[pa.Table, pa.Table]:
        """Good records and all others, by the rules."""
        con = self._thread.con
        con.register("raw", raw)
        rows = con.sql(self._judged.replace("{texts}", texts)).to_arrow_table()
        con.unregister("raw")
        good, aside = (rows.filter(mask) for mask in (rows["is_good"], pc.invert(rows["is_good"])))
        return good.select([name for name in GOOD.names if name != "source_no"]), aside


def _numbered(rows: pa.Table, schema: pa.Schema, number: int, first: int) -> pa.Table:
    place = rows.schema.get_field_index("record_no")
    numbers = pa.array(rows["record_no"].to_numpy() + first, pa.int64())
    rows = rows.set_column(place, "record_no", numbers)
    source = pa.array(np.full(rows.num_rows, number, np.int32))
    return rows.append_column("source_no", source).select(schema.names).cast(schema)


def decode_all(
    inputs: Iterable[Input],
    as_of: datetime,
    insert: Callable[[pa.Table, pa.Table], None],
    workers: int,
) -> None:
    """Decode every input, blocks side by side, and hand the two tables of each to ``insert``.

    Raises what reading raises; then nothing more is inserted.
    """

    def work(decoder: Decoder, block: Block | Rows, number: int) -> int:
        good, aside = decoder.decode(block, number)
        insert(good, aside)
        return int(good.num_rows + aside.num_rows)

    records, told = 0, time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[int]] = deque()
        try:
            for task in _tasks(inputs, as_of):
                waiting.append(pool.submit(work, *task))
                if len(waiting) >= BACKLOG * workers:
                    records += waiting.popleft().result()
                if time.monotonic() - told > TELL_EVERY:
                    told = time.monotonic()
                    log.info("%s records decoded so far", f"{records:,}")
            for future in waiting:
                future.result()
        finally:
            for future in waiting:
                future.cancel()


def _tasks(inputs: Iterable[Input], as_of: datetime) -> Iterator[tuple[Decoder, Block | Rows, int]]:
    decoders: dict[Mapping, Decoder] = {}
    for given in inputs:
        decoder = decoders.setdefault(given.mapping, Decoder(given.mapping, as_of))
        for block in blocks(given):
            yield decoder, block, given.number


def sample(given: Input, as_of: datetime, rows: int) -> pa.Table:
    """The first ``rows`` records (about) as ASIDE has them, good ones with a null rule."""
    decoder, found, held = Decoder(given.mapping, as_of), [ASIDE.empty_table()], 0
    for block in blocks(given):
        parts = decoder.decode(block, given.number)
        found += parts
        held += sum(part.num_rows for part in parts)
        if held >= rows:
            break
    together = pa.concat_tables(found, promote_options="default")
    return together.sort_by("record_no").slice(0, rows)
