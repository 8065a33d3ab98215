"""Table ``promotions``: who was champion, when and why; a ledger that only grows."""

from __future__ import annotations

from typing import Literal, get_args

import pyarrow as pa

from mrl4rec.tables.table import DELTA_PROPERTIES, Column, Table

Decision = Literal["promoted", "kept", "refused", "rolled_back", "by_hand"]
DECISIONS: tuple[str, ...] = get_args(Decision)

PROMOTIONS = Table(
    name="promotions",
    key=("seq",),
    meaning="who was champion, when and why; a ledger that only grows",
    columns={
        "seq": Column(pa.int64(), "number of the row, from 0 without a gap"),
        "at": Column(pa.timestamp("us", tz="UTC"), "when it was decided, UTC"),
        "decision": Column(pa.string(), ", ".join(DECISIONS)),
        "champion_before": Column(
            pa.string(), "stage key of the champion until then; null: none", nullable=True
        ),
        "challenger": Column(
            pa.string(), "stage key of the model that was judged; null: none", nullable=True
        ),
        "champion": Column(
            pa.string(), "stage key of the champion from then on; null: none", nullable=True
        ),
        "why": Column(pa.string(), "reason, for people"),
        "run": Column(
            pa.string(), "key of the retraining that decided; empty: a person, by a command"
        ),
        "evidence": Column(pa.string(), "JSON: what the decision rests on"),
        "evidence_file": Column(
            pa.string(), "Parquet of per-user values, within the data set's folder", nullable=True
        ),
        "versions": Column(
            pa.string(), "JSON: versions of the tables that the champion was made from"
        ),
    },
)

PROMOTIONS_PROPERTIES = {**DELTA_PROPERTIES, "delta.appendOnly": "true"}
"""Delta itself refuses to change or delete a row of the ledger, whoever asks."""
