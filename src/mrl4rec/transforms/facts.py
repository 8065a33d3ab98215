"""Facts: a stage's tables reduced to one row of named numbers, on either data engine.

Great Expectations then judges that row. What is counted, and how the rows that break an expectation
are listed, is declared beside the tables (``mrl4rec.tables``); here it becomes one query over
relations that have the tables' names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa

from mrl4rec.tables import (
    CORE_SUITE,
    REVIEWS_SUITE,
    TABLES,
    Suite,
    sequence_split_suite,
    split_suite,
)
from mrl4rec.tables.expectation import EPOCH, fill, sql_double
from mrl4rec.tables.splits import EVERY_FOLD, FOLDS
from mrl4rec.transforms.engine import Engine
from mrl4rec.transforms.kcore import SIDES

Row = dict[str, Any]
PAIR = "(CAST(user_idx AS BIGINT) * 4294967296 + item_idx)"
"""Both numbers in one, which is grouped by in half the time."""


def reviews_facts(engine: Engine, text: Mapping[str, str], ingest_share: float) -> Row:
    """Facts of ``reviews``, ``quarantine`` and ``sources``.

    ``text`` has SQL for ``as_of``, ``rating_ranges`` and ``session_place``; ``ingest_share`` is the
    quarantined share of the files of this ingest alone, so that a good past does not hide a bad
    dump.
    """
    key = "user_id, item_id, reviewed_at, {session_place}"
    hashed = engine.hash("user_id", "item_id", "reviewed_at", "{session_place}")
    share = "CAST(sum(rows_quarantined) AS DOUBLE) / nullif(sum(rows_read), 0)"
    query = f"""
    SELECT r.*, d.*, s.*, r.rows - s.accepted AS rows_beyond_accepted
    FROM (
      SELECT count(*) AS rows, {_columns(REVIEWS_SUITE.conditions("reviews"), _count)},
        {_count("NOT (rating BETWEEN low AND high)")} AS ratings_outside,
        {_count("known IS NULL")} AS rows_of_unknown_source
      FROM reviews LEFT JOIN (
        SELECT s.source_sha256 AS known, min(f.low) AS low, max(f.high) AS high
        FROM sources AS s LEFT JOIN {{rating_ranges}} ON f.source_sha256 = s.source_sha256
        GROUP BY s.source_sha256
      ) AS k ON known = source_sha256
    ) AS r CROSS JOIN (
      SELECT {_total("n - 1")} AS duplicate_keys FROM (
        SELECT count(*) AS n FROM reviews
        WHERE {hashed} IN (SELECT {hashed} FROM reviews GROUP BY {hashed} HAVING count(*) > 1)
        GROUP BY {key}
      ) AS g
    ) AS d CROSS JOIN (
      SELECT {_total("rows_accepted")} AS accepted,
        count(s.source_sha256) - count(DISTINCT s.source_sha256) AS duplicate_sources,
        {_columns(REVIEWS_SUITE.conditions("sources"), _count_sources)},
        {_count("coalesce(rows_quarantined, 0) <> coalesce(q.n, 0)")} AS sources_miscounted,
        greatest(coalesce({share}, 0e0), {sql_double(ingest_share)}) AS quarantined_share
      FROM sources AS s FULL JOIN (
        SELECT source_sha256, count(*) AS n FROM quarantine GROUP BY source_sha256
      ) AS q ON s.source_sha256 = q.source_sha256
    ) AS s"""
    return _row(engine, fill(query, text))


def core_facts(engine: Engine, told: Mapping[str, Any]) -> Row:
    """Facts of ``interactions``, ``users`` and ``items``; ``told`` is the stage's summary."""
    pairs = f"""
      SELECT {_total("n")} AS rows,
        {_total("CASE WHEN pair IS NOT NULL THEN n - 1 END")} AS duplicate_pairs,
        {_total("n")} - {_number(told, "interactions")} AS pairs_beyond_told
      FROM (SELECT {PAIR} AS pair, count(*) AS n FROM interactions GROUP BY 1) AS g"""
    parts = [pairs, *(part for one in SIDES for part in (_numbers(one, told), _ids(one)))]
    joined = " CROSS JOIN ".join(f"({part}) AS t{n}" for n, part in enumerate(parts))
    return _row(engine, f"SELECT * FROM {joined}")


