"""The k-core on Spark: frames in, frames out; for sets of pairs too large for one machine's memory.

The plan stays bounded: every round is materialised (``localCheckpoint``) and the round before it
let go, so neither plan nor memory grows with the number of rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # what every Spark reader knows it by

from jobs.delta import read, unpersist
from jobs.order import dense_numbers
from mrl4rec import kcore

IDS = ("user_id", "item_id")


@dataclass(frozen=True)
class Request:
    """What to peel: tables as (path, version)."""

    reviews: tuple[str, int]
    sources: tuple[str, int]
    k: int
    min_rating: float | None
    driver_pairs: int
    """Peeling stops early where no more pairs than this are left."""
    integer_ids: bool


@dataclass(frozen=True)
class Peeled:
    """Pairs (user_id, item_id, place, reviewed_at), materialised, after so many rounds."""

    pairs: DataFrame
    n_pairs: int
    rounds: int
    reviews: int
    unrated: int
    unknown_source: str | None
    sizes: tuple[int, int] | None
    """Rows of users and items where ids are numbers: the largest of the dump + 1."""


@dataclass(frozen=True)
class CoreFrames:
    """The three tables as frames, and their counts."""

    users: DataFrame
    items: DataFrame
    interactions: DataFrame
    counts: Mapping[str, int]


def peel(spark: SparkSession, request: Request) -> Peeled:
    """Read the distinct pairs and peel until the core, or what fits the driver, is left."""
    reviews = read(spark, *request.reviews)
    sources = read(spark, *request.sources).select("source_sha256", "source_no")
    n_reviews = unrated = 0
    if request.min_rating is not None:
        n_reviews, unrated = _one(reviews.agg(F.count("*"), F.count_if(F.col("rating").isNull())))
        reviews = reviews.where(F.col("rating") >= F.lit(request.min_rating))
    pairs = distinct_pairs(reviews, sources).localCheckpoint(eager=False)
    (unknown,) = _one(pairs.agg(F.max("source_sha256")))  # fills the checkpoint too
    sizes = _integer_sizes(pairs) if request.integer_ids else None
    pairs, n_pairs, rounds = peel_rounds(
        pairs.drop("source_sha256"), request.k, request.driver_pairs
    )
    return Peeled(pairs, n_pairs, rounds, n_reviews, unrated, unknown, sizes)


def distinct_pairs(reviews: DataFrame, sources: DataFrame) -> DataFrame:
    """One row a (user, item) with the smallest place and time of its rows.

    ``place`` is null where a source is not listed, and then ``source_sha256`` names it.
    """
    place = F.shiftleft(F.col("source_no").cast("long"), kcore.RECORD_BITS) + F.col("record_no")
    placed = reviews.join(F.broadcast(sources), "source_sha256", "left").withColumn("place", place)
    lost = F.max(F.when(F.col("place").isNull(), F.col("source_sha256")))
    return placed.groupBy(*IDS).agg(
        F.when(lost.isNull(), F.min("place")).alias("place"),
        F.min("reviewed_at").alias("reviewed_at"),
        lost.alias("source_sha256"),
    )


def peel_rounds(pairs: DataFrame, k: int, enough: int = 0) -> tuple[DataFrame, int, int]:
    """The k-core, its pairs and the rounds it took; stops early at ``enough`` pairs or fewer.

    A round is what ``mrl4rec.kcore`` says: users first, then items among the pairs left.
    """
    left, rounds = pairs.count(), 0
    while left > enough:
        after = _drop(_drop(pairs, "user_id", k), "item_id", k).localCheckpoint(eager=False)
        count = after.count()  # fills the checkpoint too
        if count == left:
            unpersist(after)
            break
        unpersist(pairs)
        pairs, left, rounds = after, count, rounds + 1
    return pairs, left, rounds


def _drop(pairs: DataFrame, side: str, k: int) -> DataFrame:
    small = pairs.groupBy(side).agg(F.count("*").alias("n")).where(F.col("n") < k).select(side)
    return pairs.join(small, side, "left_anti")


def number(
    spark: SparkSession, peeled: Peeled, base: Mapping[str, tuple[str, int] | None]
) -> CoreFrames:
    """Number the core's ids by first appearance after those of ``base``, or keep integer ids."""
    pairs = peeled.pairs
    tables = {}
    for n, name in enumerate(("users", "items")):
        side = name[:-1]
        if peeled.sizes is not None:
            ids = spark.range(peeled.sizes[n]).select(
                F.col("id").cast("int").alias(f"{side}_idx"),
                F.col("id").cast("string").alias(f"{side}_id"),
            )
        else:
            old = base[name]
            ids = _append(pairs, side, None if old is None else read(spark, *old))
        tables[name] = ids.localCheckpoint()
        pairs = pairs.join(tables[name], f"{side}_id")
    interactions = pairs.select("user_idx", "item_idx", "reviewed_at").localCheckpoint()
    facts = _one(interactions.agg(
        F.count("*"), F.count_distinct("user_idx"), F.count_distinct("item_idx")
    ))  # fmt: skip
    counts = dict(zip(("interactions", "users", "items"), facts, strict=True))
    counts |= {f"{name}_table": table.count() for name, table in tables.items()}
    return CoreFrames(tables["users"], tables["items"], interactions, counts)


def _append(pairs: DataFrame, side: str, base: DataFrame | None) -> DataFrame:
    """The id table of one side: the base's rows, then new ids by smallest place."""
    id_, idx = f"{side}_id", f"{side}_idx"
    firsts = pairs.groupBy(id_).agg(F.min("place").alias("place"))
    offset = 0
    if base is not None:
        offset = base.count()
        firsts = firsts.join(base, id_, "left_anti")
    new = dense_numbers(firsts, "n", [F.col("place")])
    new = new.select((F.col("n") + offset).cast("int").alias(idx), id_)
    return new if base is None else base.select(idx, id_).unionByName(new)


def _integer_sizes(pairs: DataFrame) -> tuple[int, int]:
    sizes = []
    for side in IDS:
        plain = F.col(side).rlike("^(0|[1-9][0-9]{0,9})$")
        bad, largest, n = _one(pairs.agg(
            F.max(F.when(~plain, F.col(side))),
            F.max(F.when(plain, F.col(side)).cast("long")),
            F.count_distinct(side),
        ))  # fmt: skip
        if bad is not None:
            raise kcore.not_plain(side[:4], bad)
        largest = -1 if largest is None else largest
        kcore.check_largest(largest, n, side[:4])
        sizes.append(largest + 1)
    return sizes[0], sizes[1]


def _one(frame: DataFrame) -> tuple[Any, ...]:
    """The only row of an aggregate without groups."""
    row = frame.first()
    assert row is not None
    return tuple(row)


def to_memory(pairs: DataFrame) -> kcore.Pairs:
    """The pairs as codes in the driver's memory, through Arrow."""
    rows = pairs.select(*IDS, "place", F.unix_micros("reviewed_at").alias("us")).toArrow()
    codes, ids = {}, {}
    for name in IDS:
        column = rows[name].cast(pa.string()).combine_chunks().dictionary_encode()
        codes[name] = column.indices.to_numpy(zero_copy_only=False)
        ids[name] = column.dictionary
    return kcore.Pairs(
        codes["user_id"],
        codes["item_id"],
        rows["place"].to_numpy(),
        rows["us"].fill_null(kcore.NEVER).to_numpy(),
        ids["user_id"],
        ids["item_id"],
    )
