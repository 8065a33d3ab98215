"""The Spark side of ingest: staged files → what `reviews` and `quarantine` gain, a commit each."""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import spark as spark_job
from jobs.ingest_merge import (
    KEY,
    REVIEW_COLUMNS,
    changes,
    deduplicate,
    oddities,
)
from jobs.ingest_parse import number_records, parse_lines, read_lines, tally
from mrl4rec import stage, versions
from mrl4rec.errors import Mrl4recError
from mrl4rec.formats import Layout, SourceFile, write_lines
from mrl4rec.settings import Settings
from mrl4rec.tables import QUARANTINE, REVIEWS, SOURCES, Table

log = logging.getLogger("mrl4rec")

ROWS_PER_FILE = 4_000_000
FEW = 2_000
"""Up to so many rows are not worth a Spark write."""
USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


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


@dataclass(frozen=True)
class Ingested:
    """What new sources added. Counts are by digest; ``users`` and ``items`` those of `reviews`."""

    users: int
    items: int
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: Sequence[str] = ()


def ingest_files(
    place: Place,
    base: stage.Commit | None,
    sources: Sequence[SourceFile],
    layouts: Mapping[str, Layout],
    as_of: datetime,
    folder: Path,
) -> Ingested:
    """Write what the sources add to the tables as they were at ``base``.

    Raises Mrl4recError, before anything is written, where a file cannot be read to its end.
    """
    staged: dict[Layout, list[Path]] = defaultdict(list)
    for source in sources:
        layout = layouts[source.sha256]
        log.info("reading %s: %s, %.1f MB", source.path, layout.form.name, source.bytes / 1e6)
        if layout.form.syntax != "none":
            path = write_lines(source, layout.form, folder)
            staged[layout].append(path)
    versions.restore(place.settings, place.dataset, SOURCES.name, base)
    for table in (REVIEWS, QUARANTINE):
        versions.create(place.settings, place.dataset, table.name)
    if not staged:
        for table in (REVIEWS, QUARANTINE):
            _append_few(place, table, table.schema.empty_table())
        total = base.summary["total"] if base else {"users": 0, "items": 0}
        return Ingested(users=total["users"], items=total["items"])
    spark = spark_job.session(place.settings)
    frames = [
        parse_lines(read_lines(spark, paths), layout, as_of) for layout, paths in staged.items()
    ]
    parsed = reduce(DataFrame.unionByName, frames).persist()
    try:
        return _write(spark, place, parsed, sources, layouts)
    finally:
        parsed.unpersist()


def _write(
    spark: SparkSession,
    place: Place,
    parsed: DataFrame,
    sources: Sequence[SourceFile],
    layouts: Mapping[str, Layout],
) -> Ingested:
    counted = tally(parsed)
    _refuse_changed(sources)
    rules = counted.rules
    log.info("parsed %d records", sum(found.total() for found in rules.values()))
    records = number_records(parsed, counted)
    good = records.where(F.col("rule").isNull())
    present = _rows(place)
    table = spark.read.format("delta").load(place.uri(REVIEWS.name)) if present else None
    changed = changes(deduplicate(good), table).persist()
    try:
        new, replaced = _gained(changed)
        _write_quarantine(place, records, sum(sum(broken(f).values()) for f in rules.values()))
        _write_reviews(spark, place, changed, new.total(), replaced)
    finally:
        changed.unpersist()
    if _rows(place) != present + new.total():
        raise Mrl4recError(
            f"reviews has {_rows(place)} rows where {present} + {new.total()} were expected",
            where=place.uri(REVIEWS.name),
            todo="something else wrote to the table meanwhile; run it again",
        )
    log.info("reviews: %d new, %d replaced, %d rows in all", new.total(), replaced, _rows(place))
    counts = {sha: _counts(found, new[sha]) for sha, found in rules.items()}
    named = {sha: broken(found) for sha, found in rules.items()}
    notes = _notes(good, sources, layouts)
    users, items = _distinct(place, "user_id", "item_id")
    return Ingested(users, items, counts, named, notes)


def broken(found: Counter[str | None]) -> dict[str, int]:
    """Records by rule, without those that break none."""
    return {rule: n for rule, n in found.items() if rule is not None}


def _refuse_changed(sources: Sequence[SourceFile]) -> None:
    for source in sources:
        if source.changed():
            raise Mrl4recError(
                "the file changed while it was read", where=str(source.path), todo="run it again"
            )


