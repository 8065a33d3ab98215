"""Table ``tunings``: every setting that was tried, and what it reached on valid."""

from __future__ import annotations

import pyarrow as pa

from mrl4rec.tables.table import Column, Table

STATES = ("complete", "pruned", "failed")

TUNINGS = Table(
    name="tunings",
    key=("study", "trial"),
    meaning="settings that were tried, and what each reached on valid",
    columns={
        "study": Column(pa.string(), "method and digest of all that a trial's value hangs on"),
        "trial": Column(pa.int32(), "number of the trial, from 0; 0 has the defaults"),
        "dataset": Column(pa.string(), "name of the data set"),
        "split": Column(pa.string(), "stage key of the split"),
        "method": Column(pa.string(), "name of the method"),
        "levels": Column(
            pa.string(), "nested widths, as 4,8,16; null: a method without", nullable=True
        ),
        "seed": Column(pa.int64(), "training seed; null: deterministic", nullable=True),
        "settings": Column(pa.string(), "JSON: all of the method's values"),
        "searched": Column(pa.string(), "JSON: range of each value that was searched"),
        "metric": Column(pa.string(), "what was made as large as possible, on valid"),
        "value": Column(pa.float64(), "what it reached; null where it failed", nullable=True),
        "epoch": Column(pa.int32(), "epoch of the value, from 0; null: closed form", nullable=True),
        "state": Column(pa.string(), ", ".join(STATES)),
        "detail": Column(pa.string(), "why it failed; null: it did not", nullable=True),
        "seconds": Column(pa.float64(), "how long the trial took"),
    },
)
