"""Sequences of events and their splits as SQL that DuckDB and Spark run alike.

A user's events stand in the order of time; equal times in the order of the ``tie`` hash of
``splits.hashed`` with seed 0, then of the item's id (or, where that is asked for, of the file). The
events of a list without times stand as in its file. What a strategy decides hangs on external ids,
times, order, seed and share only.

- ``last_out``: each user's last event is test, the one before it valid, where there are three.
- ``by_user``: 80 % of the users train; of the others, half valid and half test by the hash
  ``seed|users|length|user``, the last 20 % of the events, at least one, are targets, where there
  are two events. What valid users had before is ``valid_history``, what test users had is
  ``test_history``.
- ``global_time``: what is at or after T is test, T being where the newest ``share`` of all events
  begins; what is at or after T′ is valid, where the newest VALID_SHARE of the rest begins. Equal
  times are on one side. ``since``: the same with a given T. Users without an event before the cut
  have no history and are not judged: their events are ``valid_history`` (after T′) or
  ``test_history`` (after T).

The fold of a pair (user, item) is that of its first event, so a repeat is no test pair. Pairs of
the core without an event (dropped by the longest length) are ``test_history``: known, never trained
on.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mrl4rec.tables.expectation import sql_double, sql_time
from mrl4rec.tables.splits import EVERY_FOLD
from mrl4rec.transforms.engine import Engine
from mrl4rec.transforms.splits import VALID_SHARE, hashed, threshold

LONGEST = 2**31 - 1
"""No sequence is longer: positions are INT."""
HISTORY_SHARE = 0.8
"""Of a sequence of ``by_user`` so much is history."""
USER_SHARE = 0.8
"""Of the users of ``by_user`` so many are trained on."""


def build(
    engine: Engine,
    *,
    min_rating: float | None,
    repeats: bool,
    max_length: int | None,
    ties: str = "hash",
) -> dict[str, int]:
    """Make ``ordered`` (the columns of the table ``sequences``) of ``reviews``, ``users``,
    ``items`` and ``interactions``; ``untimed`` are the sources whose order is that of the file.

    Without ``repeats`` an item stays where it was first. ``max_length`` keeps the newest events.
    ``ties`` of ``file`` leaves equal times in the order of their source, sources by digest.
    Returns counts of ``events``, ``sequences``, and events that were ``repeated`` and ``cut``.
    """
    rated = "" if min_rating is None else f"WHERE rating >= {sql_double(min_rating)}"
    tie = hashed(0, "tie")
    by_file = "true" if ties == "file" else "r.reviewed_at IS NULL"
    engine.materialise("events", f"""
        SELECT u.user_idx AS sequence_id, i.item_idx, r.reviewed_at,
          CASE WHEN {by_file} THEN r.source_sha256 END AS source,
          CASE WHEN {by_file} THEN r.record_no END AS place, r.user_id, r.item_id
        FROM (SELECT * FROM reviews {rated}) AS r
          JOIN users AS u ON r.user_id = u.user_id JOIN items AS i ON r.item_id = i.item_id
          SEMI JOIN interactions AS p ON u.user_idx = p.user_idx AND i.item_idx = p.item_idx
        """)  # fmt: skip
    places = "source NULLS FIRST, place NULLS FIRST"
    order = f"reviewed_at NULLS FIRST, {places}, {tie}, item_id"
    rows = f"""SELECT *, row_number() OVER (PARTITION BY sequence_id ORDER BY {order}) AS nth
        FROM events"""
    all_events = engine.query("SELECT count(*) AS n FROM events")["n"][0].as_py()
    if not repeats:
        first = "row_number() OVER (PARTITION BY sequence_id, item_idx ORDER BY nth) AS again"
        rows = f"SELECT * FROM (SELECT *, {first} FROM ({rows}) AS r) AS a WHERE again = 1"
    longest = LONGEST if max_length is None else max_length
    events = engine.materialise("ordered", f"""
        SELECT sequence_id, item_idx, reviewed_at, named,
          row_number() OVER (PARTITION BY sequence_id ORDER BY nth) - 1 AS position
        FROM (
          SELECT *, row_number() OVER (PARTITION BY sequence_id ORDER BY nth DESC) AS back,
            CASE WHEN reviewed_at IS NOT NULL THEN user_id END AS named
          FROM ({rows}) AS r) AS b
        WHERE back <= {longest}""")  # fmt: skip
    once = "count(DISTINCT CAST(sequence_id AS BIGINT) * 4294967296 + item_idx)"
    facts = engine.query(f"""
        SELECT count(DISTINCT sequence_id) AS sequences, count(*) - {once} AS repeated,
          max(position) + 1 AS longest FROM ordered""").to_pylist()[0]  # fmt: skip
    return {"events": events, "left_out": all_events - events, **facts}


NO_TARGETS = {
    "last_out": (
        "nobody has three events of which the last and the one before are new to them",
        "bring longer histories (a lower --kcore, no --max-length)",
    ),
    "by_user": (
        "of the users drawn for it nobody has new items among the last 20 % of two or more events",
        "bring more users or longer histories, or draw others with --split-seed",
    ),
    "global_time": (
        "nobody with an event before the cut has new items after it",
        "bring users with events on both sides of the cut, or move it",
    ),
}
"""Why a fold has no targets, and what to do. A target is new: not in the user's history."""
NO_TARGETS["since"] = NO_TARGETS["global_time"]

TABLE = "SELECT sequence_id, position, item_idx, reviewed_at, named AS user_id FROM ordered"
"""SQL of the rows of the table ``sequences``."""


