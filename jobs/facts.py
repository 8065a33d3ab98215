"""Facts on Spark: a stage's tables reduced to one row of named numbers, in one job.

Great Expectations then judges that row. What is counted, and how the rows that break an expectation
are listed, is declared beside the tables (``mrl4rec.tables``); here it becomes one query.
Run as a program it lists every row that breaks an expectation of a gate that failed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from jobs import delta
from mrl4rec.errors import UsageError
from mrl4rec.gate.verdicts import last_failure
from mrl4rec.settings import Settings
from mrl4rec.tables import CORE_SUITE, REVIEWS_SUITE, SOURCES, TABLES, split_suite
from mrl4rec.tables.expectation import fill
from mrl4rec.tables.splits import FOLDS

Frames = Mapping[str, DataFrame]
SIDES = ("user", "item")
PAIR = "(shiftleft(CAST(user_idx AS bigint), 32) + item_idx)"
"""Both numbers in one, which Spark groups by in half the time."""
SPARK_TYPES = {
    pa.string(): "string",
    pa.float64(): "double",
    pa.int64(): "bigint",
    pa.int32(): "int",
    pa.timestamp("us", tz="UTC"): "timestamp",
}


def reviews_facts(frames: Frames, text: Mapping[str, str], ingest_share: float) -> DataFrame:
    """Facts of ``reviews``, ``quarantine`` and ``sources``.

    ``text`` has SQL for ``as_of`` and ``rating_ranges``; ``ingest_share`` is the quarantined share
    of the files of this ingest alone, so that a good past does not hide a bad dump.
    """
    query = f"""
    SELECT r.*, s.*, r.rows - s.accepted AS rows_beyond_accepted
    FROM (
      SELECT count(*) AS rows, {_counts(REVIEWS_SUITE.conditions("reviews"))},
        count_if(NOT (rating BETWEEN low AND high)) AS ratings_outside,
        count_if(known IS NULL) AS rows_of_unknown_source,
        count(*) - count(DISTINCT struct(user_id, item_id, reviewed_at)) AS duplicate_keys
      FROM {{reviews}} LEFT JOIN (
        SELECT source_sha256 AS known, min(low) AS low, max(high) AS high
        FROM {{sources}} LEFT JOIN {{rating_ranges}} USING (format) GROUP BY source_sha256
      ) ON known = source_sha256
    ) AS r CROSS JOIN (
      SELECT coalesce(sum(rows_accepted), 0) AS accepted,
        count(s.source_sha256) - count(DISTINCT s.source_sha256) AS duplicate_sources,
        {_counts(REVIEWS_SUITE.conditions("sources"), "s.source_sha256 IS NOT NULL")},
        count_if(coalesce(rows_quarantined, 0) <> coalesce(q.rows, 0)) AS sources_miscounted,
        greatest(coalesce(sum(rows_quarantined) / nullif(sum(rows_read), 0), 0), {ingest_share!r}D)
          AS quarantined_share
      FROM {{sources}} AS s FULL JOIN (
        SELECT source_sha256, count(*) AS rows FROM {{quarantine}} GROUP BY source_sha256
      ) AS q ON s.source_sha256 = q.source_sha256
    ) AS s"""
    return one_row(frames, fill(query, text))


def core_facts(frames: Frames, told: Mapping[str, Any]) -> DataFrame:
    """Facts of ``interactions``, ``users`` and ``items``; ``told`` is the stage's summary.

    Each table is read once and all are grouped together: a pair counts in the groups of its pair,
    its user and its item, a row of users or items in those of its number and of its id.
    """
    numbers = [f"{_kind(one)}, CAST({one}_idx AS bigint)" for one in SIDES]
    tables = [f"SELECT stack(3, {_kind('pair')}, {PAIR}, {', '.join(numbers)}) AS (kind, number), "
              "CAST(NULL AS string) AS id, 1 AS pairs, 0 AS rows FROM {interactions}"]  # fmt: skip
    for one, number in zip(SIDES, numbers, strict=True):
        by_id = f"{_kind(f'{one}_id')}, NULL, {one}_id"
        tables.append(f"SELECT stack(2, {number}, NULL, {by_id}), 0, 1 FROM {{{one}s}}")
    pairs = f"""
      {_sum("pairs", "pair")} AS rows,
      {_sum("if(number IS NULL, 0, pairs - 1)", "pair")} AS duplicate_pairs,
      {_sum("pairs", "pair")} - {_number(told, "interactions")} AS pairs_beyond_told"""
    query = f"""
    SELECT {", ".join([pairs, *(_side(one, told) for one in SIDES)])}
    FROM (
      SELECT kind, number, id, id AS user_id, id AS item_id, sum(pairs) AS pairs, sum(rows) AS rows
      FROM ({" UNION ALL ".join(tables)}) GROUP BY kind, number, id
    )"""
    return one_row(frames, query)


def _side(one: str, told: Mapping[str, Any]) -> str:
    """SQL: the facts of users or of items, from the groups."""
    mine, conditions = f"kind = {_kind(one)}", CORE_SUITE.conditions(f"{one}s")
    last = f"max(if({mine} AND rows > 0, number, NULL))"
    n = _sum("rows", one)
    facts = {
        f"smallest_{one}_degree": f"coalesce(min(if({mine} AND pairs > 0, pairs, NULL)), 0)",
        f"pairs_of_unknown_{one}": _sum("if(rows = 0, pairs, 0)", one),
        f"{one}s_beyond_told": f"count_if({mine} AND pairs > 0) - {_number(told, f'{one}s')}",
        f"{one}_idx_amiss": f"{n} - count_if({mine} AND rows > 0 AND number >= 0)"
        f" + greatest(coalesce({last}, 0) - greatest({n} - 1, 0), 0)",
        f"duplicate_{one}_ids": _sum("if(id IS NULL, 0, rows - 1)", f"{one}_id"),
        **{fact: _sum(f"if({c}, rows, 0)", f"{one}_id") for fact, c in conditions.items()},
    }
    return ", ".join(f"{sql} AS {fact}" for fact, sql in facts.items())


def _kind(name: str) -> int:
    return ("pair", "user", "item", "user_id", "item_id").index(name)


def _sum(what: str, kind: str) -> str:
    return f"coalesce(sum(if(kind = {_kind(kind)}, {what}, 0)), 0)"


def split_facts(frames: Frames, text: Mapping[str, str], told: Mapping[str, Any]) -> DataFrame:
    """Facts of ``splits`` against ``interactions``; ``told`` is the stage's summary.

    ``text`` has SQL for ``strategy``, ``split_seed`` and, where the stage told a cut, ``since``.
    """
    conditions = split_suite(share_asked=True, cut_asked="since" in told).conditions("splits")
    broken = ", ".join(f"int(coalesce({c}, false)) AS {fact}" for fact, c in conditions.items())
    unbroken = ", ".join(f"0 AS {fact}" for fact in conditions)
    sums = ", ".join(f"sum({fact}) AS {fact}" for fact in conditions)
    folds = ", ".join(f"count_if(fold = '{fold}') AS {fold}" for fold in FOLDS)
    totals = ", ".join(f"coalesce(sum({n}), 0) AS {n}" for n in (*conditions, *FOLDS))
    beyond = " + ".join(f"abs({fold} - {_number(told, fold)})" for fold in FOLDS)
    asked = told.get("asked", {})
    in_one = f"(in_splits = 0 OR in_splits = greatest({', '.join(FOLDS)}, unknown_folds))"
    query = f"""
    SELECT *, {beyond} AS pairs_beyond_told,
      {_sigmas("test", "train + valid + test", asked.get("test"))} AS test_sigmas,
      {_sigmas("valid", "train + valid", asked.get("valid"))} AS valid_sigmas
    FROM (
      SELECT {totals},
        count_if(in_splits > 1 AND {in_one}) AS duplicate_pairs,
        count_if(NOT {in_one}) AS pairs_in_two_folds,
        count_if(in_splits = 0) AS pairs_lost,
        count_if(in_core = 0) AS pairs_invented,
        count_if(in_splits > 0 AND in_core > 0 AND NOT (early <=> core_at AND late <=> core_at))
          AS times_changed
      FROM (
        SELECT pair, {sums}, {folds}, sum(in_splits) AS in_splits,
          sum(1 - in_splits) AS in_core,
          min(split_at) AS early, max(split_at) AS late, min(core_at) AS core_at
        FROM (
          SELECT {PAIR} AS pair, fold, 1 AS in_splits, reviewed_at AS split_at,
            CAST(NULL AS timestamp) AS core_at, {broken} FROM {{splits}}
          UNION ALL
          SELECT {PAIR}, NULL, 0, NULL, reviewed_at, {unbroken} FROM {{interactions}}
        ) GROUP BY pair
      )
    )"""
    return one_row(frames, fill(query, text))


def _sigmas(fold: str, of: str, share: float | None) -> str:
    """SQL: how many σ of a binomial the fold's size is off, less the half pair it cannot help."""
    if share is None:
        return "CAST(NULL AS double)"
    spread = f"sqrt(({of}) * {share!r}D * (1 - {share!r}D))"
    off = f"greatest(abs({fold} - ({of}) * {share!r}D) - 0.5D, 0D)"
    return f"coalesce({off} / nullif({spread}, 0D), 0D)"