def _gained(changed: DataFrame) -> tuple[Counter[str], int]:
    """Rows that are new, by source, and how many replace one that is there."""
    new: Counter[str] = Counter()
    replaced = 0
    for row in changed.groupBy("source_sha256", "is_new").agg(F.count("*").alias("n")).collect():
        if row["is_new"]:
            new[row["source_sha256"]] = row["n"]
        else:
            replaced += row["n"]
    return new, replaced


def _rows(place: Place) -> int:
    return versions.create(place.settings, place.dataset, REVIEWS.name).count()


def _counts(found: Counter[str | None], accepted: int) -> dict[str, int]:
    return {
        "rows_read": found.total(),
        "rows_accepted": accepted,
        "rows_duplicate": found[None] - accepted,
        "rows_quarantined": found.total() - found[None],
    }


def _write_quarantine(place: Place, records: DataFrame, rows: int) -> None:
    bad = records.where(F.col("rule").isNotNull()).select(*QUARANTINE.columns)
    if rows > FEW:
        _append(place, QUARANTINE, bad, rows)
        return
    few = bad.toArrow().cast(QUARANTINE.schema) if rows else QUARANTINE.schema.empty_table()
    _append_few(place, QUARANTINE, few)


def _write_reviews(
    spark: SparkSession, place: Place, changed: DataFrame, new: int, replaced: int
) -> None:
    rows = changed.select(*REVIEW_COLUMNS)
    if not replaced:
        if new:
            _append(place, REVIEWS, rows, new)
        else:
            _append_few(place, REVIEWS, REVIEWS.schema.empty_table())
        return
    from delta.tables import DeltaTable

    same = " AND ".join(f"old.{name} <=> new.{name}" for name in KEY)
    spark.conf.set(USER_METADATA, place.metadata(REVIEWS.name))
    try:
        table = DeltaTable.forPath(spark, place.uri(REVIEWS.name)).alias("old")
        merge = table.merge(rows.alias("new"), same)
        merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
    finally:
        spark.conf.unset(USER_METADATA)


def _append(place: Place, table: Table, frame: DataFrame, rows: int) -> None:
    """One commit with few even files; where a row lands depends on the row alone."""
    even = frame.select(*table.columns)
    files = -(-rows // ROWS_PER_FILE)
    even = even.repartition(files, "source_sha256", "record_no") if files > 1 else even.coalesce(1)
    writer = even.write.format("delta").mode("append")
    writer.option("userMetadata", place.metadata(table.name)).save(place.uri(table.name))


def _append_few(place: Place, table: Table, rows: pa.Table) -> None:
    """A commit of a few rows or none: each run has versions of its own, which the gate judges."""
    write_deltalake(
        place.uri(table.name),
        rows,
        mode="append",
        commit_properties=stage.properties(place.metadata(table.name)),
    )


def _distinct(place: Place, *columns: str) -> tuple[int, ...]:
    """How many different values each column of `reviews` has; memory grows with these alone."""
    reviews = versions.create(place.settings, place.dataset, REVIEWS.name).to_pyarrow_dataset()
    found = {name: pa.array([], pa.string()) for name in columns}
    for batch in reviews.to_batches(columns=list(columns), batch_size=1 << 20):
        for name in columns:
            both = pa.chunked_array([found[name], batch.column(name).cast(pa.string())])
            found[name] = both.unique()
    return tuple(len(values) for values in found.values())


def _notes(
    good: DataFrame, sources: Sequence[SourceFile], layouts: Mapping[str, Layout]
) -> list[str]:
    """What a person should know of these dumps, in the order of the sources."""
    found = {row["source_sha256"]: row for row in oddities(good).collect()}
    notes = []
    for source in sources:
        form = layouts[source.sha256].form
        if form.syntax == "none":
            notes.append(f"{source.path}: an empty file, no record in it")
        if (odd := found.get(source.sha256)) is None:
            continue
        if odd["repeated"]:
            notes.append(
                f"{source.path}: {odd['repeated']:,} rows repeat a (user, item) pair of this file"
            )
        if form.asin_items and odd["short_ids"]:
            notes.append(
                f"{source.path}: {odd['short_ids']:,} numeric item ids ({odd['short_rows']:,} rows)"
                " are shorter than 10 digits: a spreadsheet may have cut their leading zeros"
            )
    return notes
