"""Which row of a key stays, and what a dump adds to `reviews`: frames in, frames out."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

KEY = ("user_id", "item_id", "reviewed_at")
PLACE = ("source_sha256", "record_no")
REVIEW_COLUMNS = ("user_id", "item_id", "rating", "reviewed_at", *PLACE)


def rank_of(prefix: str = "") -> Column:
    """What decides between rows of one key, smallest first: rating (null last), source, place."""
    rating = F.col(f"{prefix}rating")
    return F.struct(
        rating.isNull().alias("unrated"),
        rating.alias("rating"),
        *[F.col(f"{prefix}{name}").alias(name) for name in PLACE],
    )


def deduplicate(reviews: DataFrame) -> DataFrame:
    """One row a (user, item, time), the smallest by (rating, source, place); null equals null."""
    best = reviews.groupBy(*KEY).agg(F.min(rank_of()).alias("best"))
    return best.select(
        "user_id",
        "item_id",
        F.col("best.rating").alias("rating"),
        "reviewed_at",
        *[F.col(f"best.{name}").alias(name) for name in PLACE],
    )


def changes(fresh: DataFrame, present: DataFrame | None) -> DataFrame:
    """The rows of ``fresh`` (one a key) that alter the table: ``is_new``, or smaller than its row.

    ``present`` is the table as it is, None where it is empty.
    """
    if present is None:
        return fresh.select(*REVIEW_COLUMNS, F.lit(True).alias("is_new"))
    old = present.select(*[F.col(name).alias(f"old_{name}") for name in REVIEW_COLUMNS])
    same = [F.col(name).eqNullSafe(F.col(f"old_{name}")) for name in KEY]
    is_new = F.col("old_user_id").isNull()
    joined = fresh.join(old, same[0] & same[1] & same[2], "left")
    return joined.where(is_new | (rank_of() < rank_of("old_"))).select(
        *REVIEW_COLUMNS, is_new.alias("is_new")
    )


def oddities(reviews: DataFrame) -> DataFrame:
    """By source: ``repeated`` rows of a (user, item) pair that an earlier row of it has already;
    ``short_ids`` item ids of one to nine digits, and the ``short_rows`` that hold them.
    """
    pairs = reviews.groupBy("source_sha256", "user_id", "item_id").agg(F.count("*").alias("rows"))
    short = F.col("item_id").rlike("^[0-9]{1,9}$")
    return pairs.groupBy("source_sha256").agg(
        F.sum(F.col("rows") - 1).alias("repeated"),
        F.count_distinct(F.when(short, F.col("item_id"))).alias("short_ids"),
        F.sum(F.when(short, F.col("rows")).otherwise(0)).alias("short_rows"),
    )