def one_row(frames: Frames, query: str) -> DataFrame:
    """The row of facts as a local frame: taken in one job, so that judging it costs no other.

    Where columns are not as declared, how many is the only fact: nothing else could be trusted.
    """
    spark = next(iter(frames.values())).sparkSession
    amiss = columns_amiss(frames)
    if any(problem.fatal for problem in amiss):
        return spark.createDataFrame([(len(amiss),)], "columns_amiss bigint")
    query = f"SELECT {len(amiss)}L AS columns_amiss, * FROM ({query})"
    facts = _query(frames, query)
    return spark.createDataFrame(facts.collect(), facts.schema)


def _query(frames: Frames, query: str) -> DataFrame:
    """A query over ``{table}`` names, which Spark takes as keyword arguments."""
    spark: Any = next(iter(frames.values())).sparkSession
    answer: DataFrame = spark.sql(query, **frames)
    return answer


@dataclass(frozen=True)
class Amiss:
    """A column that is not as declared; one too many is not fatal to counting the others."""

    words: str
    fatal: bool


def columns_amiss(frames: Frames) -> list[Amiss]:
    """The columns that are missing, of another type, or not declared, in words."""
    found = []
    for table, frame in frames.items():
        types = dict(frame.dtypes)
        for name, column in TABLES[table].columns.items():
            wanted = SPARK_TYPES[column.type]
            if name not in types:
                found.append(Amiss(f"{table}.{name} is missing", True))
            elif types[name] != wanted:
                words = f"{table}.{name} is {types[name]}, declared {wanted}"
                found.append(Amiss(words, True))
        extra = sorted(types.keys() - TABLES[table].columns.keys())
        found += [Amiss(f"{table}.{name} is not declared", False) for name in extra]
    return found


