"""Table ``drift``: how each new dump differs from what was there before, and what is expected."""

from __future__ import annotations

import pyarrow as pa

from mrl4rec.tables.expectation import Expectation, Suite
from mrl4rec.tables.table import Column, Table

DRIFT = Table(
    name="drift",
    key=("ingest_key",),
    meaning="how each new dump differs from what was there before",
    columns={
        "ingest_key": Column(pa.string(), "stage key of the ingest that took the dump in"),
        "reviews_version": Column(pa.int64(), "version of reviews that it made"),
        "paths": Column(pa.list_(pa.string()), "where its files were"),
        "source_sha256": Column(pa.list_(pa.string()), "their digests"),
        "rows_read": Column(pa.int64(), "records in them"),
        "duplicate_share": Column(pa.float64(), "share of records whose key was there already"),
        "quarantined_share": Column(pa.float64(), "share of records that broke a rule"),
        "rows": Column(pa.int64(), "rows new to reviews"),
        "users": Column(pa.int64(), "different users of these rows"),
        "items": Column(pa.int64(), "different items of these rows"),
        "first": Column(pa.string(), "earliest time of these rows, ISO 8601 UTC", nullable=True),
        "last": Column(pa.string(), "latest time of these rows, ISO 8601 UTC", nullable=True),
        "judged": Column(pa.bool_(), "false for a first load, and for too few rows to judge"),
        "champion_auc": Column(
            pa.float64(),
            "how often the champion scores a new pair above another item as popular; null: "
            "there is no champion that could tell",
            nullable=True,
        ),
        "auc_pairs": Column(pa.int64(), "pairs that the AUC rests on"),
        "portrait": Column(pa.string(), "JSON: portrait of the dump's new rows"),
        "before": Column(pa.string(), "JSON: portrait of as many rows before them"),
        "change": Column(pa.string(), "JSON: how the two differ"),
    },
)

DISTANCE, TOP, PACE_LOW, PACE_HIGH, AUC = (
    "max_distance",
    "max_top_gain",
    "pace_low",
    "pace_high",
    "min_auc",
)
"""Names of the limits, which the settings give."""


def _alike(name: str, fact: str, what: str) -> Expectation:
    return Expectation(name, fact, f"{what} as before (total variation distance)", high=DISTANCE)


DRIFT_SUITE = Suite(
    name="drift",
    tables=("reviews",),
    expectations=(
        _alike("ratings_alike", "ratings", "ratings are spread"),
        _alike("user_rows_alike", "user_rows", "rows are spread over busy and idle users"),
        _alike("item_rows_alike", "item_rows", "rows are spread over frequent and rare items"),
        Expectation(
            "users_known",
            "new_users",
            "not many more rows than before are of users never seen (gain of the share)",
            high=DISTANCE,
        ),
        Expectation(
            "items_known",
            "new_items",
            "not many more rows than before are of items never seen (gain of the share)",
            high=DISTANCE,
        ),
        Expectation(
            "no_flood_of_an_item",
            "top_item",
            "no item takes much more of the rows than the top one did (gain of the share)",
            high=TOP,
        ),
        Expectation(
            "no_flood_by_a_user",
            "top_user",
            "no user writes much more of the rows than the top one did (gain of the share)",
            high=TOP,
        ),
        Expectation(
            "pace_kept",
            "pace",
            "rows come about as fast as before (rows a day over those before)",
            low=PACE_LOW,
            high=PACE_HIGH,
        ),
        Expectation(
            "tastes_known",
            "auc_upper",
            "the champion tells new pairs from others as popular (AUC plus two standard errors; "
            "0.5 is no relation, as of shuffled ids)",
            low=AUC,
        ),
        Expectation(
            "tastes_kept",
            "taste_lost",
            "of what the champion told from others in the last dump not much is lost (share of "
            "the AUC above 0.5)",
            high=DISTANCE,
        ),
    ),
)
