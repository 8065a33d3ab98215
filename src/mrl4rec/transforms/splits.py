"""Split strategies as SQL that DuckDB and Spark run alike: pairs in, the same with a fold out.

A fold depends on external ids, times, seed and share only, never on internal numbers or on the
engine. A pair is drawn by the MD5 of ``seed|purpose|length|user|item`` (UTF-8; the seed in decimal,
the purpose ``fold`` or ``tie``, the length of the user's id in code points), as 32 lower-case
hexadecimal digits, which are compared by their bytes, as ids are. A share is ⌊share·2^64⌋ as 16
digits; below it is in. The first 16 digits of the ``fold`` hash decide on test, the last on valid.

- ``random``: each pair goes to test by itself with probability ``share`` (the paper's split).
- ``per_user_random``: of each user's n pairs, in the order of the ``fold`` hash, then of the item's
  id, the first round(share·n) go to test; at least one stays.
- ``last_out``: each user's last pair goes to test, unless it is the only one.
- ``global_time``: the last round(share·P) of all P pairs go to test. Here and for ``last_out``
  equal times are ordered by the ``tie`` hash, then by ids.
- ``since``: every pair at or after a moment goes to test, however many they are.
- ``predefined``: the pairs go to test that have this fold in the relation ``given``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mrl4rec.tables.expectation import sql_double, sql_time
from mrl4rec.tables.splits import FOLDS
from mrl4rec.transforms.engine import Engine

VALID_SHARE = 0.1
PAIRS = """
    SELECT user_idx, item_idx, reviewed_at, user_id, item_id
    FROM interactions JOIN users USING (user_idx) JOIN items USING (item_idx)"""


def hashed(seed: int, purpose: str) -> str:
    """SQL of the hash of a pair: 32 hexadecimal digits."""
    length = "CAST(length(user_id) AS STRING)"
    return f"md5(concat('{seed}|{purpose}|', {length}, '|', user_id, '|', item_id))"


def threshold(share: float) -> str:
    """The 16 hexadecimal digits that a hash is below with probability ``share`` < 1."""
    return f"{int(share * 2.0**64):016x}"


def build(
    engine: Engine, strategy: str, seed: int, share: float, moment: datetime | None = None
) -> dict[str, Any]:
    """The folds of the relations ``interactions``, ``users`` and ``items`` as ``folded``.

    ``moment`` is the cut of ``since``; ``predefined`` takes its test pairs from ``given``. Returns
    the pairs of each fold, and users with test pairs. Of what is not test, VALID_SHARE is valid.
    """
    chosen = _chosen(engine, strategy, seed, share, moment)
    valid = f"substring(fold_hash, 17, 16) < '{threshold(VALID_SHARE)}'"
    fold = f"CASE WHEN test THEN 'test' WHEN {valid} THEN 'valid' ELSE 'train' END"
    engine.materialise(
        "folded", f"SELECT user_idx, item_idx, reviewed_at, {fold} AS fold FROM ({chosen}) AS t"
    )
    folds = ", ".join(f"count(*) FILTER (WHERE fold = '{fold}') AS {fold}" for fold in FOLDS)
    users = "count(DISTINCT CASE WHEN fold = 'test' THEN user_idx END) AS test_users"
    counts: dict[str, Any] = engine.query(f"SELECT {folds}, {users} FROM folded").to_pylist()[0]
    return counts


def _chosen(engine: Engine, strategy: str, seed: int, share: float, moment: datetime | None) -> str:
    """SQL of the pairs with ``fold_hash`` and whether they go to ``test``."""
    pairs = f"(SELECT *, {hashed(seed, 'fold')} AS fold_hash FROM ({PAIRS}) AS pairs) AS hashed"
    tie = hashed(seed, "tie")
    if moment is not None:
        test = f"reviewed_at >= {sql_time(moment)}"
    elif strategy == "random":
        test = f"substring(fold_hash, 1, 16) < '{threshold(share)}'"
    elif strategy == "per_user_random":
        pairs = _placed(pairs, "fold_hash, item_id")
        test = f"place <= least(floor({sql_double(share)} * n + 5e-1), n - 1)"
    elif strategy == "last_out":
        pairs = _placed(pairs, f"reviewed_at DESC, {tie} DESC, item_id DESC")
        test = "place = 1 AND n > 1"
    elif strategy == "global_time":
        order = f"reviewed_at, {tie}, user_id, item_id"
        n = engine.number("in_time", f"SELECT * FROM {pairs}", order, "place")
        pairs, test = "in_time", f"place >= {n - int(share * n + 0.5)}"
    else:
        given = "SELECT user_idx AS u, item_idx AS i FROM given WHERE fold = 'test'"
        pairs += f" LEFT JOIN ({given}) AS tested ON u = user_idx AND i = item_idx"
        test = "u IS NOT NULL"
    return f"SELECT *, {test} AS test FROM {pairs}"


def _placed(pairs: str, order: str) -> str:
    """SQL of pairs with their ``place`` among the ``n`` of their user."""
    return f"""(
        SELECT *, count(*) OVER (PARTITION BY user_idx) AS n,
          row_number() OVER (PARTITION BY user_idx ORDER BY {order}) AS place
        FROM {pairs}) AS placed"""


def table(strategy: str, seed: int) -> str:
    """SQL of the rows of the table ``splits``."""
    return f"SELECT *, '{strategy}' AS strategy, CAST({seed} AS BIGINT) AS split_seed FROM folded"


def ends(engine: Engine) -> list[int]:
    """The first and the last time of the pairs, in µs; none without pairs."""
    row = engine.query("SELECT min(reviewed_at) AS low, max(reviewed_at) AS high FROM folded")
    return [micros for micros in row.to_pylist()[0].values() if micros is not None]
