"""Parquet files into a Delta table: written by the workers or by Spark, one commit by delta-rs."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.transaction import AddAction
from pyspark.sql import SparkSession

from jobs import spark as spark_job
from jobs.ingest_pairs import Piece
from mrl4rec import lease, stage
from mrl4rec.settings import Settings
from mrl4rec.tables import Table

ROWS_PER_FILE = 4_000_000
ROW_GROUP = 1_000_000
"""Rows that a worker holds at a time."""
DICTIONARY_BYTES = 64 << 20
"""Room for every id of a row group, so that ids are written once and read back as numbers."""
RISING = (pa.int64(), pa.timestamp("us", tz="UTC"))
"""Types of columns in which neighbours differ little: they are written as differences."""


@dataclass(frozen=True)
class Place:
    """Where a run of the stage writes, and under which key."""

    settings: Settings
    dataset: str
    key: str

    def uri(self, table: str) -> str:
        """The table's path."""
        return self.settings.table_uri(self.dataset, table)

    def metadata(self, table: str) -> str:
        """What the commits before the marker's carry: the key, and whose commit it is."""
        return json.dumps({"stage": "ingest", "key": self.key, "table": table})


def even_files(pieces: Sequence[Piece], cores: int) -> list[list[tuple[Piece, int, int]]]:
    """Files of as good as equal length: for each, the pieces and which of their rows it takes.

    More than one file's worth is cut so that all cores have the same to do.
    """
    total = sum(piece.rows for piece in pieces)
    files = -(-total // ROWS_PER_FILE)
    if files > 1:
        files = -(-files // cores) * cores
    edges = [total * n // files for n in range(files + 1)] if files else [0]
    found: list[list[tuple[Piece, int, int]]] = [[] for _ in edges[1:]]
    before = 0
    for piece in pieces:
        for n, (low, high) in enumerate(pairwise(edges)):
            first, last = max(low - before, 0), min(high - before, piece.rows)
            if first < last:
                found[n].append((piece, first, last))
        before += piece.rows
    return found


def write_pieces(
    spark: SparkSession, pieces: Sequence[Piece], table: Table, uri: str, settings: Settings
) -> list[tuple[str, int]]:
    """Write the rows of all pieces beside the table's files: names and rows, not yet committed."""
    files = even_files(pieces, spark.sparkContext.defaultParallelism)
    if not files:
        return []

    if spark_job.is_local(settings):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return sorted(pool.map(lambda parts: _write_new(uri, parts, table), files))

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                name, rows = _write_new(uri, files[number], table)
                yield pa.RecordBatch.from_pydict({"name": [name], "rows": [rows]})

    numbers = spark.range(0, len(files), 1, len(files))
    done = numbers.mapInArrow(write, "name STRING, `rows` BIGINT").collect()
    return sorted((row[0], row[1]) for row in done)


def _write_new(uri: str, parts: Sequence[tuple[Piece, int, int]], table: Table) -> tuple[str, int]:
    name = f"part-{uuid.uuid4()}.snappy.parquet"
    return name, _write_file(Path(uri) / name, parts, table)


def _write_file(path: Path, parts: Sequence[tuple[Piece, int, int]], table: Table) -> int:
    rising = {n: "DELTA_BINARY_PACKED" for n, c in table.columns.items() if c.type in RISING}
    # A digest is held once, not once a row.
    at = table.schema.get_field_index("source_sha256")
    digests = pa.field("source_sha256", pa.dictionary(pa.int32(), pa.string()))
    schema = table.schema.set(at, digests)
    written = 0
    with pq.ParquetWriter(
        path, schema, store_schema=False, column_encoding=rising,
        use_dictionary=[name for name in schema.names if name not in rising],
        dictionary_pagesize_limit=DICTIONARY_BYTES,
    ) as out:  # fmt: skip
        held: list[pa.Table] = []
        for piece, first, last in parts:
            rows = piece.table().select(schema.names).slice(first, last - first)
            held.append(rows.cast(schema))
            if sum(part.num_rows for part in held) >= ROW_GROUP:
                written += _write_group(out, held)
        written += _write_group(out, held)
    return written


def _write_group(out: pq.ParquetWriter, held: list[pa.Table]) -> int:
    if not held:
        return 0
    rows = pa.concat_tables(held).unify_dictionaries()
    held.clear()
    out.write_table(rows, row_group_size=max(rows.num_rows, 1))
    return int(rows.num_rows)


def move_in(files: Sequence[Path], uri: str) -> list[tuple[str, int]]:
    """Move Parquet files beside the table's: names and rows, not yet committed."""
    moved = []
    for path in files:
        rows = pq.read_metadata(path).num_rows
        if rows:
            name = f"{path.stem.split('.')[0]}.snappy.parquet"
            os.rename(path, Path(uri) / name)
            moved.append((name, rows))
    return moved


def commit(place: Place, table: Table, files: Sequence[tuple[str, int]]) -> None:
    """Add files that lie in the table's folder to it, in one commit; also where there is none:
    each run has versions of its own, which the gate judges.
    """
    lease.confirm()
    delta = DeltaTable(place.uri(table.name))
    delta.create_write_transaction(
        [_action(Path(place.uri(table.name)) / name) for name, _ in files],
        mode="append",
        schema=delta.schema(),
        commit_properties=stage.properties(place.metadata(table.name)),
    )


def _action(path: Path) -> AddAction:
    state = path.stat()
    return AddAction(
        path=path.name,
        size=state.st_size,
        partition_values={},
        modification_time=state.st_mtime_ns // 1_000_000,
        data_change=True,
        stats=json.dumps(_stats(path)),
    )


def _stats(path: Path) -> dict[str, Any]:
    """What a reader may skip a file by: rows, nulls, and the places they come from."""
    about = pq.read_metadata(path)
    nulls: dict[str, int] = {}
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for g in range(about.num_row_groups):
        for c in range(about.num_columns):
            column = about.row_group(g).column(c)
            name, seen = column.path_in_schema, column.statistics
            if seen is None or not seen.has_null_count:
                continue
            nulls[name] = nulls.get(name, 0) + seen.null_count
            if name in ("source_sha256", "record_no") and seen.has_min_max:
                low[name] = min(low.get(name, seen.min), seen.min)
                high[name] = max(high.get(name, seen.max), seen.max)
    return {"numRecords": about.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls}
