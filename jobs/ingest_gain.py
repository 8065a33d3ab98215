"""What `reviews` and `quarantine` gain: clean rows as they were read, all others compared first."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.ingest_compare import MOST, compare, rows_of
from jobs.ingest_merge import KEY, PLACE, REVIEW_COLUMNS, changes, deduplicate, oddities
from jobs.ingest_pairs import Hashes, Piece, divide
from jobs.ingest_parse import Tally
from jobs.ingest_scan import Scanned
from jobs.ingest_write import ROW_GROUP, ROWS_PER_FILE, Place, commit, move_in, write_pieces
from mrl4rec import lease, versions
from mrl4rec.tables import QUARANTINE, REVIEWS

USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"
PIECE_ROWS = 500_000
"""Rows of a file that Spark leaves for the workers to write on: they hold one at a time."""


@dataclass(frozen=True)
class Gain:
    """All lines of the new sources, read and counted."""

    spark: SparkSession
    place: Place
    scanned: Sequence[Scanned]
    """Stretches with their clean rows."""
    records: DataFrame | None
    """All other records, through the strict rules and numbered; None where there is none."""
    counted: Tally
    folder: Path

    @property
    def broken(self) -> int:
        """Records that break a rule."""
        return sum(n for found in self.counted.rules.values() for r, n in found.items() if r)

    def strict(self) -> DataFrame | None:
        """Good rows that the strict rules let through; None where there is none."""
        clean = sum(found.rows for found in self.scanned)
        if self.records is None or sum(x[None] for x in self.counted.rules.values()) == clean:
            return None
        return self.records.where(F.col("rule").isNull()).select(*REVIEW_COLUMNS)

    def table(self) -> DataFrame | None:
        """`reviews` as it is; None where it is empty."""
        if not rows_in(self.place):
            return None
        return self.spark.read.format("delta").load(self.place.uri(REVIEWS.name))

    def pairs(self, frame: DataFrame, name: str) -> Hashes:
        """The numbers of a frame's (user, item) pairs."""
        path = self.folder / f"pairs-{name}"
        frame.select(F.xxhash64("user_id", "item_id").alias("pair")).write.parquet(str(path))
        return pq.read_table(path)["pair"].to_numpy()


@dataclass(frozen=True)
class Gained:
    """What `reviews` gained."""

    new: Counter[str]
    """New rows by source."""
    replaced: int
    """Rows of the table that gave way to smaller ones."""
    odd: Mapping[str, Mapping[str, int]]
    """What ``oddities`` counts, by source; not there where there is nothing odd."""


def write_gain(gain: Gain, short_ids: bool) -> Gained:
    """Write both tables. With ``short_ids`` rows with short item ids count as odd."""
    strict = gain.strict()
    with ThreadPoolExecutor(1) as beside:  # what is broken is written while the rest is compared
        quarantined = beside.submit(_write_quarantine, gain)
        alone, files = _divide(gain, strict, short_ids)
        quarantined.result()
    new: Counter[str] = Counter()
    for piece in alone:
        new[str(piece.source_sha256)] += piece.rows
    replaced = 0
    compared, odd = _compared(gain, strict, files)
    if compared:
        gained, replaced = _gained(compared)
        new += gained
        if replaced:
            _merge(gain, compared)
        else:
            alone += [Piece(str(path), pq.read_metadata(path).num_rows) for path in compared]
    if alone or not replaced:
        uri = gain.place.uri(REVIEWS.name)
        written = write_pieces(gain.spark, alone, REVIEWS, uri, gain.place.settings)
        commit(gain.place, REVIEWS, written)
    return Gained(new, replaced, {row["source_sha256"]: row for row in odd})


def _divide(
    gain: Gain, strict: DataFrame | None, short_ids: bool
) -> tuple[list[Piece], list[Path]]:
    """Clean rows that are alone with their (user, item), here and in the table; and all others."""
    if not any(found.rows for found in gain.scanned):
        return [], []
    elsewhere = {"strict": strict, "table": gain.table()}
    others = [gain.pairs(frame, name) for name, frame in elsewhere.items() if frame is not None]
    folder = gain.folder / "doubtful"
    return divide(gain.scanned, others, gain.counted.shifts, short_ids, folder)


