"""Parquet files of the warehouse as Spark's executors read and write them: by Arrow, in Python.

Spark itself opens none of them, so it needs no connector, and an executor no disk but its own.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext

from mrl4rec.core.storage import file_system
from mrl4rec.tables.store import DataFile

PART_BYTES = 16 << 20
"""Bytes of a Parquet file that one task reads."""
GROUP_BYTES = 16 << 20
"""Bytes in memory of the rows of a row group."""
TEXT = 32
"""Characters of a text in the range of a column."""
LAST = "\U0010ffff"
"""No character comes after it."""
BATCH = 1 << 16
"""Rows of a batch that is handed to Spark."""
WRITTEN = pa.schema([("part", pa.int32()), ("path", pa.string()), ("bytes", pa.int64()),
                     ("rows", pa.int64()), ("stats", pa.string())])  # fmt: skip
"""What ``write`` gives of a file; ``part`` is the task's place among all."""


@dataclass(frozen=True)
class Part:
    """One of ``of`` equal parts of a file's row groups."""

    path: str
    nth: int
    of: int


def parts(files: Iterable[DataFile]) -> list[Part]:
    """Files cut into what one task reads."""
    cut = ((file.path, max(1, -(-file.bytes // PART_BYTES))) for file in files)
    return [Part(path, nth, of) for path, of in cut for nth in range(of)]


def read(part: Part, uri: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of a part, as the schema has them: times that it has as whole numbers are µs, and
    a column that the file lacks is null.
    """
    system, folder = file_system(uri)
    with system.open_input_file(f"{folder}/{part.path}") as source:
        file = pq.ParquetFile(source, coerce_int96_timestamp_unit="us", pre_buffer=True)
        first, end = (file.num_row_groups * n // part.of for n in (part.nth, part.nth + 1))
        there = set(file.schema_arrow.names)
        names = [name for name in schema.names if name in there]
        for batch in file.iter_batches(BATCH, row_groups=range(first, end), columns=names):
            yield _shaped(batch, schema)


def _shaped(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for field in schema:
        if field.name not in batch.schema.names:
            columns.append(pa.nulls(batch.num_rows, field.type))
            continue
        column = batch[field.name]
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", column.type.tz))
        columns.append(column.cast(field.type))
    return pa.record_batch(columns, schema=schema)


def write(
    batches: Iterable[pa.RecordBatch], uri: str, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Write a task's rows as one file of a name that no other has; none where there are none."""
    task = TaskContext.get()
    number = task.partitionId() if task is not None else 0
    name = f"part-{number:05d}-{uuid.uuid4()}.parquet"
    rows = _groups(batches, schema)
    first = next(rows, None)
    if first is None:
        return
    system, folder = file_system(uri)
    about: list[pq.FileMetaData] = []
    with system.open_output_stream(f"{folder}/{name}") as sink:
        with pq.ParquetWriter(sink, schema, metadata_collector=about, **_packed(schema)) as file:
            file.write_table(first)
            for group in rows:
                file.write_table(group)
        size = sink.tell()
    told = (number, name, size, about[0].num_rows, _stats(about[0], schema))
    yield pa.record_batch([[value] for value in told], schema=WRITTEN)


def _groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows in tables of about GROUP_BYTES."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if batch.num_rows:
            held.append(batch)
        if sum(one.nbytes for one in held) >= GROUP_BYTES:
            yield pa.Table.from_batches(held).cast(schema)
            held = []
    if held:
        yield pa.Table.from_batches(held).cast(schema)


def _packed(schema: pa.Schema) -> dict[str, object]:
    """Whole numbers and times by their differences, as DuckDB's tables have them."""
    whole = [f.name for f in schema if pa.types.is_integer(f.type) or pa.types.is_timestamp(f.type)]
    return {
        "compression": "snappy",
        "use_dictionary": [name for name in schema.names if name not in whole],
        "column_encoding": dict.fromkeys(whole, "DELTA_BINARY_PACKED"),
    }


def _stats(about: pq.FileMetaData, schema: pa.Schema) -> str:
    """What Delta's log says of a file: its rows, and the nulls and the range of every column.

    To delta-rs (1.6) a column without a range, beside others that have one, holds nothing.
    """
    nulls: dict[str, int] = {}
    ranges: dict[str, tuple[Any, Any]] = {}
    for n, field in enumerate(schema):
        chunks = [about.row_group(g).column(n).statistics for g in range(about.num_row_groups)]
        nulls[field.name] = sum(chunk.null_count for chunk in chunks)
        held = [chunk for chunk in chunks if chunk.num_values]
        if held and all(chunk.has_min_max for chunk in held):
            ranges[field.name] = min(chunk.min for chunk in held), max(chunk.max for chunk in held)
        elif held:  # texts too long for Parquet's own
            ranges[field.name] = "", LAST
    told = {
        "numRecords": about.num_rows,
        "minValues": {name: _bound(low, "") for name, (low, _) in ranges.items()},
        "maxValues": {name: _bound(high, LAST) for name, (_, high) in ranges.items()},
        "nullCount": nulls,
    }
    # delta-rs takes an escaped character beyond U+FFFF for another one.
    return json.dumps(told, ensure_ascii=False)


def _bound(value: Any, more: str) -> Any:
    """A value in JSON; a long text cut, and ``more`` put in place of the rest."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    is_long = isinstance(value, str) and len(value) > TEXT
    return value[:TEXT] + more if is_long else value


def named(written: pa.Table) -> list[DataFile]:
    """The files of all tasks, in the order of the tasks."""
    rows: Sequence[dict[str, object]] = written.sort_by("part").to_pylist()
    return [DataFile(**{k: v for k, v in row.items() if k != "part"}) for row in rows]  # type: ignore[arg-type]
