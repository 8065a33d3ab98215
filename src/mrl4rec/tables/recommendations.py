"""Table ``recommendations``: the champion's top-N list of every user."""

from __future__ import annotations

import pyarrow as pa

from mrl4rec.tables.table import Column, Table

RECOMMENDATIONS = Table(
    name="recommendations",
    key=("user_id", "width", "rank"),
    meaning="the champion's top-N list of every user",
    columns={
        "user_id": Column(pa.string(), "the dump's user id; rows are sorted by it"),
        "rank": Column(pa.int32(), "from 1, best first"),
        "item_id": Column(pa.string(), "the dump's item id"),
        "score": Column(
            pa.float32(),
            "higher is better, comparable within one list; null: the model does not know the item",
            nullable=True,
        ),
        "model_version": Column(pa.string(), "stage key of the model"),
        "width": Column(pa.int32(), "first so many dimensions; null: all of them", nullable=True),
        "by": Column(pa.string(), "model, or popularity for a user without history in it"),
    },
)