def _numbers(one: str, told: Mapping[str, Any]) -> str:
    """SQL: facts of the numbers of users or of items, in their table and in pairs."""
    rows = _total("in_table")
    last = "max(CASE WHEN in_table > 0 THEN number END)"
    facts = {
        f"smallest_{one}_degree": "coalesce(min(CASE WHEN pairs > 0 THEN pairs END), 0)",
        f"pairs_of_unknown_{one}": _total("CASE WHEN in_table = 0 THEN pairs END"),
        f"{one}s_beyond_told": f"{_count('pairs > 0')} - {_number(told, f'{one}s')}",
        f"{one}_idx_amiss": f"{rows} - {_count('in_table > 0 AND number >= 0')}"
        f" + greatest(coalesce({last}, 0) - greatest({rows} - 1, 0), 0)",
    }
    # Grouping takes nulls for equal, which a join would not.
    return f"""
      SELECT {_columns(facts)} FROM (
        SELECT number, {_total("pairs")} AS pairs, {_total("in_table")} AS in_table FROM (
          SELECT {one}_idx AS number, 1 AS pairs, 0 AS in_table FROM interactions
          UNION ALL SELECT {one}_idx, 0, 1 FROM {one}s
        ) AS b GROUP BY number) AS g"""


def _ids(one: str) -> str:
    """SQL: facts of the ids of users or of items."""
    cases = {fact: f"CASE WHEN {condition} THEN n END"
             for fact, condition in CORE_SUITE.conditions(f"{one}s").items()}  # fmt: skip
    cases[f"duplicate_{one}_ids"] = f"CASE WHEN {one}_id IS NOT NULL THEN n - 1 END"
    groups = f"SELECT {one}_id, count(*) AS n FROM {one}s GROUP BY {one}_id"
    return f"SELECT {_columns(cases, _total)} FROM ({groups}) AS g"


def split_facts(engine: Engine, text: Mapping[str, str], told: Mapping[str, Any]) -> Row:
    """Facts of ``splits`` against ``interactions``; ``told`` is the stage's summary.

    ``text`` has SQL for ``strategy``, ``split_seed`` and, where the stage told a cut, ``since``.
    """
    of_sequences = told.get("of") == "sequences"
    suite = split_suite(share_asked=True, cut_asked="since" in told and not of_sequences)
    names = EVERY_FOLD if of_sequences else FOLDS
    if of_sequences:
        suite = sequence_split_suite()
    folds = {fold: f"fold = '{fold}'" for fold in names}
    beyond = " + ".join(f"abs({fold} - {_number(told, fold)})" for fold in names)
    asked = told.get("asked", {})
    in_folds = " + ".join(names)
    in_one = f"in_splits = greatest({', '.join(names)}, in_splits - ({in_folds}))"
    kept = "early IS NOT DISTINCT FROM core_at AND late IS NOT DISTINCT FROM core_at"
    query = f"""
    SELECT *, {beyond} AS pairs_beyond_told,
      {_sigmas("test", in_folds, asked.get("test"))} AS test_sigmas,
      {_sigmas("valid", "train + valid", asked.get("valid"))} AS valid_sigmas
    FROM (
      SELECT {_columns(suite.conditions("splits"), _count)} FROM splits
    ) AS c CROSS JOIN (
      SELECT {_columns({fold: fold for fold in names}, _total)},
        {_count(f"in_splits > 1 AND {in_one}")} AS duplicate_pairs,
        {_count(f"NOT {in_one}")} AS pairs_in_two_folds,
        {_count("in_splits = 0")} AS pairs_lost,
        {_count("in_core = 0")} AS pairs_invented,
        {_count(f"in_splits > 0 AND in_core > 0 AND NOT ({kept})")} AS times_changed
      FROM (
        SELECT pair, {_columns(folds, _count)}, {_total("in_splits")} AS in_splits,
          {_total("1 - in_splits")} AS in_core,
          min(split_at) AS early, max(split_at) AS late, min(core_at) AS core_at
        FROM (
          SELECT {PAIR} AS pair, fold, 1 AS in_splits, reviewed_at AS split_at,
            CAST(NULL AS BIGINT) AS core_at FROM splits
          UNION ALL
          SELECT {PAIR}, NULL, 0, NULL, reviewed_at FROM interactions
        ) AS b GROUP BY pair
      ) AS g
    ) AS f"""
    row = _row(engine, fill(query, text))
    return row | (listed_facts(engine, suite, text, given=row) if of_sequences else {})


