"""The data engine on a cluster: Spark computes and writes, executors decode the dumps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias, TypeVar

import pyarrow as pa
from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # what every Spark reader knows it by
from pyspark.sql.pandas.types import from_arrow_schema

from mrl4rec.core import object_store, stage
from mrl4rec.core.storage import table_at
from mrl4rec.formats.decode import ASIDE, Decoder, Input, blocks, can_split
from mrl4rec.tables.table import Table
from mrl4rec.transforms.engine import EngineName, Mode, declared

PART_BYTES = 64 << 20
"""Bytes of a file that one task decodes."""
LINE_BYTES = 100
"""Of a record in a dump, about."""
T = TypeVar("T")
Task: TypeAlias = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


class Spark:
    """``Engine`` on Spark. Each has a session of its own, so that names do not meet."""

    name: EngineName = "spark"

    def __init__(self, session: SparkSession) -> None:
        self._spark = session
        self._checkpoints: dict[str, DataFrame] = {}
        self.copies: dict[str, str] = {}
        """The path of each dump that executors read a copy of, by the copy's address."""

    def hash(self, *columns: str) -> str:
        return f"xxhash64({', '.join(columns)})"

    def add(self, name: str, table: pa.Table) -> None:
        self._spark.createDataFrame(table).createOrReplaceTempView(name)

    def read(self, name: str, table: Table, uri: str, version: int) -> None:
        frame = self._spark.read.format("delta").option("versionAsOf", version).load(uri)
        columns = [
            F.unix_micros(column).alias(column) if kind == "timestamp" else F.col(column)
            for column, kind in frame.dtypes
            if column in table.columns
        ]
        frame.select(*columns).createOrReplaceTempView(name)

    def decode(self, name: str, inputs: Sequence[Input], as_of: datetime) -> None:
        """A task decodes a stretch of a plain file, else a whole file."""
        parts = self._reached([part for given in inputs for part in _parts(given)])
        rows = sum(given.source.bytes for given in inputs) // LINE_BYTES
        frame = self._kept_parts(name, parts, lambda part: _decoded(part, as_of), ASIDE, rows)
        is_good = F.col("record").isNull()
        frame.where(is_good).drop("rule", "detail", "record").createOrReplaceTempView(name)
        frame.where(~is_good).createOrReplaceTempView(f"{name}_aside")

    def define(self, name: str, sql: str) -> None:
        self._spark.sql(sql).createOrReplaceTempView(name)

    def materialise(self, name: str, sql: str) -> int:
        return self._kept(name, self._spark.sql(sql)).count()

    def number(self, name: str, sql: str, order: str, column: str) -> int:
        ordered = self._spark.sql(f"SELECT * FROM ({sql}) ORDER BY {order}")
        return self._kept(name, ordered.zipWithIndex(column)).count()

    def query(self, sql: str) -> pa.Table:
        return self._spark.sql(sql).toArrow()

    def write(
        self, table: Table, uri: str, sql: str, mode: Mode, text: str, base: int, order: str = ""
    ) -> int:
        """Delta on Spark lays an append over what was committed meanwhile. Such a version is found
        out right after, and no marker names it: the next run restores the table.
        """
        frame = self._spark.sql(declared(table, sql, order, "timestamp_micros"))
        if table_at(uri).version() != base:
            raise stage.LostRace(uri)
        writer = frame.write.format("delta").mode(mode).option("userMetadata", text)
        try:
            writer.option("overwriteSchema", str(mode == "overwrite")).save(uri)
        except Py4JJavaError as error:
            if table_at(uri).version() == base:
                raise
            raise stage.LostRace(uri) from error  # over an overwrite Delta itself notices it
        if table_at(uri).version() != base + 1:
            raise stage.LostRace(uri)
        return base + 1

    def drop(self, *names: str) -> None:
        for name in names:
            self._spark.catalog.dropTempView(name)
            if name in self._checkpoints:
                _unpersist(self._checkpoints.pop(name))

    def close(self) -> None:
        """Let go of what was materialised."""
        self.drop(*self._checkpoints)

    def _reached(self, parts: list[Input]) -> list[Input]:
        """The parts, of files that executors can open."""
        return parts

    def _mapped(
        self, parts: Sequence[T], rows_of: Callable[[T], Iterator[pa.RecordBatch]],
        schema: pa.Schema, rows: int, then: Task = iter,
    ) -> DataFrame:  # fmt: skip
        """What executors make of the parts; ``rows``: about so many. ``then`` is what a task does
        with all of its rows, and gives what the schema says.
        """
        access = object_store.access()

        def made(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for number in batch.column(0).to_pylist():
                    yield from rows_of(parts[number // width])

        def of_numbers(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            object_store.take(access)
            return then(made(batches))

        # Later queries run as many tasks as there are partitions here.
        tasks = min(len(parts), 4 * self._spark.sparkContext.defaultParallelism)
        # Spark takes it that there are as many rows as numbers: it would send millions of rows to
        # every executor, were there only one for each part.
        width = max(rows // max(len(parts), 1), 1)
        numbers = self._spark.range(0, len(parts) * width, 1, max(tasks, 1))
        chosen = numbers.where(f"id % {width} = 0")
        return chosen.mapInArrow(of_numbers, from_arrow_schema(schema))

    def _kept_parts(
        self, name: str, parts: Sequence[T], rows_of: Callable[[T], Iterator[pa.RecordBatch]],
        schema: pa.Schema, rows: int,
    ) -> DataFrame:  # fmt: skip
        """``_kept`` of what executors make of the parts."""
        return self._kept(name, self._mapped(parts, rows_of, schema, rows))

    def _kept(self, name: str, frame: DataFrame) -> DataFrame:
        """The frame's rows, computed once, under the name in place of those it had before."""
        kept = frame.localCheckpoint()
        self.drop(name)
        self._checkpoints[name] = kept
        kept.createOrReplaceTempView(name)
        return kept


def _unpersist(checkpoint: DataFrame) -> None:
    # DataFrame.unpersist only knows cached frames, not a local checkpoint's blocks.
    checkpoint._jdf.queryExecution().analyzed().collectLeaves().head().rdd().unpersist(False)  # type: ignore[attr-defined]


def _parts(given: Input) -> list[Input]:
    """The input cut into stretches that begin at a line, where it can be."""
    if not can_split(given) or given.source.bytes <= PART_BYTES:
        return [given]
    parts, start, first, end, lines = [], 0, 0, 0, 0
    with given.source.path.open("rb") as file:
        while block := file.read(1 << 20):
            if given.mapping.quoted and b'"' in block:
                return [given]  # a quoted cell may hold a line break
            if end + len(block) - start >= PART_BYTES and (cut := block.rfind(b"\n") + 1):
                parts.append(replace(given, part=(start, end + cut, first)))
                first += lines + block.count(b"\n", 0, cut)
                start, lines = end + cut, block.count(b"\n", cut)
            else:
                lines += block.count(b"\n")
            end += len(block)
    return [*parts, replace(given, part=(start, end, first))]


def _decoded(given: Input, as_of: datetime) -> Iterator[pa.RecordBatch]:
    decoder = Decoder(given.mapping, as_of)
    for block in blocks(given):
        both = decoder.decode(block, given.number)
        # Good records have no rule, detail and record: null.
        yield from pa.concat_tables(both, promote_options="default").to_batches(1 << 16)
