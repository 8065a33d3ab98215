"""Table ``users``: users of the core; append-only: an id once given never changes."""

from __future__ import annotations

import pyarrow as pa

from mrl4rec.tables.expectation import blank, none
from mrl4rec.tables.table import Column, Table

USERS = Table(
    name="users",
    key=("user_idx",),
    meaning="users of the core; append-only: an id once given never changes",
    columns={
        "user_idx": Column(pa.int32(), "dense, from 0"),
        "user_id": Column(pa.string(), "the dump's user id"),
    },
)

USERS_EXPECTATIONS = (
    none(
        "users_dense",
        "user_idx_amiss",
        "user_idx numbers the rows of users from 0, without gap or repetition",
        listing="SELECT * FROM users WHERE coalesce(user_idx < 0 OR "
        "user_idx >= (SELECT count(*) FROM users), true) OR user_idx IN "
        "(SELECT user_idx FROM users GROUP BY user_idx HAVING count(*) > 1)",
    ),
    none(
        "user_ids_given",
        "blank_user_ids",
        "every row of users has an id that is not blank",
        table="users",
        where=blank("user_id"),
    ),
    none(
        "user_ids_unique",
        "duplicate_user_ids",
        "no two rows of users have the same id",
        listing="SELECT user_id, count(*) AS rows FROM users GROUP BY user_id HAVING count(*) > 1",
    ),
)