def sample(frames: Frames, query: str, rows: int) -> list[dict[str, Any]]:
    """Some of the rows that a listing gives."""
    return [row.asDict() for row in _query(frames, query).limit(rows).collect()]


def read_frames(
    spark: SparkSession, settings: Settings, dataset: str, versions: Mapping[str, int]
) -> dict[str, DataFrame]:
    """Frames of table versions, by table; the small table of sources as a local one."""
    frames = {}
    for table, version in versions.items():
        uri = settings.table_uri(dataset, table)
        if table == SOURCES.name:
            rows = DeltaTable(uri, version).to_pyarrow_table()
            frames[table] = spark.createDataFrame(rows)
        else:
            frames[table] = delta.read(spark, uri, version)
    return frames


def _counts(conditions: Mapping[str, str], also: str = "true") -> str:
    return ", ".join(f"count_if({also} AND ({c})) AS {fact}" for fact, c in conditions.items())


def _number(told: Mapping[str, Any], name: str) -> str:
    """A count the stage told, as SQL; null, which no limits hold, where it told none."""
    return str(int(told[name])) if name in told else "CAST(NULL AS bigint)"


def main(argv: Sequence[str] | None = None) -> None:
    """List the rows that break one expectation of a failed gate, as JSON lines."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--expectation", required=True)
    parser.add_argument("--warehouse", type=Path, default=None, help="default: MRL4REC_WAREHOUSE")
    parser.add_argument("--rows", type=int, default=100, help="list at most so many")
    options = parser.parse_args(argv)
    settings = Settings()  # type: ignore[call-arg]  # from the environment
    if options.warehouse is not None:
        settings = settings.model_copy(update={"warehouse": options.warehouse})
    verdict, finding = last_failure(settings, options.dataset, options.suite, options.expectation)
    if finding.listing is None:
        raise UsageError(f"{finding.name} is not about rows", todo="see its gate's Data Docs page")
    from jobs.spark import session

    versions = {table: int(version) for table, version in verdict.read.items()}
    frames = read_frames(session(settings), settings, options.dataset, versions)
    for row in sample(frames, finding.listing, options.rows):
        print(json.dumps(row, default=str, ensure_ascii=False))


if __name__ == "__main__":
    main()
