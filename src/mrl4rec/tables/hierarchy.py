"""Table ``hierarchy``: what clusters of a model's prefixes say of groups within groups."""

from __future__ import annotations

import pyarrow as pa

from mrl4rec.tables.table import Column, Table

MEASURES = ("ami", "contained")

HIERARCHY = Table(
    name="hierarchy",
    key=("model", "rotated", "side", "measure", "width", "depth"),
    meaning="what clusters of a model's prefixes say of groups within groups",
    columns={
        "model": Column(pa.string(), "stage key of the model"),
        "method": Column(pa.string(), "name of the method"),
        "levels": Column(pa.string(), "nested widths; null: a method without", nullable=True),
        "seed": Column(pa.int64(), "training seed; null: deterministic", nullable=True),
        "rotated": Column(pa.bool_(), "whether the vectors were rotated first (exact SVD)"),
        "side": Column(pa.string(), "users or items"),
        "measure": Column(
            pa.string(),
            "ami: clusters against the planted groups of a depth; contained: clusters of the next "
            "width inside clusters of this one",
        ),
        "width": Column(pa.int32(), "first so many dimensions"),
        "depth": Column(pa.int32(), "ami: depth of the groups, 1 coarsest; contained: next width"),
        "clusters": Column(pa.int32(), "how many were made at this width"),
        "value": Column(pa.float64(), "1: exactly; about 0: no better than chance"),
        "chance": Column(pa.float64(), "the same of random vectors of that width"),
    },
)
