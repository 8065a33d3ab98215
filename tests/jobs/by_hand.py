"""Ingested tables made by hand: what the kcore stage reads, without the ingest job."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from mrl4rec.core import stage
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.tables import REVIEWS, SOURCES
from mrl4rec.transforms.engine import Engine

DAY = 86_400_000_000
Row = tuple[str, str, float | None, int | None]
"""user, item, rating, day since 1970."""


def ingest(
    settings: Settings,
    sources: Sequence[Sequence[Row]],
    *,
    dataset: str = "d",
    ids: str = "first_appearance",
    mode: str = "overwrite",
    name: str = "a",
) -> Commit:
    """Write reviews and sources as ingest would; a source's number is its place in the list."""
    digests = [f"{name}{n:063d}" for n in range(len(sources))]
    rows = [
        (user, item, rating, None if day is None else day * DAY, digest, n)
        for digest, source in zip(digests, sources, strict=True)
        for n, (user, item, rating, day) in enumerate(source)
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(REVIEWS.columns)
    arrays = [
        pa.array(values, pa.int64() if pa.types.is_timestamp(kind) else kind).cast(kind)
        for values, kind in zip(columns, REVIEWS.schema.types, strict=True)
    ]
    reviews = settings.storage.table_uri(dataset, "reviews")
    write_deltalake(reviews, pa.Table.from_arrays(arrays, schema=REVIEWS.schema), mode=mode)  # type: ignore[call-overload]
    uri = settings.storage.table_uri(dataset, "sources")
    known = DeltaTable(uri).to_pyarrow_table().num_rows if mode == "append" else 0
    table = SOURCES.schema.empty_table().to_pydict() | {
        "source_sha256": digests,
        "source_no": list(range(known, known + len(sources))),
        "path": digests,
        "format": ["by hand"] * len(sources),
        "mapping": [None] * len(sources),
    }
    zeros = [0] * len(sources)
    filled = {column: table[column] or zeros for column in SOURCES.schema.names}
    key = stage.stage_key("ingest", 1, {"rows": rows, "mode": mode, "known": known}, {"ids": ids})
    version = DeltaTable(reviews).version()
    commit = Commit("ingest", key, "sources", -1, {"reviews": version}, {"ids": ids})
    write_deltalake(uri, pa.table(filled, SOURCES.schema), mode=mode,  # type: ignore[call-overload]
                    commit_properties=stage.properties(commit.metadata()))  # fmt: skip
    found = stage.find(uri, "sources", key)
    assert found is not None
    return found


def table(settings: Settings, name: str, commit: Commit, dataset: str = "d") -> pa.Table:
    """The version of a table that a stage's commit names."""
    uri = settings.storage.table_uri(dataset, name)
    return DeltaTable(uri, commit.table_version(name)).to_pyarrow_table()


def ids(settings: Settings, name: str, commit: Commit, dataset: str = "d") -> list[str]:
    """The external ids of users or items by number; fails where the numbers are not 0, 1, 2…"""
    rows = sorted(
        zip(*(c.to_pylist() for c in table(settings, name, commit, dataset).columns), strict=True)
    )
    assert [idx for idx, _ in rows] == list(range(len(rows)))
    return [external for _, external in rows]


def named(
    settings: Settings, core: Commit, rows: pa.Table, dataset: str = "d"
) -> list[tuple[str, str]]:
    """Pairs read by their external ids, sorted."""
    users, items = ids(settings, "users", core, dataset), ids(settings, "items", core, dataset)
    pairs = zip(rows["user_idx"].to_pylist(), rows["item_idx"].to_pylist(), strict=True)
    return sorted((users[u], items[i]) for u, i in pairs)


def given(engine: Engine, rows: Sequence[Row], source: str = "a") -> None:
    """Make rows of one source the relations ``reviews`` and ``sources``."""
    users, items, ratings, days = zip(*rows, strict=True) if rows else ((),) * 4
    engine.add("reviews", pa.table({
        "user_id": pa.array(users, pa.string()),
        "item_id": pa.array(items, pa.string()),
        "rating": pa.array(ratings, pa.float64()),
        "reviewed_at": pa.array([d if d is None else d * DAY for d in days], pa.int64()),
        "source_sha256": pa.array([source] * len(rows), pa.string()),
        "record_no": pa.array(range(len(rows)), pa.int64()),
    }))  # fmt: skip
    engine.add("sources", pa.table({"source_sha256": [source], "source_no": [0]}))
