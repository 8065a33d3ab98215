"""The k-core on Spark: frames in, frames out; for sets of pairs too large for one machine's memory.

Users and items go by 64-bit keys, hashes of their ids, so that no round moves text. That two ids
never share a key is checked over all of them before the first round; where two do, another seed is
taken. The plan stays bounded: every round is materialised (``localCheckpoint``) and the round
before it let go, so neither plan nor memory grows with the number of rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # what every Spark reader knows it by
from pyspark.sql.column import Column

from jobs.delta import read, unpersist
from jobs.order import dense_numbers
from mrl4rec import kcore
from mrl4rec.errors import Mrl4recError

SIDES = ("user", "item")
SEEDS = range(8)
"""Seeds of the keys, tried in turn. Even 10⁹ ids need the second one time in 37."""


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
    """Pairs (user_key, item_key, place, reviewed_at), materialised, after so many rounds."""

    pairs: DataFrame
    ids: Mapping[str, DataFrame]
    """By side: every id of the reviews with its key, columns ``<side>_key``, ``<side>_id``."""
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
    """Read the distinct pairs and peel until the core, or what fits the driver, is left.

    Raises Mrl4recError where every seed gives two ids one key, or ids to be kept are no numbers.
    """
    reviews = read(spark, *request.reviews)
    sources = read(spark, *request.sources).select("source_sha256", "source_no")
    n_reviews = unrated = 0
    if request.min_rating is not None:
        n_reviews, unrated = _one(reviews.agg(F.count("*"), F.count_if(F.col("rating").isNull())))
        reviews = reviews.where(F.col("rating") >= F.lit(request.min_rating))
    seeds, ids = {}, {}
    for side in SIDES:
        seeds[side], ids[side] = keyed_ids(reviews, side)
    pairs = distinct_pairs(reviews, sources, seeds).localCheckpoint(eager=False)
    (unknown,) = _one(pairs.agg(F.max("source_sha256")))  # fills the checkpoint too
    sizes = _integer_sizes(ids) if request.integer_ids else None
    pairs, n_pairs, rounds = peel_rounds(
        pairs.drop("source_sha256"), request.k, request.driver_pairs
    )
    return Peeled(pairs, ids, n_pairs, rounds, n_reviews, unrated, unknown, sizes)


def key(id_: Column, seed: int) -> Column:
    """The 64-bit key of an id."""
    return F.xxhash64(F.lit(seed), id_)


def keyed_ids(reviews: DataFrame, side: str) -> tuple[int, DataFrame]:
    """A seed under which no two ids of a side share a key, and all ids with their keys.

    Raises Mrl4recError where no seed does it: then something else than chance is at work.
    """
    id_ = F.col(f"{side}_id")
    for seed in SEEDS:
        ids = (
            reviews.groupBy(key(id_, seed).alias(f"{side}_key"))
            .agg(F.min(id_).alias(f"{side}_id"), F.max(id_).alias("other"))
            .localCheckpoint(eager=False)
        )
        # A key with two ids has a smallest and a largest that differ.
        (shared,) = _one(ids.agg(F.count_if(F.col("other") != F.col(f"{side}_id"))))
        if not shared:
            return seed, ids.drop("other")
        unpersist(ids)
    raise Mrl4recError(
        f"{len(SEEDS)} seeds in a row gave two {side} ids the same 64-bit key",
        where="table reviews",
        todo="raise MRL4REC_KCORE_DRIVER_PAIRS, so that the k-core is peeled in memory",
    )


def distinct_pairs(reviews: DataFrame, sources: DataFrame, seeds: Mapping[str, int]) -> DataFrame:
    """One row a (user_key, item_key) with the smallest place and time of its rows.

    ``place`` is null where a source is not listed, and then ``source_sha256`` names it.
    """
    place = F.shiftleft(F.col("source_no").cast("long"), kcore.RECORD_BITS) + F.col("record_no")
    keys = [key(F.col(f"{side}_id"), seeds[side]).alias(f"{side}_key") for side in SIDES]
    placed = reviews.join(F.broadcast(sources), "source_sha256", "left").select(
        *keys, place.alias("place"), "reviewed_at", "source_sha256"
    )
    lost = F.max(F.when(F.col("place").isNull(), F.col("source_sha256")))
    return placed.groupBy("user_key", "item_key").agg(
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
        after = _drop(_drop(pairs, "user_key", k), "item_key", k).localCheckpoint(eager=False)
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
    for n, side in enumerate(SIDES):
        name = f"{side}s"
        if peeled.sizes is not None:
            numbered = spark.range(peeled.sizes[n]).select(
                F.col("id").cast("int").alias(f"{side}_idx"),
                F.col("id").cast("string").alias(f"{side}_id"),
            )
        else:
            old = base[name]
            firsts = pairs.groupBy(f"{side}_key").agg(F.min("place").alias("place"))
            firsts = firsts.join(peeled.ids[side], f"{side}_key")
            numbered = _append(firsts, side, None if old is None else read(spark, *old))
        tables[name] = numbered.localCheckpoint()
        keys = tables[name].join(peeled.ids[side], f"{side}_id").drop(f"{side}_id")
        pairs = pairs.join(keys, f"{side}_key")
    interactions = pairs.select("user_idx", "item_idx", "reviewed_at").localCheckpoint()
    facts = _one(interactions.agg(
        F.count("*"), F.count_distinct("user_idx"), F.count_distinct("item_idx")
    ))  # fmt: skip
    counts = dict(zip(("interactions", "users", "items"), facts, strict=True))
    counts |= {f"{name}_table": table.count() for name, table in tables.items()}
    return CoreFrames(tables["users"], tables["items"], interactions, counts)


def _append(firsts: DataFrame, side: str, base: DataFrame | None) -> DataFrame:
    """The id table of one side: the base's rows, then new ids by smallest place."""
    id_, idx = f"{side}_id", f"{side}_idx"
    offset = 0
    if base is not None:
        offset = base.count()
        firsts = firsts.join(base, id_, "left_anti")
    new = dense_numbers(firsts, "n", [F.col("place")])
    new = new.select((F.col("n") + offset).cast("int").alias(idx), id_)
    return new if base is None else base.select(idx, id_).unionByName(new)


