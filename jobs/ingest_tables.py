"""The Spark side of ingest: staged files → what `reviews` and `quarantine` gain, a commit each."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from jobs import spark as spark_job
from jobs.ingest_gain import Gain, distinct, rows_in, write_gain
from jobs.ingest_parse import number_records, parse_lines, read_lines, tally
from jobs.ingest_scan import Scanned, left_lines, scan_here, scan_stretches, stretches
from jobs.ingest_write import Place, commit
from mrl4rec import stage, versions
from mrl4rec.errors import Mrl4recError
from mrl4rec.formats import Layout, SourceFile, Unpacking, can_scan, write_all
from mrl4rec.settings import Settings
from mrl4rec.tables import QUARANTINE, REVIEWS, SOURCES

__all__ = ["Ingested", "Place", "begin", "ingest_files"]

log = logging.getLogger("mrl4rec")


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
    begin(place.settings, layouts.values(), as_of)  # meanwhile clean lines are read without it
    staged = _staged(sources, layouts, folder, Unpacking.of(place.settings))
    versions.restore(place.settings, place.dataset, SOURCES.name, base)
    for table in (REVIEWS, QUARANTINE):
        versions.create(place.settings, place.dataset, table.name)
    if not staged:
        for table in (REVIEWS, QUARANTINE):
            commit(place, table, [])
        total = base.summary["total"] if base else {"users": 0, "items": 0}
        return Ingested(users=total["users"], items=total["items"])
    scanned = _scan(place.settings, staged, as_of, folder)
    spark = spark_job.session(place.settings)
    frames = _strict(spark, staged, scanned, as_of)
    strict = reduce(DataFrame.unionByName, frames).persist() if frames else None
    try:
        found = [stretch for stretches_ in scanned.values() for stretch in stretches_]
        return _write(spark, place, found, strict, sources, layouts, folder)
    finally:
        if strict is not None:
            strict.unpersist()


def _staged(
    sources: Sequence[SourceFile], layouts: Mapping[str, Layout], folder: Path, most: Unpacking
) -> dict[Layout, dict[str, Path]]:
    """The files as one record a line, by layout and digest."""
    wanted = [source for source in sources if layouts[source.sha256].form.syntax != "none"]
    for source in sources:
        name = layouts[source.sha256].form.name
        log.info("reading %s: %s, %.1f MB", source.path, name, source.bytes / 1e6)
    files = [(source, layouts[source.sha256].form) for source in wanted]
    paths = write_all(files, folder, most)
    staged: dict[Layout, dict[str, Path]] = defaultdict(dict)
    for source, path in zip(wanted, paths, strict=True):
        staged[layouts[source.sha256]][source.sha256] = path
    return staged


def begin(settings: Settings, layouts: Iterable[Layout], as_of: datetime) -> None:
    """Start Spark beside what comes before it is needed, and rehearse the strict rules there."""
    forms = {layout for layout in layouts if layout.form.syntax != "none"}
    if forms and spark_job.is_local(settings):
        spark_job.begin(settings, lambda spark: _rehearse(spark, forms, as_of))


def _rehearse(spark: SparkSession, layouts: Iterable[Layout], as_of: datetime) -> None:
    """The strict rules on one line that breaks them."""
    for layout in layouts:
        line = spark.sql("SELECT '{' value, '' source_sha256, 0L block, 0L line_id")
        parsed = parse_lines(line, layout, as_of).persist()
        tally(parsed)
        parsed.unpersist()


def _scan(
    settings: Settings,
    staged: Mapping[Layout, Mapping[str, Path]],
    as_of: datetime,
    folder: Path,
) -> dict[Layout, list[Scanned]]:
    """Stretches whose clean lines are read, by layout; of layouts that can be read so."""
    scanned: dict[Layout, list[Scanned]] = {}
    for number, (layout, paths) in enumerate(staged.items()):
        if can_scan(layout):
            pieces = stretches(paths, folder / f"scan-{number}")
            if spark_job.is_local(settings):
                scanned[layout] = scan_here(pieces, layout, as_of)
            else:
                scanned[layout] = scan_stretches(spark_job.session(settings), pieces, layout, as_of)
    return scanned


def _strict(
    spark: SparkSession,
    staged: Mapping[Layout, Mapping[str, Path]],
    scanned: Mapping[Layout, Sequence[Scanned]],
    as_of: datetime,
) -> list[DataFrame]:
    """All other lines through the strict rules."""
    frames = []
    for layout, paths in staged.items():
        if layout in scanned:
            lines = left_lines(spark, scanned[layout])
        else:
            lines = read_lines(spark, list(paths.values()))
        if lines is not None:
            frames.append(parse_lines(lines, layout, as_of))
    return frames


def _write(
    spark: SparkSession,
    place: Place,
    scanned: Sequence[Scanned],
    strict: DataFrame | None,
    sources: Sequence[SourceFile],
    layouts: Mapping[str, Layout],
    folder: Path,
) -> Ingested:
    counted = tally(strict, [group for found in scanned for group in found.groups()])
    _refuse_changed(sources)
    rules = counted.rules
    total = sum(found.total() for found in rules.values())
    clean = sum(found.rows for found in scanned)
    log.info("parsed %d records, %d of them clean at first sight", total, clean)
    records = number_records(strict, counted) if strict is not None else None
    gain = Gain(spark, place, scanned, records, counted, folder)
    present = rows_in(place)
    gained = write_gain(gain, any(x.form.asin_items for x in layouts.values()))
    new, rows = gained.new, rows_in(place)
    if rows != present + new.total():
        raise Mrl4recError(
            f"reviews has {rows} rows where {present} + {new.total()} were expected",
            where=place.uri(REVIEWS.name),
            todo="something else wrote to the table meanwhile; run it again",
        )
    log.info("reviews: %d new, %d replaced, %d rows in all", new.total(), gained.replaced, rows)
    counts = {sha: _counts(found, new[sha]) for sha, found in rules.items()}
    named = {sha: broken(found) for sha, found in rules.items()}
    notes = _notes(gained.odd, sources, layouts)
    users, items = distinct(place, "user_id", "item_id")
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


def _counts(found: Counter[str | None], accepted: int) -> dict[str, int]:
    return {
        "rows_read": found.total(),
        "rows_accepted": accepted,
        "rows_duplicate": found[None] - accepted,
        "rows_quarantined": found.total() - found[None],
    }


def _notes(
    found: Mapping[str, Mapping[str, int]],
    sources: Sequence[SourceFile],
    layouts: Mapping[str, Layout],
) -> list[str]:
    """What a person should know of these dumps, in the order of the sources."""
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