def _compared(
    gain: Gain, strict: DataFrame | None, files: Sequence[Path]
) -> tuple[list[Path], Sequence[Mapping[str, Any]]]:
    """Of the rows in ``files`` and the strict ones those that alter the table, in Parquet files;
    and what is odd about all of them.
    """
    if strict is None and not files:
        return [], []
    folder, table = gain.folder / "changed", gain.table()
    if strict is None and table is None and rows_of(files) <= MOST:
        rows, odd = compare(files)
        folder.mkdir()
        found = rows.append_column("is_new", pa.repeat(pa.scalar(True), rows.num_rows))
        pq.write_table(found, folder / "rows.parquet", store_schema=False)
        return [folder / "rows.parquet"], odd
    frames = [gain.spark.read.parquet(*map(str, files)).select(*REVIEW_COLUMNS)] if files else []
    doubtful = reduce(DataFrame.unionByName, frames if strict is None else [*frames, strict])
    if table is not None:
        here = doubtful.select("user_id", "item_id").distinct()
        table = table.join(here, ["user_id", "item_id"], "left_semi")
    writer = changes(deduplicate(doubtful), table).write.option("maxRecordsPerFile", PIECE_ROWS)
    writer.parquet(str(folder))
    odd = [row.asDict() for row in oddities(doubtful).collect()]
    return sorted(folder.glob("*.parquet")), odd


def _gained(files: Sequence[Path]) -> tuple[Counter[str], int]:
    """Rows that are new, by source, and how many replace one that is there."""
    new: Counter[str] = Counter()
    replaced = 0
    for path in files:
        rows = pq.read_table(path, columns=["source_sha256", "is_new"])
        fresh = rows.filter(rows["is_new"])
        replaced += rows.num_rows - fresh.num_rows
        for found in pc.value_counts(fresh["source_sha256"]).to_pylist():
            new[found["values"]] += found["counts"]
    return new, replaced


def rows_in(place: Place) -> int:
    """Rows of `reviews`, as its log tells."""
    return versions.create(place.settings, place.dataset, REVIEWS.name).count()


def _write_quarantine(gain: Gain) -> None:
    files: list[tuple[str, int]] = []
    if gain.broken and gain.records is not None:
        bad = gain.records.where(F.col("rule").isNotNull()).select(*QUARANTINE.columns)
        parts = -(-gain.broken // ROWS_PER_FILE)
        # Where a row lands depends on the row alone.
        bad = bad.repartition(parts, *PLACE) if parts > 1 else bad.coalesce(1)
        folder = gain.folder / "quarantine"
        bad.write.parquet(str(folder))
        files = move_in(sorted(folder.glob("*.parquet")), gain.place.uri(QUARANTINE.name))
    commit(gain.place, QUARANTINE, files)


def _merge(gain: Gain, files: Sequence[Path]) -> None:
    from delta.tables import DeltaTable

    place = gain.place
    rows = gain.spark.read.parquet(*map(str, files)).select(*REVIEW_COLUMNS)
    same = " AND ".join(f"old.{name} <=> new.{name}" for name in KEY)
    gain.spark.conf.set(USER_METADATA, place.metadata(REVIEWS.name))
    try:
        table = DeltaTable.forPath(gain.spark, place.uri(REVIEWS.name)).alias("old")
        lease.confirm()
        merge = table.merge(rows.alias("new"), same)
        merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
    finally:
        gain.spark.conf.unset(USER_METADATA)


def distinct(place: Place, *columns: str) -> tuple[int, ...]:
    """How many different values each column of `reviews` has; memory grows with these alone."""
    reviews = versions.create(place.settings, place.dataset, REVIEWS.name)
    paths = [unquote(urlparse(uri).path) for uri in reviews.file_uris()]
    asked = [(path, name) for name in columns for path in paths]
    found = {name: _Values() for name in columns}
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding and comparing hold no lock
        for (_, name), values in zip(asked, pool.map(lambda a: _different(*a), asked), strict=True):
            found[name].add(values)
        return tuple(pool.map(lambda name: found[name].count(), columns))


def _different(path: str, column: str) -> pa.Array:
    """The different values of a column of a file."""
    found = _Values()
    # Ids that are stored as numbers into a list are read so: the lists are compared, no row is.
    with pq.ParquetFile(path, read_dictionary=[column]) as file:
        for group in range(file.num_row_groups):
            for part in file.read_row_group(group, [column], use_threads=False)[column].chunks:
                found.add(part.unique().dictionary_decode())
    return found.values()


class _Values:
    """Different values, gathered; compared when they have doubled, not each time."""

    def __init__(self) -> None:
        self._arrays: list[pa.Array] = []
        self._known = 0

    def add(self, values: pa.Array) -> None:
        self._arrays.append(values)
        if sum(map(len, self._arrays)) > 2 * self._known + ROW_GROUP:
            self.count()

    def count(self) -> int:
        return len(self.values())

    def values(self) -> pa.Array:
        if not self._arrays:
            return pa.array([], pa.string())
        self._arrays = [pa.chunked_array(self._arrays).unique()]
        self._known = len(self._arrays[0])
        return self._arrays[0]