def _integer_sizes(ids: Mapping[str, DataFrame]) -> tuple[int, int]:
    sizes = []
    for side in SIDES:
        id_ = F.col(f"{side}_id")
        plain = id_.rlike("^(0|[1-9][0-9]{0,9})$")
        bad, largest, n = _one(ids[side].agg(
            F.max(F.when(~plain, id_)), F.max(F.when(plain, id_).cast("long")), F.count("*"),
        ))  # fmt: skip
        if bad is not None:
            raise kcore.not_plain(side, bad)
        largest = -1 if largest is None else largest
        kcore.check_largest(largest, n, side)
        sizes.append(largest + 1)
    return sizes[0], sizes[1]


def _one(frame: DataFrame) -> tuple[Any, ...]:
    """The only row of an aggregate without groups."""
    row = frame.first()
    assert row is not None
    return tuple(row)


def to_memory(peeled: Peeled, k: int) -> tuple[kcore.Pairs, int]:
    """Peel the rest in the driver's memory: the core as codes, and the rounds that took.

    Keys come through Arrow as numbers; only the ids of the core itself are ever collected.
    """
    us = F.unix_micros("reviewed_at").alias("us")
    rows = peeled.pairs.select("user_key", "item_key", "place", us).toArrow()
    codes, keys = {}, {}
    for side in SIDES:
        keys[side], found = np.unique(rows[f"{side}_key"].to_numpy(), return_inverse=True)
        codes[side] = found.astype(np.int32)
    kept, rounds = kcore.peel(codes["user"], codes["item"], k)
    ids = {}
    for side in SIDES:
        in_core, found = np.unique(codes[side][kept], return_inverse=True)
        codes[side], ids[side] = found.astype(np.int32), _texts(peeled, side, keys[side][in_core])
    pairs = kcore.Pairs(
        codes["user"],
        codes["item"],
        rows["place"].to_numpy()[kept],
        rows["us"].fill_null(kcore.NEVER).to_numpy()[kept],
        ids["user"],
        ids["item"],
    )
    return pairs, rounds


def _texts(peeled: Peeled, side: str, keys: np.ndarray) -> pa.StringArray:
    """The ids behind these keys (ascending), in their order."""
    name = f"{side}_key"
    left = peeled.pairs.select(name).distinct()
    rows = peeled.ids[side].join(left, name, "left_semi").toArrow()
    known = rows[name].to_numpy()
    order = np.argsort(known)
    at = order[np.searchsorted(known[order], keys)] if len(keys) else order[:0]
    return rows[f"{side}_id"].cast(pa.string()).take(pa.array(at)).combine_chunks()