def listed_facts(
    engine: Engine, suite: Suite, text: Mapping[str, str], given: Mapping[str, Any] | None = None
) -> Row:
    """How many rows each listing of a suite has, but for facts that are ``given``; and ``rows``,
    those of its first table.
    """
    row: Row = {"rows": _row(engine, f"SELECT count(*) AS n FROM {suite.tables[0]}")["n"]}
    for asked in suite.expectations:
        if asked.listing is not None and asked.fact not in (given or {}):
            query = fill(f"SELECT count(*) AS n FROM ({asked.listing}) AS listed", text)
            row[asked.fact] = _row(engine, query)["n"]
    return row


def _sigmas(fold: str, of: str, share: float | None) -> str:
    """SQL: how many σ of a binomial the fold's size is off, less the half pair it cannot help."""
    if share is None:
        return "CAST(NULL AS DOUBLE)"
    p, q = sql_double(share), sql_double(1 - share)
    off = f"greatest(abs({fold} - ({of}) * {p}) - 5e-1, 0e0)"
    return f"coalesce({off} / nullif(sqrt(({of}) * {p} * {q}), 0e0), 0e0)"


def sample(engine: Engine, query: str, rows: int) -> list[Row]:
    """Some of the rows that a listing gives; times as text."""
    found = engine.query(f"SELECT * FROM ({query}) AS listed LIMIT {rows}").to_pylist()
    return [{name: _shown(name, value) for name, value in row.items()} for row in found]


def _shown(name: str, value: Any) -> Any:
    if not name.endswith("_at") or not isinstance(value, int):
        return value
    try:
        return (EPOCH + timedelta(microseconds=value)).isoformat()
    except OverflowError:  # a time that no calendar has
        return value


@dataclass(frozen=True)
class Amiss:
    """A column that is not as declared; one too many is not fatal to counting the others."""

    words: str
    fatal: bool = True


def columns_amiss(schemas: Mapping[str, pa.Schema]) -> list[Amiss]:
    """The columns, by table, that are missing, of another type, or not declared, in words."""
    found = []
    for table, schema in schemas.items():
        declared, seen = TABLES[table].columns, dict(zip(schema.names, schema.types, strict=True))
        for name, column in declared.items():
            if name not in seen and not column.added_later:
                found.append(Amiss(f"{table}.{name} is missing"))
            elif seen.get(name, column.type) != column.type:
                found.append(Amiss(f"{table}.{name} is {seen[name]}, declared {column.type}"))
        extra = sorted(seen.keys() - declared.keys())
        found += [Amiss(f"{table}.{name} is not declared", fatal=False) for name in extra]
    return found


def _columns(terms: Mapping[str, str], form: Callable[[str], str] = str) -> str:
    """SQL of columns: what ``form`` makes of each term, by its name."""
    return ", ".join(f"{form(term)} AS {name}" for name, term in terms.items())


def _count(condition: str) -> str:
    return f"count(*) FILTER (WHERE {condition})"


def _count_sources(condition: str) -> str:
    """The same, where a digest of quarantined records may have no source beside it."""
    return _count(f"s.source_sha256 IS NOT NULL AND ({condition})")


def _total(what: str) -> str:
    return f"CAST(coalesce(sum({what}), 0) AS BIGINT)"


def _number(told: Mapping[str, Any], name: str) -> str:
    """A count the stage told, as SQL; null, which no limits hold, where it told none."""
    return str(int(told[name])) if name in told else "CAST(NULL AS BIGINT)"


def _row(engine: Engine, query: str) -> Row:
    row: Row = engine.query(query).to_pylist()[0]
    return row
