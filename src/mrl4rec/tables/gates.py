"""Table ``gates``: verdicts on table versions, each given once."""

from __future__ import annotations

import pyarrow as pa

from mrl4rec.tables.table import Column, Table

GATES = Table(
    name="gates",
    key=("table", "version", "suite"),
    meaning="verdicts on table versions, each given once",
    columns={
        "table": Column(pa.string(), "table or model that was judged"),
        "version": Column(pa.string(), "its Delta version, or a model's stage key"),
        "suite": Column(pa.string(), "name of the suite"),
        "verdict": Column(pa.string(), "pass or fail"),
        "declared": Column(pa.int32(), "expectations in the suite"),
        "evaluated": Column(pa.int32(), "expectations that gave an answer"),
        "failed": Column(pa.int32(), "expectations not met"),
        "seen": Column(pa.string(), "JSON: what was seen, by expectation"),
        "data_docs": Column(pa.string(), "path of the Data Docs page", nullable=True),
        "judged_at": Column(pa.timestamp("us", tz="UTC"), "UTC"),
    },
)
