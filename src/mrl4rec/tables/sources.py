"""Table ``sources``: files that were read; the marker of the ingest stage."""

from __future__ import annotations

import pyarrow as pa

from mrl4rec.tables.expectation import none
from mrl4rec.tables.table import Column, Table

SOURCES = Table(
    name="sources",
    key=("source_sha256",),
    meaning="files that were read; the marker of the ingest stage",
    columns={
        "source_sha256": Column(pa.string(), "digest of the file's bytes"),
        "source_no": Column(pa.int32(), "order of arrival, from 0"),
        "path": Column(pa.string(), "where it was when it was read"),
        "bytes": Column(pa.int64(), "size of the file"),
        "format": Column(pa.string(), "what its content was seen to be"),
        "mapping": Column(
            pa.string(),
            "how it was read, as JSON (formats.mapping); null in rows of an older version",
            nullable=True,
            added_later=True,
        ),
        "rows_read": Column(pa.int64(), "records in the file"),
        "rows_accepted": Column(pa.int64(), "rows new to reviews"),
        "rows_duplicate": Column(pa.int64(), "rows whose key was there already"),
        "rows_quarantined": Column(pa.int64(), "records that broke a rule"),
    },
)

SOURCES_EXPECTATIONS = (
    none(
        "sources_unique",
        "duplicate_sources",
        "no source is listed twice",
        listing="SELECT source_sha256, count(*) AS rows FROM sources GROUP BY source_sha256 "
        "HAVING count(*) > 1",
    ),
    none(
        "sources_balanced",
        "unbalanced_sources",
        "rows_read = rows_accepted + rows_duplicate + rows_quarantined in every source",
        table="sources",
        where="NOT coalesce(rows_read = rows_accepted + rows_duplicate + rows_quarantined "
        "AND least(rows_accepted, rows_duplicate, rows_quarantined) >= 0, false)",
    ),
)
