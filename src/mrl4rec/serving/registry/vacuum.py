"""Removing files that no version needs which somebody may still have to read.

Kept are the newest version of each table, the newest good one, and all that a champion was made
from: the present one, and those of the last days. What was replaced in these days stays too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from mrl4rec.core import stage
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.files import inside
from mrl4rec.core.locks import locked
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import open_table, table_at
from mrl4rec.models import model_folder
from mrl4rec.serving.registry import ledger, recommendations
from mrl4rec.serving.registry.ledger import Entry
from mrl4rec.tables import versions

TABLES = (
    "reviews",
    "quarantine",
    "sources",
    "users",
    "items",
    "interactions",
    "splits",
    "sequences",
    "sequence_splits",
    recommendations.NAME,
)
"""Tables that grow with the dump; the others are small, and the ledger keeps all it ever had."""
MOST_DAYS = 100_000
KEEP_DAYS = 30.0
ORPHAN_DAYS = 1.0
"""Files no commit names are a killed writer's, once they are so old; younger, a living one's."""

log = logging.getLogger("mrl4rec.serving.registry")


@dataclass(frozen=True)
class Swept:
    """What was removed from one table, or would be."""

    table: str
    files: int
    bytes: int
    kept: tuple[int, ...]
    """Versions that can be read afterwards, besides the newest."""


def vacuum(
    settings: Settings, dataset: str, *, keep_days: float = KEEP_DAYS, dry_run: bool = False
) -> list[Swept]:
    """Remove what nobody needs; one entry a table there is.

    Waits for a retraining that is going on, unless nothing is removed. Raises UsageError for a
    negative number of days, Mrl4recError where the ledger is damaged: then it is not known what a
    champion needs.
    """
    if not 0 <= keep_days <= MOST_DAYS:  # nan is neither
        raise UsageError(f"--keep-days is {keep_days:g}", todo=f"give 0 to {MOST_DAYS:,}")
    with ExitStack() as stack:
        for name in () if dry_run else ("retrain", "registry"):  # a lock is a file that is written
            stack.enter_context(locked(settings.storage.lock_file(dataset, name)))
        kept = needed(settings, dataset, keep_days)
        return [
            _sweep(settings, dataset, table, sorted(kept.get(table, ())), keep_days, dry_run)
            for table in TABLES
            if open_table(settings.storage.table_uri(dataset, table)) is not None
        ]


def needed(settings: Settings, dataset: str, keep_days: float) -> dict[str, set[int]]:
    """The versions of each table that must stay readable, besides the newest."""
    rows = ledger.entries(settings, dataset)
    champions = _champions(rows, datetime.now(UTC) - timedelta(days=keep_days))
    found: dict[str, set[int]] = {}
    for commit in _commits(settings, dataset, rows, champions):
        for table, number in {commit.table: commit.version, **commit.outputs}.items():
            found.setdefault(table, set()).add(number)
    return found


def _champions(rows: Sequence[Entry], since: datetime) -> set[str]:
    """The models that were champion at any time since then."""
    reigns = ledger.reigns(rows)
    return {r.champion for r in reigns if r.champion and (r.until is None or r.until >= since)}


def _commits(
    settings: Settings, dataset: str, rows: Sequence[Entry], champions: set[str]
) -> Iterator[Commit]:
    for marker in versions.OUTPUTS:
        newest = versions.newest_good(settings, dataset, marker)
        if newest is not None:
            yield newest
    splits, cores = (_history(settings, dataset, name) for name in ("splits", "interactions"))
    for made in _made_from(settings, dataset, rows, champions):
        split = next((c for c in splits if c.key == made.get("split_key")), None)
        tables = {t: int(v) for t, v in made.items() if t in TABLES}
        if split is not None:
            yield split
            tables = {**tables, **split.outputs}
        core = next((c for c in cores if c.version == tables.get("interactions")), None)
        if core is not None:
            yield core
            yield from _ingest_of(settings, dataset, core)
        for table, number in tables.items():  # where the log does not tell, the card does
            yield Commit("", "", table, number)
    seen: set[str] = set()
    for commit in _history(settings, dataset, recommendations.NAME):
        model = commit.summary["model"]
        if model in champions and model not in seen:
            seen.add(model)
            yield commit


def _made_from(
    settings: Settings, dataset: str, rows: Sequence[Entry], champions: set[str]
) -> Iterator[dict[str, Any]]:
    """What ledger and card say that the champions were made from."""
    for row in rows:
        if row.changes and row.champion in champions:
            yield dict(row.versions)
    for key in champions:
        try:
            folder = settings.storage.model_dir(dataset, key)
            yield model_folder.read_card(folder).versions
        except Mrl4recError:  # gone: the ledger's word has to do
            continue


def _ingest_of(settings: Settings, dataset: str, core: Commit) -> Iterator[Commit]:
    """The ingest that a core was made from: the newest before it."""
    ingests = _history(settings, dataset, "sources")
    made = _times(settings, dataset, "interactions").get(core.version, 0)
    times = _times(settings, dataset, "sources")
    yield from [c for c in ingests if times.get(c.version, 0) <= made][:1]


def _history(settings: Settings, dataset: str, table: str) -> list[Commit]:
    return stage.history(settings.storage.table_uri(dataset, table), table)


def _times(settings: Settings, dataset: str, table: str) -> dict[int, int]:
    """Milliseconds since 1970 of each version of a table."""
    entries = stage.log_entries(settings.storage.table_uri(dataset, table))
    return {int(e["version"]): int(e.get("timestamp", 0)) for e in entries}


def _sweep(
    settings: Settings, dataset: str, table: str, kept: list[int], keep_days: float, dry_run: bool
) -> Swept:
    uri = settings.storage.table_uri(dataset, table)
    delta = table_at(uri)
    gone = [version for version in kept if not versions.readable(settings, dataset, table, version)]
    if gone:
        log.warning("%s: versions %s, which a champion was made from, cannot be read any more",
                    uri, ", ".join(map(str, gone)))  # fmt: skip
    kept = [version for version in kept if version not in gone]

    def sweep(*, dry: bool) -> list[str]:
        names = delta.vacuum(
            retention_hours=round(keep_days * 24),
            dry_run=dry,
            enforce_retention_duration=False,  # the table's own is ten years: the history is kept
            full=keep_days >= ORPHAN_DAYS,
            keep_versions=kept,
        )
        return [unquote(name) for name in names]

    # delta-rs names files too that an earlier vacuum removed.
    there = inside(settings.storage.dataset_dir(dataset) / table, "**/*")
    sizes = [there[name][0] for name in sweep(dry=True) if name in there]
    if sizes and not dry_run:
        sweep(dry=False)
    return Swept(table, len(sizes), sum(sizes), tuple(kept))
