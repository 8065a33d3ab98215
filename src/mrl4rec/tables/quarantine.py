"""Table ``quarantine``: records that broke a rule, kept raw."""

from __future__ import annotations

import pyarrow as pa

from mrl4rec.tables.expectation import Expectation, none
from mrl4rec.tables.table import Column, Table

QUARANTINE = Table(
    name="quarantine",
    key=("source_sha256", "record_no"),
    meaning="records that broke a rule, kept raw",
    columns={
        "source_sha256": Column(pa.string(), "digest of the file the record came from"),
        "record_no": Column(pa.int64(), "place in that file, from 0"),
        "record": Column(pa.string(), "the raw text, bad bytes replaced"),
        "rule": Column(pa.string(), "name of the rule it broke"),
        "detail": Column(pa.string(), "what was seen", nullable=True),
    },
)

QUARANTINE_EXPECTATIONS = (
    none(
        "quarantine_counted",
        "sources_miscounted",
        "quarantine has as many rows of every source as the source says were quarantined",
        listing="SELECT coalesce(s.source_sha256, q.source_sha256) AS source_sha256, s.path, "
        "s.rows_quarantined AS told, coalesce(q.rows, 0) AS found FROM sources AS s FULL JOIN "
        "(SELECT source_sha256, count(*) AS rows FROM quarantine GROUP BY source_sha256) AS q "
        "ON s.source_sha256 = q.source_sha256 "
        "WHERE coalesce(s.rows_quarantined, 0) <> coalesce(q.rows, 0)",
    ),
    Expectation(
        "quarantined_share",
        "quarantined_share",
        "the share of quarantined records is at most MRL4REC_MAX_QUARANTINED_SHARE, in all sources "
        "together and in those of this ingest",
        low=0,
        high="max_quarantined_share",
        listing="SELECT rule, detail, source_sha256, record_no, record FROM quarantine "
        "ORDER BY rule, source_sha256, record_no",
        example="SELECT rule, records, detail, substring(record, 1, 200) AS record FROM ("
        "SELECT *, count(*) OVER (PARTITION BY rule) AS records, row_number() OVER ("
        "PARTITION BY rule ORDER BY source_sha256, record_no) AS place FROM quarantine) AS q "
        "WHERE place = 1 ORDER BY records DESC, rule",
    ),
)
