"""Rows of the table ``drift``: written once an ingest, read for the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from mrl4rec.checks.drift.measure import Drift
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit, canonical
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.tables.drift import DRIFT
from mrl4rec.tables.store import commit_rows

JSON = ("portrait", "before", "change")


def record(settings: Settings, dataset: str, drift: Drift) -> None:
    """Keep what was measured; the same ingest measured again takes its own place."""
    read = max(1, drift.counts("rows_read"))
    row = {
        "ingest_key": drift.ingest.key,
        "reviews_version": drift.ingest.table_version("reviews"),
        "paths": [row["path"] for row in drift.sources],
        "source_sha256": [row["source_sha256"] for row in drift.sources],
        "rows_read": drift.counts("rows_read"),
        "duplicate_share": drift.counts("rows_duplicate") / read,
        "quarantined_share": drift.counts("rows_quarantined") / read,
        "rows": drift.dump.rows,
        "users": drift.dump.users,
        "items": drift.dump.items,
        "first": drift.dump.first,
        "last": drift.dump.last,
        "judged": drift.judged,
        "champion_auc": drift.taste.auc if drift.taste else None,
        "auc_pairs": drift.taste.pairs if drift.taste else 0,
        "portrait": canonical(asdict(drift.dump)),
        "before": canonical(asdict(drift.before)),
        "change": canonical(asdict(drift.change)),
    }
    rows_ = pa.Table.from_pylist([row], schema=DRIFT.schema)
    commit_rows(settings.storage.table_uri(dataset, DRIFT.name), DRIFT, rows_)


def rows(settings: Settings, dataset: str) -> list[dict[str, Any]]:
    """Every dump that was measured, oldest first; the JSON columns as values."""
    delta = open_table(settings.storage.table_uri(dataset, DRIFT.name))
    found = read_table(delta).to_pylist() if delta else []
    found = [{**row, **{name: json.loads(row[name]) for name in JSON}} for row in found]
    return sorted(found, key=lambda row: row["reviews_version"])


def known(settings: Settings, dataset: str, ingest: Commit) -> Mapping[str, Any] | None:
    """What was measured of this ingest, or None."""
    return next((r for r in rows(settings, dataset) if r["ingest_key"] == ingest.key), None)