def untimed(engine: Engine) -> int:
    """Events of ``reviews`` without a time that are of no list."""
    found = engine.query("""
        SELECT count(*) AS n FROM reviews WHERE reviewed_at IS NULL
          AND source_sha256 NOT IN (SELECT source_sha256 FROM listed)""")
    return int(found["n"][0].as_py())


def split(
    engine: Engine, strategy: str, seed: int, share: float, moment: datetime | None = None
) -> dict[str, Any]:
    """Make ``event_folds`` (the columns of ``sequence_splits`` but the last two) of ``sequences``
    and ``users``, and ``folded``, the pairs of ``interactions`` with theirs.

    Returns the pairs of each fold; the ``events`` of each fold; users with ``targets`` to find;
    and the cuts in time, ``valid_from`` and ``test_from``, in µs.
    """
    cuts = _cuts(engine, strategy, share, moment)
    events = f"""
        SELECT s.*, count(*) OVER (PARTITION BY sequence_id) AS n,
          min(reviewed_at) OVER (PARTITION BY sequence_id) AS begins, {_user_role(seed)} AS role
        FROM sequences AS s JOIN (SELECT user_idx, user_id AS name FROM users) AS u
          ON s.sequence_id = u.user_idx"""
    fold = {"last_out": LAST_OUT, "by_user": BY_USER}.get(strategy) or _in_time(**cuts)
    engine.materialise(
        "event_folds",
        f"""
        SELECT sequence_id, position, item_idx, reviewed_at, {fold} AS fold FROM ({events}) AS e""",
    )
    engine.materialise(
        "folded",
        """
        SELECT p.user_idx, p.item_idx, p.reviewed_at, coalesce(f.fold, 'test_history') AS fold
        FROM interactions AS p LEFT JOIN (
          SELECT sequence_id, item_idx, fold FROM (
            SELECT *, row_number() OVER (PARTITION BY sequence_id, item_idx ORDER BY position)
              AS nth FROM event_folds) AS e WHERE nth = 1) AS f
          ON p.user_idx = f.sequence_id AND p.item_idx = f.item_idx""",
    )
    return {**_counts(engine, "folded", "user_idx", ""), **_counts(engine), **cuts}


def _counts(
    engine: Engine, table: str = "event_folds", user: str = "sequence_id", suffix: str = "_events"
) -> dict[str, int]:
    folds = ", ".join(
        f"count(*) FILTER (WHERE fold = '{fold}') AS {fold}{suffix}" for fold in EVERY_FOLD
    )
    users = ", ".join(
        f"count(DISTINCT CASE WHEN fold = '{fold}' THEN {user} END) AS {fold}{suffix}_users"
        for fold in ("valid", "test")
    )
    found: dict[str, int] = engine.query(f"SELECT {folds}, {users} FROM {table}").to_pylist()[0]
    return found


LAST_OUT = """
    CASE WHEN n < 3 OR position < n - 2 THEN 'train' WHEN position = n - 2 THEN 'valid'
      ELSE 'test' END"""
_TARGETS = f"position >= least(n - 1, greatest(1, floor({sql_double(HISTORY_SHARE)} * n)))"
BY_USER = f"""
    CASE WHEN role = 'train' OR n < 2 THEN 'train' WHEN {_TARGETS} THEN role
      ELSE concat(role, '_history') END"""


def _user_role(seed: int) -> str:
    """SQL: whether a user is of train, valid or test, by the hash of the id."""
    length = "CAST(length(name) AS STRING)"
    digits = f"substring(md5(concat('{seed}|users|', {length}, '|', name)), 1, 16)"
    middle = USER_SHARE + (1 - USER_SHARE) / 2
    return f"""CASE WHEN {digits} < '{threshold(USER_SHARE)}' THEN 'train'
        WHEN {digits} < '{threshold(middle)}' THEN 'valid' ELSE 'test' END"""


def _cuts(engine: Engine, strategy: str, share: float, moment: datetime | None) -> dict[str, int]:
    """Where valid and test begin, in µs; nothing for a strategy that does not go by time."""
    if strategy not in ("global_time", "since"):
        return {}
    test_from = int(sql_time(moment)) if moment else _newest(engine, share, None)
    return {"valid_from": _newest(engine, VALID_SHARE, test_from), "test_from": test_from}


def _newest(engine: Engine, share: float, before: int | None) -> int:
    """The time at which the newest ``share`` of the events ``before`` a time begins."""
    where = "" if before is None else f"WHERE reviewed_at < {before}"
    found = engine.query(f"""
        SELECT reviewed_at FROM (
          SELECT *, sum(n) OVER (ORDER BY reviewed_at) AS reached, sum(n) OVER () AS total
          FROM (SELECT reviewed_at, count(*) AS n FROM sequences {where} GROUP BY reviewed_at)
            AS times) AS t
        WHERE reached > total * {sql_double(1 - share)} ORDER BY reviewed_at LIMIT 1""")
    return int(found["reviewed_at"][0].as_py()) if found.num_rows else (before or 0)


def _in_time(valid_from: int, test_from: int) -> str:
    return f"""
        CASE WHEN reviewed_at < {valid_from} THEN 'train'
          WHEN reviewed_at < {test_from} THEN CASE WHEN begins < {valid_from} THEN 'valid'
            ELSE 'valid_history' END
          WHEN begins < {test_from} THEN 'test' ELSE 'test_history' END"""


def table(rows: str, strategy: str, seed: int) -> str:
    """SQL of ``event_folds`` or ``folded`` as rows of ``sequence_splits`` or ``splits``."""
    return f"SELECT *, '{strategy}' AS strategy, CAST({seed} AS BIGINT) AS split_seed FROM {rows}"
