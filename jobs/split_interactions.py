"""The split stage: interactions → splits, every pair with its fold (train, valid or test)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import DeltaTable

from mrl4rec import split_files as author_form
from mrl4rec import stage, versions
from mrl4rec.errors import Mrl4recError, UsageError, nearest
from mrl4rec.settings import Settings
from mrl4rec.stage import Commit
from mrl4rec.tables import SPLITS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CODE = 1
STAGE, MARKER = "split", "splits"
STRATEGIES = ("random", "per_user_random", "last_out", "global_time", "since", "predefined")
USES_SHARE = ("random", "per_user_random", "global_time")
USES_TIME = ("last_out", "global_time", "since")
VALID_SHARE = 0.1


def run(
    dataset: str, core: Commit, *, strategy: str, split_seed: int = 0,
    split_files: Path | None = None, since: datetime | None = None, test_share: float = 0.2,
    settings: Settings,
) -> Commit:  # fmt: skip
    """The folds of the interactions of ``core``, from the warehouse if they are there already.

    ``split_files`` is a folder in the authors' form, for ``predefined`` only; ``since`` a time (in
    UTC where it has no zone), for the strategy of that name only. Raises UsageError for a strategy
    that does not fit the data, Mrl4recError where the files' pairs are not exactly the
    interactions.
    """
    _check(strategy, split_seed, split_files, test_share)
    moment = _moment(strategy, since)
    files = author_form.find(split_files) if split_files else {}
    share = test_share if strategy in USES_SHARE else None
    inputs = {"kcore": core.key, "files": author_form.digests(files)}
    said: dict[str, Any] = {"strategy": strategy, "split_seed": split_seed}
    if moment is not None:
        said["since"] = moment.isoformat()
    params = {**said, "test_share": share}
    key = stage.stage_key(STAGE, CODE, inputs, params)
    uri = settings.table_uri(dataset, MARKER)
    found = stage.find(uri, MARKER, key)
    if found is not None and versions.complete(settings, dataset, found):
        return found

    given = _given(settings, dataset, core, files) if files else None

    from jobs import delta
    from jobs.spark import session

    spark = session(settings)
    pairs = _pairs(spark, dataset, core, settings)
    if strategy in USES_TIME:
        _need_times(pairs, strategy, settings.table_uri(dataset, "interactions"))
    split = _split(pairs, strategy, split_seed, test_share, given, moment)
    split = split.localCheckpoint(eager=False)  # the counts fill it
    summary = {**_counts(split), **said, "asked": _shares(strategy, share)}
    if moment is not None:
        _check_cut(split, summary, moment)
    outputs = {name: core.table_version(name) for name in ("interactions", "users", "items")}
    commit = Commit(STAGE, key, MARKER, -1, outputs, summary)
    rows = sum(summary[fold] for fold in ("train", "valid", "test"))
    delta.overwrite(split, uri, "user_idx", "item_idx", rows=rows, metadata=commit.metadata())
    delta.unpersist(split)
    written = stage.find(uri, MARKER, key)
    if written is None:
        raise Mrl4recError("the commit just made is not in the table's history", where=uri)
    return replace(written, found=False)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage on the newest core of a data set and print its summary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--split", default="random", choices=STRATEGIES)
    parser.add_argument("--split-seed", type=int, default=0)
    parser.add_argument("--split-files", type=Path, default=None)
    parser.add_argument("--since", type=datetime.fromisoformat, default=None)
    options = parser.parse_args(argv)
    settings = Settings()  # type: ignore[call-arg]  # from the environment
    cores = stage.history(settings.table_uri(options.dataset, "interactions"), "interactions")
    if not cores:
        raise Mrl4recError(f"{options.dataset!r} has no k-core yet")
    commit = run(options.dataset, cores[0], strategy=options.split, split_seed=options.split_seed,
                 split_files=options.split_files, since=options.since,
                 settings=settings)  # fmt: skip
    print(json.dumps(dict(commit.summary)))


def assign(
    pairs: DataFrame, strategy: str, seed: int, share: float, since: datetime | None = None
) -> DataFrame:
    """``pairs`` (user_id, item_id, reviewed_at) with a column ``fold``, by hash or by time."""
    from jobs import folds

    if since is not None:
        return folds.with_valid(folds.since(pairs, since), seed)
    return folds.with_valid(folds.CHOSEN[strategy](pairs, seed, share), seed)


def predefined(pairs: DataFrame, given: DataFrame, seed: int) -> DataFrame:
    """``pairs`` with the folds of ``given`` (user_idx, item_idx, fold), the same pairs."""
    from pyspark.sql import functions as F  # what every Spark reader knows it by

    from jobs import folds

    tested = given.where(F.col("fold") == "test").select(
        "user_idx", "item_idx", F.lit(True).alias("test")
    )
    kept = pairs.join(tested, ["user_idx", "item_idx"], "left").fillna(False, ["test"])
    return folds.with_valid(kept, seed)


def _check(strategy: str, seed: int, files: Path | None, share: float) -> None:
    if strategy not in STRATEGIES:
        raise UsageError(f"unknown split {strategy!r}: {nearest(strategy, STRATEGIES)}")
    if (strategy == "predefined") != (files is not None):
        if files is None:
            what, todo = "needs the files", "give a folder with train.txt[.gz] and test.txt[.gz]"
        else:
            what, todo = "takes no files", "use --split predefined, or leave --split-files out"
        raise UsageError(f"the split {strategy!r} {what}", where="--split-files", todo=todo)
    if not 0 < share < 1:
        raise UsageError(f"the test share must lie between 0 and 1, got {share}")
    if not -(2**63) <= seed < 2**63:
        raise UsageError(f"the split seed must fit 64 bits, got {seed}", where="--split-seed")


def _need_times(pairs: DataFrame, strategy: str, where: str) -> None:
    """Raise UsageError where a pair has no time."""
    if pairs.where("reviewed_at is null").first() is not None:
        raise UsageError(
            f"the split {strategy!r} needs a time for every review, and these have none",
            where=f"{where}, column reviewed_at",
            todo="use --split random or per_user_random",
        )


def _moment(strategy: str, since: datetime | None) -> datetime | None:
    """The cut in time, in UTC; None for every other strategy."""
    if (strategy == "since") != (since is not None):
        what, todo = "needs a time", "give --since TIME, like 2014-05-01"
        if since is not None:
            what, todo = "takes no time", "use --split since, or leave --since out"
        raise UsageError(f"the split {strategy!r} {what}", where="--since", todo=todo)
    return since and since.replace(tzinfo=since.tzinfo or UTC).astimezone(UTC)


def _check_cut(split: DataFrame, counts: Mapping[str, Any], moment: datetime) -> None:
    """Raise UsageError where one side of the cut is empty."""
    from pyspark.sql import functions as F

    if counts["train"] and counts["test"]:
        return
    if counts["test"]:
        kept = counts["train"] + counts["valid"]
        what = f"there is nothing to train on: {kept:,} pairs are before {moment.isoformat()}"
    else:
        what = f"there is nothing to test: no pair is at or after {moment.isoformat()}"
    ends = split.agg(*[F.unix_micros(end("reviewed_at")) for end in (F.min, F.max)]).first()
    days = [datetime.fromtimestamp(end / 1e6, UTC).date().isoformat() for end in ends or ()]
    raise UsageError(
        f"{what}; the pairs reach {' to '.join(days)}",
        where="--since",
        todo="give a time between the two",
    )


def _pairs(spark: SparkSession, dataset: str, core: Commit, settings: Settings) -> DataFrame:
    """The interactions with both external ids."""
    from jobs import delta

    frames = {name: delta.read(spark, settings.table_uri(dataset, name), core.table_version(name))
              for name in ("interactions", "users", "items")}  # fmt: skip
    return (
        frames["interactions"].join(frames["users"], "user_idx").join(frames["items"], "item_idx")
    )


def _given(
    settings: Settings, dataset: str, core: Commit, files: dict[str, Path]
) -> pa.Table:  # fmt: skip
    """The pairs of the files. Raises Mrl4recError unless they are exactly the interactions."""
    tables = {name: DeltaTable(settings.table_uri(dataset, name), core.table_version(name))
              for name in ("interactions", "users", "items")}  # fmt: skip
    given = author_form.read(files)
    core_only, files_only = author_form.differences(
        given, tables["interactions"].to_pyarrow_table(columns=["user_idx", "item_idx"])
    )
    if not len(core_only) and not len(files_only):
        return given
    ids = {name: dict(zip(*tables[name].to_pyarrow_table().to_pydict().values(), strict=True))
           for name in ("users", "items")}  # fmt: skip
    parts = []
    for pairs, holder, other in (
        (core_only, "the interactions", "the files"),
        (files_only, "the files", "the interactions"),
    ):
        if len(pairs):
            user, item = pairs[0].tolist()
            names = f"{ids['users'].get(user, 'unknown')}, {ids['items'].get(item, 'unknown')}"
            parts.append(f"{len(pairs):,} pairs of {holder} are not in {other}; the first: "
                         f"user {user} item {item} ({names})")  # fmt: skip
    raise Mrl4recError(
        "the predefined split and the interactions are not the same pairs: " + "; ".join(parts),
        where=", ".join(map(str, files.values())),
        todo="give the files made from this dump with this --kcore, whose numbers are the ids by "
        "first appearance",
    )


def _split(
    pairs: DataFrame, strategy: str, seed: int, share: float, given: pa.Table | None,
    since: datetime | None,
) -> DataFrame:  # fmt: skip
    from pyspark.sql import functions as F

    if given is not None:
        chosen = predefined(pairs, pairs.sparkSession.createDataFrame(given), seed)
    else:
        chosen = assign(pairs, strategy, seed, share, since)
    stated = chosen.withColumn("strategy", F.lit(strategy))
    return stated.withColumn("split_seed", F.lit(seed).cast("long")).select(*SPLITS.columns)


def _counts(split: DataFrame) -> dict[str, Any]:
    """Pairs of each fold, and users with test pairs."""
    from pyspark.sql import functions as F

    facts = split.agg(
        *[F.count_if(F.col("fold") == fold).alias(fold) for fold in ("train", "valid", "test")],
        F.count_distinct(F.when(F.col("fold") == "test", F.col("user_idx"))).alias("test_users"),
    ).first()
    assert facts is not None  # an aggregate without groups has one row
    return facts.asDict()


def _shares(strategy: str, share: float | None) -> dict[str, float | None]:
    """The shares that fold sizes can be held against; other test folds follow from the degrees."""
    return {"test": share if strategy in ("random", "global_time") else None, "valid": VALID_SHARE}
