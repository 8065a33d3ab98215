"""Table ``interactions``: pairs of the k-core; the marker of the kcore stage."""

from __future__ import annotations

import pyarrow as pa

from mrl4rec.tables.expectation import Expectation, Suite, none
from mrl4rec.tables.items import ITEMS_EXPECTATIONS
from mrl4rec.tables.table import Column, Table
from mrl4rec.tables.users import USERS_EXPECTATIONS

INTERACTIONS = Table(
    name="interactions",
    key=("user_idx", "item_idx"),
    meaning="pairs of the k-core; the marker of the kcore stage",
    columns={
        "user_idx": Column(pa.int32(), "row of users"),
        "item_idx": Column(pa.int32(), "row of items"),
        "reviewed_at": Column(
            pa.timestamp("us", tz="UTC"),
            "first time of the pair, UTC; null when the dump has no time",
            nullable=True,
        ),
    },
)

CORE_SUITE = Suite(
    name="core",
    tables=("interactions", "users", "items"),
    expectations=(
        none("columns", "columns_amiss", "columns and their types are as declared"),
        Expectation("not_empty", "rows", "the core is not empty", low=1),
        Expectation(
            "k_by_user",
            "smallest_user_degree",
            "every user of the core has at least k pairs",
            low="k",
            listing="SELECT user_idx, count(*) AS pairs FROM interactions GROUP BY user_idx "
            "HAVING count(*) < {k}",
        ),
        Expectation(
            "k_by_item",
            "smallest_item_degree",
            "every item of the core has at least k pairs",
            low="k",
            listing="SELECT item_idx, count(*) AS pairs FROM interactions GROUP BY item_idx "
            "HAVING count(*) < {k}",
        ),
        none(
            "pairs_unique",
            "duplicate_pairs",
            "no pair is there twice",
            listing="SELECT user_idx, item_idx, count(*) AS rows FROM interactions "
            "GROUP BY user_idx, item_idx HAVING count(*) > 1",
        ),
        none(
            "user_known",
            "pairs_of_unknown_user",
            "every user_idx of a pair is a row of users",
            listing="SELECT p.* FROM interactions AS p ANTI JOIN users AS t "
            "ON t.user_idx = p.user_idx",
        ),
        none(
            "item_known",
            "pairs_of_unknown_item",
            "every item_idx of a pair is a row of items",
            listing="SELECT p.* FROM interactions AS p ANTI JOIN items AS t "
            "ON t.item_idx = p.item_idx",
        ),
        none(
            "pairs_as_told",
            "pairs_beyond_told",
            "there are as many pairs as the kcore stage told",
        ),
        none(
            "users_as_told",
            "users_beyond_told",
            "there are as many users in the core as the kcore stage told",
        ),
        none(
            "items_as_told",
            "items_beyond_told",
            "there are as many items in the core as the kcore stage told",
        ),
        *USERS_EXPECTATIONS,
        *ITEMS_EXPECTATIONS,
    ),
)
