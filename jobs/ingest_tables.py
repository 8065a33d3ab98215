"""The Spark side of ingest: staged files → what `reviews` and `quarantine` gain, a commit each."""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any

from deltalake import write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import spark as spark_job
from jobs.ingest_merge import (
    KEY,
    REVIEW_COLUMNS,
    changes,
    deduplicate,
    repeated_pairs,
    short_numbers,
)
from jobs.ingest_parse import collect_blocks, number_records, parse_lines, read_lines
from mrl4rec import stage, versions
from mrl4rec.errors import Mrl4recError
from mrl4rec.formats import Layout, SourceFile, write_lines
from mrl4rec.settings import Settings
from mrl4rec.tables import QUARANTINE, REVIEWS, SOURCES, Table

log = logging.getLogger("mrl4rec")

ROWS_PER_FILE = 4_000_000
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
            staged[replace(layout, header_line=None)].append(path)
    versions.restore(place.settings, place.dataset, SOURCES.name, base)
    for table in (REVIEWS, QUARANTINE):
        versions.create(place.settings, place.dataset, table.name)
    if not staged:
        for table in (REVIEWS, QUARANTINE):
            _append_nothing(place, table)
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
    blocks = collect_blocks(parsed)
    _refuse_changed(sources)
    log.info("parsed %d lines", sum(block.lines for block in blocks))
    records = number_records(parsed, blocks, {sha: x.header_line for sha, x in layouts.items()})
    good = records.where(F.col("rule").isNull())
    rules = _rules(records)
    present = versions.create(place.settings, place.dataset, REVIEWS.name).count()
    table = spark.read.format("delta").load(place.uri(REVIEWS.name)) if present else None
    changed = changes(deduplicate(good), table).persist()
    try:
        gained = _gained(changed)
        new, replaced = gained["new"], gained["replaced"]
        _write_quarantine(place, records, rules)
        _write_reviews(spark, place, changed, sum(new.values()), sum(replaced.values()))
    finally:
        changed.unpersist()
    counts = {
        source.sha256: _counts(rules[source.sha256], new[source.sha256]) for source in sources
    }
    after = versions.create(place.settings, place.dataset, REVIEWS.name).count()
    if after != present + sum(new.values()):
        raise Mrl4recError(
            f"reviews has {after} rows where {present} + {sum(new.values())} were expected",
            where=place.uri(REVIEWS.name),
            todo="something else wrote to the table meanwhile; run it again",
        )
    log.info("reviews: %d new, %d rows in all", sum(new.values()), after)
    users, items = _sizes(spark, place)
    named = {sha: {r: n for r, n in found.items() if r is not None} for sha, found in rules.items()}
    return Ingested(users, items, counts, named, _notes(good, sources, layouts))


def _refuse_changed(sources: Sequence[SourceFile]) -> None:
    for source in sources:
        if source.changed():
            raise Mrl4recError(
                "the file changed while it was read", where=str(source.path), todo="run it again"
            )


def _rules(records: DataFrame) -> dict[str, Counter[str | None]]:
    """Records by source and rule broken (None: none)."""
    found: dict[str, Counter[str | None]] = defaultdict(Counter)
    for row in records.groupBy("source_sha256", "rule").count().collect():
        found[row["source_sha256"]][row["rule"]] = row["count"]
    return found


def _gained(changed: DataFrame) -> dict[str, Counter[str]]:
    gained: dict[str, Counter[str]] = {"new": Counter(), "replaced": Counter()}
    for row in changed.groupBy("source_sha256", "is_new").count().collect():
        gained["new" if row["is_new"] else "replaced"][row["source_sha256"]] = row["count"]
    return gained


def _counts(found: Counter[str | None], accepted: int) -> dict[str, int]:
    return {
        "rows_read": found.total(),
        "rows_accepted": accepted,
        "rows_duplicate": found[None] - accepted,
        "rows_quarantined": found.total() - found[None],
    }


def _write_quarantine(
    place: Place, records: DataFrame, rules: Mapping[str, Counter[str | None]]
) -> None:
    broken = sum(found.total() - found[None] for found in rules.values())
    if broken:
        _append(place, QUARANTINE, records.where(F.col("rule").isNotNull()), broken)
    else:
        _append_nothing(place, QUARANTINE)


def _write_reviews(
    spark: SparkSession, place: Place, changed: DataFrame, new: int, replaced: int
) -> None:
    rows = changed.select(*REVIEW_COLUMNS)
    if not replaced:
        if new:
            _append(place, REVIEWS, rows, new)
        else:
            _append_nothing(place, REVIEWS)
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


def _append_nothing(place: Place, table: Table) -> None:
    """A commit without rows: each run has versions of its own, which the gate can judge."""
    write_deltalake(
        place.uri(table.name),
        table.schema.empty_table(),
        mode="append",
        commit_properties=stage.properties(place.metadata(table.name)),
    )


def _sizes(spark: SparkSession, place: Place) -> tuple[int, int]:
    reviews = spark.read.format("delta").load(place.uri(REVIEWS.name))
    row: Any = reviews.agg(
        F.count_distinct("user_id").alias("users"), F.count_distinct("item_id").alias("items")
    ).first()
    return row["users"], row["items"]


def _notes(
    good: DataFrame, sources: Sequence[SourceFile], layouts: Mapping[str, Layout]
) -> list[str]:
    """What a person should know of these dumps, in the order of the sources."""
    repeated = {row["source_sha256"]: row["repeated"] for row in repeated_pairs(good).collect()}
    asins = [s.sha256 for s in sources if layouts[s.sha256].form.asin_items]
    cut = {}
    if asins:
        found = short_numbers(good.where(F.col("source_sha256").isin(asins)))
        cut = {row["source_sha256"]: row for row in found.collect()}
    notes = []
    for source in sources:
        if layouts[source.sha256].form.syntax == "none":
            notes.append(f"{source.path}: an empty file, no record in it")
        if number := repeated.get(source.sha256):
            notes.append(
                f"{source.path}: {number:,} rows repeat a (user, item) pair of the same file"
            )
        if row := cut.get(source.sha256):
            notes.append(
                f"{source.path}: {row['ids']:,} numeric item ids ({row['rows']:,} rows) are "
                "shorter than 10 digits: a spreadsheet may have cut their leading zeros"
            )
    return notes
