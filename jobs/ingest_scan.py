"""Clean lines by a compiled loop, in threads or Spark's workers; the lines left are for Spark.

Each task opens its stretch of the file itself, and leaves Arrow files beside it: the text crosses
no process border, and only counts come back. Measured on JSON lines: a sixth of the CPU of
``from_json`` and the rules as expressions. Where Spark is local the tasks are threads of this
process (the loop holds no lock): half the time of workers that must be started, and they need not
wait for the session.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.ingest_parse import BLANK, EARLIEST, Group
from mrl4rec.formats import Layout

if TYPE_CHECKING:
    from mrl4rec.formats.scan import Scanner

STRETCH = 16 << 20
"""Bytes of text that a task reads at a time; a worker holds about three times as much."""
TASKS_A_CORE = 4
FEW_LEFT = 200_000
"""Lines left that are put into few files."""


@dataclass(frozen=True)
class Stretch:
    """A stretch of a staged file, and what its scan leaves."""

    number: int
    source_sha256: str
    path: str
    start: int
    end: int
    folder: str

    @property
    def rows_path(self) -> str:
        """The clean records, an Arrow file."""
        return f"{self.folder}/{self.number:06d}.arrow"

    @property
    def left_path(self) -> str:
        """The lines that are left, Parquet; not there where none is."""
        return f"{self.folder}/left/{self.number:06d}.parquet"


@dataclass(frozen=True)
class Scanned:
    """A stretch that was read."""

    stretch: Stretch
    rows: int
    """Clean records."""
    left: int
    """Lines for the strict rules."""
    blank: int

    def groups(self) -> list[Group]:
        """Its counted lines, but for those that are left."""
        place = (self.stretch.source_sha256, self.stretch.start)
        # First line 0, also where no line is blank: all of the stretch is numbered from there.
        found = [Group(*place, BLANK, False, self.blank, 0)]
        return found + ([Group(*place, None, True, self.rows, 0)] if self.rows else [])


def stretches(staged: Mapping[str, Path], folder: Path) -> list[Stretch]:
    """Cut staged files (by digest) into stretches; they leave their files in ``folder``."""
    (folder / "left").mkdir(parents=True, exist_ok=True)
    found: list[Stretch] = []
    for sha, path in staged.items():
        size = path.stat().st_size
        for start in range(0, size, STRETCH):
            end = min(start + STRETCH, size)
            found.append(Stretch(len(found), sha, str(path), start, end, str(folder)))
    return found


def scan_here(pieces: Sequence[Stretch], layout: Layout, as_of: datetime) -> list[Scanned]:
    """Read all stretches in threads of this process, one a core, and write what they hold."""
    own = threading.local()  # a scanner keeps its memory from stretch to stretch

    def read(piece: Stretch) -> Scanned:
        if not hasattr(own, "scanner"):
            own.scanner = _scanner(layout, as_of)
        row = _read(piece, own.scanner)
        return Scanned(piece, *(row.column(n)[0].as_py() for n in (1, 2, 3)))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(read, pieces))


def scan_stretches(
    spark: SparkSession, pieces: Sequence[Stretch], layout: Layout, as_of: datetime
) -> list[Scanned]:
    """Read all stretches in Spark's workers, and write what they hold."""

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scanner = _scanner(layout, as_of)
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield _read(pieces[number], scanner)

    parts = min(len(pieces), TASKS_A_CORE * spark.sparkContext.defaultParallelism)
    numbers = spark.range(0, len(pieces), 1, parts)
    found = numbers.mapInArrow(read, "number BIGINT, `rows` BIGINT, left BIGINT, blank BIGINT")
    return sorted(
        (Scanned(pieces[row[0]], *row[1:]) for row in found.collect()),
        key=lambda scanned: scanned.stretch.number,
    )


def _scanner(layout: Layout, as_of: datetime) -> Scanner:
    # A driver that finds everything done needs no compiler.
    from mrl4rec.formats.scan import Limits, Scanner

    unit = 1e3 if layout.form.time_unit == "ms" else 1.0
    low, high = layout.form.rating_range or (0.0, 0.0)
    limits = Limits(low, high, EARLIEST.timestamp() * unit, as_of.timestamp() * unit)
    return Scanner(layout.form, limits)


def _read(piece: Stretch, scanner: Scanner) -> pa.RecordBatch:
    found = scanner.scan(Path(piece.path), piece.start, piece.end)
    with pa.ipc.new_file(piece.rows_path, found.rows.schema) as out:
        out.write_table(found.rows)
    if found.left.num_rows:
        rows = found.left.num_rows
        place = {"source_sha256": [piece.source_sha256] * rows, "block": [piece.start] * rows}
        lines = {"value": found.left["value"], **place, "line_id": found.left["line"]}
        pq.write_table(pa.table(lines), piece.left_path)
    counts = [piece.number, found.rows.num_rows, found.left.num_rows, found.blank]
    names = ["number", "rows", "left", "blank"]
    return pa.RecordBatch.from_arrays([pa.array([n]) for n in counts], names)


def left_lines(spark: SparkSession, scanned: Sequence[Scanned]) -> DataFrame | None:
    """The lines that no scan took, as ``read_lines`` gives them; None where there is none."""
    paths = [found.stretch.left_path for found in scanned if found.left]
    if not paths:
        return None
    if sum(found.left for found in scanned) <= FEW_LEFT:
        paths = _together(paths, spark.sparkContext.defaultParallelism)
    schema = "value BINARY, source_sha256 STRING, block BIGINT, line_id BIGINT"
    left = spark.read.schema(schema).parquet(*paths)
    return left.withColumn("value", F.col("value").cast("string"))  # the same bytes, good or bad


def _together(paths: Sequence[str], cores: int) -> list[str]:
    """The same lines in as many files as there are cores: opening a file costs Spark more."""
    lines = pa.concat_tables(pq.read_table(path) for path in paths)
    each = -(-lines.num_rows // cores)
    made = []
    for number, start in enumerate(range(0, lines.num_rows, each)):
        made.append(str(Path(paths[0]).with_name(f"together-{number}.parquet")))
        pq.write_table(lines.slice(start, each), made[-1])
    return made
