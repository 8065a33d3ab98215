"""Table ``reviews``: accepted reviews, one row a (user, item, time); of sessions, one an event."""

from __future__ import annotations

import pyarrow as pa

from mrl4rec.core.times import EARLIEST
from mrl4rec.tables.expectation import Expectation, Suite, blank, none, sql_time
from mrl4rec.tables.quarantine import QUARANTINE_EXPECTATIONS
from mrl4rec.tables.sources import SOURCES_EXPECTATIONS
from mrl4rec.tables.table import Column, Table

REVIEWS = Table(
    name="reviews",
    key=("user_id", "item_id", "reviewed_at"),
    meaning="accepted reviews, one row a (user, item, time)",
    columns={
        "user_id": Column(pa.string(), "the dump's user id"),
        "item_id": Column(pa.string(), "the dump's item id"),
        "rating": Column(
            pa.float64(), "the dump's own scale; null when it has none", nullable=True
        ),
        "reviewed_at": Column(
            pa.timestamp("us", tz="UTC"), "UTC; null when the dump has no time", nullable=True
        ),
        "source_sha256": Column(pa.string(), "digest of the file the row came from"),
        "record_no": Column(pa.int64(), "place in that file, from 0"),
    },
)


REVIEWS_SUITE = Suite(
    name="reviews",
    tables=("reviews", "quarantine", "sources"),
    expectations=(
        none("columns", "columns_amiss", "columns and their types are as declared"),
        Expectation("not_empty", "rows", "there is at least one review", low=1),
        none(
            "user_given",
            "blank_user_ids",
            "every review has a user id that is not blank",
            table="reviews",
            where=blank("user_id"),
        ),
        none(
            "item_given",
            "blank_item_ids",
            "every review has an item id that is not blank",
            table="reviews",
            where=blank("item_id"),
        ),
        none(
            "record_given",
            "rows_without_record",
            "every review says from which record of which source it came",
            table="reviews",
            where="source_sha256 IS NULL OR record_no IS NULL OR record_no < 0",
        ),
        none(
            "rating_in_range",
            "ratings_outside",
            "every rating is null or within the range that its source was read with",
            listing="SELECT r.*, f.low, f.high FROM reviews AS r JOIN {rating_ranges} "
            "ON f.source_sha256 = r.source_sha256 WHERE NOT (r.rating BETWEEN f.low AND f.high)",
        ),
        none(
            "time_not_early",
            "times_too_early",
            "every time is null or in 1990 or later: no negative time, no seconds taken for "
            "milliseconds",
            table="reviews",
            where=f"reviewed_at < {sql_time(EARLIEST)}",
        ),
        none(
            "time_not_future",
            "times_in_future",
            "every time is null or not after --as-of: no milliseconds taken for seconds",
            table="reviews",
            where="reviewed_at > {as_of}",
        ),
        none(
            "key_unique",
            "duplicate_keys",
            "no two reviews have the same user, item and time; in sessions, the same record",
            listing="SELECT user_id, item_id, reviewed_at, count(*) AS rows FROM reviews "
            "GROUP BY user_id, item_id, reviewed_at, {session_place} HAVING count(*) > 1",
        ),
        none(
            "source_known",
            "rows_of_unknown_source",
            "every review comes from a source that is listed in sources",
            listing="SELECT r.* FROM reviews AS r ANTI JOIN sources AS s "
            "ON s.source_sha256 = r.source_sha256",
        ),
        none(
            "counts_conserved",
            "rows_beyond_accepted",
            "reviews has as many rows as its sources had accepted, together",
        ),
        *SOURCES_EXPECTATIONS,
        *QUARANTINE_EXPECTATIONS,
    ),
)
