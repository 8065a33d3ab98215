"""The data engine on executors that share no disk with the driver, or on tables in an object store.

Spark computes. The executors' Python writes the files of tables and reads them, and one commit of
the driver makes those a version whose tasks came to an end: what a lost task has left there is in
no version. What a run keeps for itself lies in files beside the tables, so an executor that is
lost at any time costs only its tasks.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import cast

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from mrl4rec.core import files, object_store, stage
from mrl4rec.core.files import AnyPath
from mrl4rec.core.storage import table_at
from mrl4rec.formats.decode import Input
from mrl4rec.tables import store
from mrl4rec.tables.store import DataFile
from mrl4rec.tables.table import Table
from mrl4rec.transforms import spark_files
from mrl4rec.transforms.engine import Mode, declared
from mrl4rec.transforms.spark_engine import Spark, T


class SparkOnFiles(Spark):
    """``Spark`` whose tables are read and written by the executors' Python."""

    def read(self, name: str, table: Table, uri: str, version: int) -> None:
        delta = table_at(uri, version)
        there = pa.schema(delta.schema().to_arrow())
        schema = pa.schema(
            (column, pa.int64() if pa.types.is_timestamp(type_) else type_)
            for column, type_ in zip(there.names, there.types, strict=True)
            if column in table.columns
        )
        told = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
        found = [DataFile(a["path"], a["size_bytes"], a["num_records"] or 0) for a in told]
        self._of_files(uri, found, schema).createOrReplaceTempView(name)

    def write(
        self, table: Table, uri: str, sql: str, mode: Mode, text: str, base: int, order: str = ""
    ) -> int:
        if table_at(uri).version() != base:
            raise stage.LostRace(uri)
        frame = self._spark.sql(declared(table, sql, order, "timestamp_micros"))
        written = self._to_files(frame, uri, table.schema)
        return store.commit_files(uri, table.schema, written, mode, text, base)

    def _of_files(self, uri: str, found: list[DataFile], schema: pa.Schema) -> DataFrame:
        rows = sum(file.rows for file in found)
        read = partial(spark_files.read, uri=uri, schema=schema)
        return self._mapped(spark_files.parts(found), read, schema, rows)

    def _to_files(self, frame: DataFrame, uri: str, schema: pa.Schema) -> list[DataFile]:
        access = object_store.access()

        def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            object_store.take(access)
            return spark_files.write(batches, uri, schema)

        told = frame.mapInArrow(write, from_arrow_schema(spark_files.WRITTEN))
        return spark_files.named(told.toArrow())


class SparkOnCluster(SparkOnFiles):
    """The same on other machines: ``place`` is a folder that they reach, gone with the engine."""

    def __init__(self, session: SparkSession, place: AnyPath) -> None:
        super().__init__(session)
        self._place = place / uuid.uuid4().hex
        self._numbers = count()
        self._folders: dict[str, AnyPath] = {}
        self._rows: dict[str, int] = {}

    def materialise(self, name: str, sql: str) -> int:
        self._kept(name, self._spark.sql(sql))
        return self._rows[name]

    def number(self, name: str, sql: str, order: str, column: str) -> int:
        ordered = self._spark.sql(f"SELECT * FROM ({sql}) ORDER BY {order}")
        self._kept(name, ordered.zipWithIndex(column))
        return self._rows[name]

    def drop(self, *names: str) -> None:
        super().drop(*names)
        for name in names:
            if name in self._folders:
                files.remove(self._folders.pop(name))

    def close(self) -> None:
        """Remove what was kept, and the copies of dumps."""
        files.remove(self._place)

    def _kept(self, name: str, frame: DataFrame) -> DataFrame:
        folder, schema = self._folder(name), to_arrow_schema(frame.schema)
        return self._put(name, folder, self._to_files(frame, str(folder), schema), schema)

    def _kept_parts(
        self, name: str, parts: Sequence[T], rows_of: Callable[[T], Iterator[pa.RecordBatch]],
        schema: pa.Schema, rows: int,
    ) -> DataFrame:  # fmt: skip
        """The rows are written where they are made, and do not pass through Spark."""
        folder = self._folder(name)
        write = partial(spark_files.write, uri=str(folder), schema=schema)
        told = self._mapped(parts, rows_of, spark_files.WRITTEN, rows, write)
        return self._put(name, folder, spark_files.named(told.toArrow()), schema)

    def _put(
        self, name: str, folder: AnyPath, written: list[DataFile], schema: pa.Schema
    ) -> DataFrame:
        kept = self._of_files(str(folder), written, schema)
        self.drop(name)
        self._folders[name], self._rows[name] = folder, sum(file.rows for file in written)
        kept.createOrReplaceTempView(name)
        return kept

    def _folder(self, name: str) -> AnyPath:
        folder = self._place / f"{next(self._numbers)}-{name}"
        if isinstance(folder, Path):
            folder.mkdir(parents=True)
        return folder

    def _reached(self, parts: list[Input]) -> list[Input]:
        """Each file is copied once to where executors reach it."""
        folder, there = self._folder("dumps"), dict[Path, AnyPath]()
        for path in dict.fromkeys(part.source.path for part in parts if part.table is None):
            there[path] = copy = folder / f"{len(there)}-dump"
            self.copies[str(copy)] = str(path)
            if isinstance(copy, Path):
                shutil.copyfile(path, copy)
            else:
                copy.fs.put_file(str(path), copy.path)

        def moved(part: Input) -> Input:
            # Decoding opens either kind of path, and asks for nothing but its size.
            path = cast(Path, there.get(part.source.path, part.source.path))
            return replace(part, source=replace(part.source, path=path))

        return [moved(part) for part in parts]
