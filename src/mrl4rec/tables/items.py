"""Table ``items``: items of the core; append-only: an id once given never changes."""

from __future__ import annotations

import pyarrow as pa

from mrl4rec.tables.expectation import blank, none
from mrl4rec.tables.table import Column, Table

ITEMS = Table(
    name="items",
    key=("item_idx",),
    meaning="items of the core; append-only: an id once given never changes",
    columns={
        "item_idx": Column(pa.int32(), "dense, from 0"),
        "item_id": Column(pa.string(), "the dump's item id"),
    },
)

ITEMS_EXPECTATIONS = (
    none(
        "items_dense",
        "item_idx_amiss",
        "item_idx numbers the rows of items from 0, without gap or repetition",
        listing="SELECT * FROM items WHERE coalesce(item_idx < 0 OR "
        "item_idx >= (SELECT count(*) FROM items), true) OR item_idx IN "
        "(SELECT item_idx FROM items GROUP BY item_idx HAVING count(*) > 1)",
    ),
    none(
        "item_ids_given",
        "blank_item_ids",
        "every row of items has an id that is not blank",
        table="items",
        where=blank("item_id"),
    ),
    none(
        "item_ids_unique",
        "duplicate_item_ids",
        "no two rows of items have the same id",
        listing="SELECT item_id, count(*) AS rows FROM items GROUP BY item_id HAVING count(*) > 1",
    ),
)
