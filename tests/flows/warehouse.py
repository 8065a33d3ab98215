"""A small warehouse as the first three stages leave it, written without a JVM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from mrl4rec.core import stage
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.tables import TABLES
from mrl4rec.tables.table import DELTA_PROPERTIES

DATASET = "d"
USERS, ITEMS = 20, 5
DAY = datetime(2013, 5, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Stages:
    """The commits of ingest, kcore and split."""

    ingest: Commit
    core: Commit
    split: Commit


def build(settings: Settings) -> Stages:
    """20 users by 5 items, all pairs: k = 5 holds; 72 train, 8 valid, 20 test; one bad record."""
    pairs = [(user, item) for user in range(USERS) for item in range(ITEMS)]
    times = [DAY + timedelta(days=n) for n in range(len(pairs))]
    ids = {"user_id": [f"u{u}" for u, _ in pairs], "item_id": [f"i{i}" for _, i in pairs]}
    numbers = {"user_idx": [u for u, _ in pairs], "item_idx": [i for _, i in pairs]}
    n = len(pairs)
    place = {"source_sha256": ["a"] * n, "record_no": list(range(n))}
    write(settings, "reviews", ids | {"rating": [4.0] * n, "reviewed_at": times} | place)
    write(settings, "quarantine", {
        "source_sha256": ["a"], "record_no": [n], "record": ["{"], "rule": ["not_json"],
        "detail": [None],
    })  # fmt: skip
    counts = {"rows_read": n + 1, "rows_accepted": n, "rows_duplicate": 0, "rows_quarantined": 1}
    ingest = marker(
        settings,
        Commit("ingest", "k1", "sources", -1, {"reviews": 0, "quarantine": 0},
               {"total": counts, "as_of": "2014-07-23T00:00:00+00:00"}),
        {"source_sha256": ["a"], "source_no": [0], "path": ["a.json"], "bytes": [1],
         "format": ["amazon-2014-json"], "mapping": [None],
         **{name: [count] for name, count in counts.items()}},
    )  # fmt: skip
    for side, size in (("user", USERS), ("item", ITEMS)):
        write(settings, f"{side}s", {
            f"{side}_idx": list(range(size)), f"{side}_id": [f"{side[0]}{m}" for m in range(size)],
        })  # fmt: skip
    told = {"interactions": n, "users": USERS, "items": ITEMS, "rounds": 0, "k": 5}
    core = marker(
        settings,
        Commit("kcore", "k2", "interactions", -1, {"users": 0, "items": 0}, told),
        numbers | {"reviewed_at": times},
    )
    folds = ["train"] * 72 + ["valid"] * 8 + ["test"] * 20
    told = {"train": 72, "valid": 8, "test": 20, "strategy": "random", "split_seed": 0,
            "asked": {"test": 0.2, "valid": 0.1}, "test_users": 4}  # fmt: skip
    outputs = {"interactions": 0, "users": 0, "items": 0}
    split = marker(
        settings,
        Commit("split", "k3", "splits", -1, outputs, told),
        numbers | {"reviewed_at": times, "fold": folds, "strategy": ["random"] * n,
                   "split_seed": [0] * n},
    )  # fmt: skip
    return Stages(ingest, core, split)


def write(settings: Settings, table: str, rows: dict[str, Any], metadata: str | None = None) -> int:
    """Append rows, as a stage where there is metadata and by hand where there is none."""
    uri = settings.storage.table_uri(DATASET, table)
    write_deltalake(
        uri,
        pa.table(rows, schema=TABLES[table].schema),
        mode="append",
        configuration=DELTA_PROPERTIES,
        commit_properties=stage.properties(metadata) if metadata else None,
    )
    return DeltaTable(uri).version()


def marker(settings: Settings, commit: Commit, rows: dict[str, Any]) -> Commit:
    """Append to a marker table under a stage's commit."""
    return replace(commit, version=write(settings, commit.table, rows, commit.metadata()))


def rows(settings: Settings, table: str) -> list[dict[str, Any]]:
    """The rows at the head of a table."""
    found = DeltaTable(settings.storage.table_uri(DATASET, table)).to_pyarrow_table().to_pylist()
    return list(found)
