"""Split strategies as functions of frames: pairs with external ids in, the same with a fold out.

A fold depends on external ids, times, seed and share only: never on internal numbers, partitions
or the time zone. Hashes are Spark's ``xxhash64(seed, salt, user_id, item_id)``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # what every Spark reader knows it by
from pyspark.sql.column import Column

from jobs.order import dense_numbers
from mrl4rec.hashing import SALT_TEST, SALT_TIME, SALT_VALID
from mrl4rec.tables.expectation import sql_time

VALID_SHARE = 0.1
Chosen = Callable[[DataFrame, int, float], DataFrame]


def hashed(seed: int, salt: int) -> Column:
    """A 64-bit hash of the pair's external ids, one stream for each salt."""
    return F.xxhash64(F.lit(seed).cast("long"), F.lit(salt).cast("long"), "user_id", "item_id")


def unit(seed: int, salt: int) -> Column:
    """The hash as a number in [0, 1): its upper 53 bits, so that the double is exact."""
    return F.shiftrightunsigned(hashed(seed, salt), 11) / F.lit(float(1 << 53))


def rounded(share: float, n: Column) -> Column:
    """``share·n`` to the nearest whole number, halves upwards."""
    return F.floor(F.lit(share) * n + F.lit(0.5))


def random(pairs: DataFrame, seed: int, share: float) -> DataFrame:
    """Each pair goes to test by itself with probability ``share`` (the paper's split)."""
    return pairs.withColumn("test", unit(seed, SALT_TEST) < share)


def per_user_random(pairs: DataFrame, seed: int, share: float) -> DataFrame:
    """Of each user's n pairs round(share·n) go to test, in hashed order; at least one stays."""
    user = Window.partitionBy("user_id")
    row = F.row_number().over(user.orderBy(hashed(seed, SALT_TEST), "item_id"))
    n = F.count("*").over(user)
    return pairs.withColumn("test", row <= F.least(rounded(share, n), n - 1))


def last_out(pairs: DataFrame, seed: int, share: float) -> DataFrame:
    """Each user's last pair goes to test, unless it is the only one; ties in time by hash."""
    user = Window.partitionBy("user_id")
    row = F.row_number().over(user.orderBy(*[column.desc() for column in _in_time(seed)]))
    return pairs.withColumn("test", (row == 1) & (F.count("*").over(user) > 1))


def global_time(pairs: DataFrame, seed: int, share: float) -> DataFrame:
    """The last round(share·P) of all P pairs go to test; ties in time by hash."""
    n = pairs.count()
    n_test = int(share * n + 0.5)
    numbered = dense_numbers(pairs, "place", _in_time(seed))
    return numbered.withColumn("test", F.col("place") >= n - n_test).drop("place")


def since(pairs: DataFrame, moment: datetime) -> DataFrame:
    """Every pair at or after ``moment`` goes to test, however many they are."""
    return pairs.withColumn("test", F.col("reviewed_at") >= F.expr(sql_time(moment)))


def with_valid(pairs: DataFrame, seed: int) -> DataFrame:
    """``fold`` from ``test``: of what is not test, VALID_SHARE is valid, by a hash of its own."""
    valid = unit(seed, SALT_VALID) < VALID_SHARE
    fold = F.when(F.col("test"), "test").when(valid, "valid").otherwise("train")
    return pairs.withColumn("fold", fold).drop("test")


def _in_time(seed: int) -> list[Column]:
    """Time, then a hash; the ids only separate the pairs that a 64-bit hash cannot."""
    return [F.col("reviewed_at"), hashed(seed, SALT_TIME), F.col("user_id"), F.col("item_id")]


CHOSEN: dict[str, Chosen] = {
    "random": random,
    "per_user_random": per_user_random,
    "last_out": last_out,
    "global_time": global_time,
}
