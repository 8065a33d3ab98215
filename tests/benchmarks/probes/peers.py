"""The same work by Polars and by DuckDB, as their own users would write it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from deltalake import DeltaTable


def kcore_polars(reviews: str, k: int) -> dict[str, Any]:
    """The k-core of a Delta table's files in memory, with the time of each pair; not written.

    The fastest of what was tried: ids as 64-bit hashes (a collision would go unnoticed), one key a
    pair, and lazy anti-joins against the few that are dropped.
    """
    import polars as pl

    began = time.perf_counter()
    ids = ("user_id", "item_id")
    pairs = (
        pl.scan_parquet(DeltaTable(reviews).file_uris())
        .select(*ids, "reviewed_at")
        .with_columns(pl.col(name).hash() for name in ids)
        .with_columns(pair=pl.col("user_id") * 0x9E3779B97F4A7C15 ^ pl.col("item_id"))
        .group_by("pair")
        .agg(pl.col(*ids).first(), pl.col("reviewed_at").min())
        .drop("pair")
        .collect()
    )
    rounds = 0
    while True:
        before = len(pairs)
        for name in ids:
            rows = pairs.lazy()
            few = rows.group_by(name).len().filter(pl.col("len") < k)
            pairs = rows.join(few, on=name, how="anti").collect()
        if len(pairs) == before:
            break
        rounds += 1
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "pairs": len(pairs), "rounds": rounds, "version": pl.__version__}


def ingest_polars(dump: str, out: str) -> dict[str, Any]:
    """JSON lines → three keys, deduplicated → Parquet; bad rows are dropped, not kept."""
    import polars as pl

    began = time.perf_counter()
    keys = {"reviewerID": pl.String, "asin": pl.String, "unixReviewTime": pl.Int64}
    rows = pl.scan_ndjson(dump, schema=keys, ignore_errors=True).unique(list(keys)).collect()
    rows.write_parquet(Path(out) / "polars.parquet")
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "rows": len(rows), "version": pl.__version__}


def ingest_duckdb(dump: str, out: str) -> dict[str, Any]:
    """The same in DuckDB."""
    import duckdb

    began = time.perf_counter()
    to = Path(out) / "duckdb.parquet"
    duckdb.sql(
        f"""COPY (SELECT DISTINCT reviewerID, asin, unixReviewTime FROM read_json('{dump}',
        format = 'newline_delimited', ignore_errors = true, columns = {{
        reviewerID: 'VARCHAR', asin: 'VARCHAR', unixReviewTime: 'BIGINT'}})) TO '{to}'"""
    )
    seconds = time.perf_counter() - began
    count = duckdb.sql(f"SELECT count(*) FROM '{to}'").fetchall()[0][0]
    return {"seconds": seconds, "rows": count, "version": duckdb.__version__}
