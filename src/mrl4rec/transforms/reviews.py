"""Decoded records → what `reviews` and `quarantine` gain: one row a (user, item, time).

Of rows with the same key the one with the smallest (rating, source_sha256, record_no) stays, a
missing rating being the largest. Only rows whose (user, item) occurs more than once are compared
with each other, in an ordinary dump one in fifty; a hash tells which may be such. Rows of sessions
(lists of items without times) all stay: a list may name an item twice, and no two sources share a
session.

Relations: ``decoded`` and ``decoded_aside`` (``Engine.decode``), ``arrived`` (source_no,
source_sha256: the new sources), ``present`` (`reviews` as it is).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from mrl4rec.formats.rules import NO_RATING, text
from mrl4rec.transforms.engine import Engine

COLUMNS = "user_id, item_id, rating, reviewed_at, source_sha256, record_no"
GAINED = f"SELECT {COLUMNS} FROM gained"
REPLACED = f"""
    SELECT {COLUMNS} FROM present AS p ANTI JOIN (
      SELECT source_sha256, record_no FROM rivals WHERE is_present = 1 AND place > 1) AS r
      ON p.source_sha256 = r.source_sha256 AND p.record_no = r.record_no
    UNION ALL {GAINED}"""
"""The rows of ``present`` that stay where some are replaced, and the gain."""
QUARANTINED = """
    SELECT a.source_sha256, q.record_no, q.record, q.rule, q.detail
    FROM quarantined AS q JOIN arrived AS a ON q.source_no = a.source_no"""
_KEY = "PARTITION BY user_id, item_id, reviewed_at"
_SMALLEST = "rating ASC NULLS LAST, source_sha256 ASC NULLS LAST, record_no ASC NULLS LAST"
_SHORT = "length(item_id) < 10 AND translate(item_id, '0123456789', '') = ''"


@dataclass
class Source:
    """What one new source holds."""

    good: int = 0
    """Records that break no rule."""
    rated: int = 0
    low: float = 0.0
    """Smallest rating of a good record, 0 where none has one; so is the largest."""
    high: float = 0.0
    duplicate: int = 0
    """Good records that `reviews` does not gain: their key is not new, or another one stays."""
    repeated: int = 0
    """Good records of a (user, item) that an earlier one of the source has already."""
    replacing: int = 0
    """Good records that stay in place of one in `reviews`."""
    short_ids: int = 0
    """Item ids of one to nine digits."""
    short_rows: int = 0
    are_sessions: bool = False
    """Its records are events of sessions, which are never duplicates."""
    rules: Counter[str] = field(default_factory=Counter)
    """Quarantined records by the rule they break."""

    @property
    def counts(self) -> dict[str, int]:
        """The columns of `sources` that count."""
        quarantined = self.rules.total()
        return {
            "rows_read": self.good + quarantined,
            "rows_accepted": self.good - self.duplicate,
            "rows_duplicate": self.duplicate,
            "rows_quarantined": quarantined,
        }


def settle(engine: Engine, sources: Sequence[Source]) -> None:
    """Decide on records without a rating, make the relations ``fresh`` of all good records and
    ``quarantined`` of all others, and count both in ``sources``, which source_no numbers.

    In a source where a good record has a rating, one without breaks the rule ``no_rating``; where
    none has, ratings are null.
    """
    _count(engine, sources, """
        SELECT source_no, count(*) AS good, count(rating) AS rated,
          coalesce(min(rating), 0e0) AS low, coalesce(max(rating), 0e0) AS high
        FROM decoded GROUP BY source_no""")  # fmt: skip
    for row in engine.query(
        "SELECT source_no, rule, count(*) AS n FROM decoded_aside GROUP BY source_no, rule"
    ).to_pylist():
        source = sources[row["source_no"]]
        if row["rule"] is None and not source.rated:
            source.good += row["n"]
        else:
            source.rules[row["rule"] or NO_RATING] += row["n"]
    rated = ", ".join(str(number) for number, source in enumerate(sources) if source.rated) or "-1"
    broken = f"(rule IS NOT NULL OR source_no IN ({rated}))"
    engine.define("quarantined", f"""
        SELECT source_no, record_no, record, detail, coalesce(rule, '{NO_RATING}') AS rule
        FROM decoded_aside WHERE {broken}""")  # fmt: skip
    columns = "source_no, record_no, user_id, item_id, rating, reviewed_at"
    engine.define("fresh", f"""
        SELECT {columns} FROM decoded
        UNION ALL SELECT {columns} FROM decoded_aside WHERE NOT {broken}""")  # fmt: skip


def first_broken(engine: Engine) -> dict[str, dict[str, Any]]:
    """For each rule the first record that breaks it: source_no, record_no, record, detail."""
    rows = engine.query("""
        SELECT rule, source_no, record_no, substr(record, 1, 200) AS record, detail FROM (
          SELECT *, row_number() OVER (PARTITION BY rule ORDER BY source_no, record_no) AS place
          FROM quarantined)
        WHERE place = 1 ORDER BY rule""").to_pylist()
    return {row.pop("rule"): row for row in rows}


def compare(engine: Engine, sources: Sequence[Source], sessions: Collection[str] = ()) -> int:
    """Make the relation ``gained`` (`reviews` columns): rows that are new, or smaller than one that
    is there. Counts duplicates and repetitions by source; how many rows it replaces.
    ``sessions`` are the digests of the sources in ``present`` that hold sessions.
    """
    numbers = [str(n) for n, source in enumerate(sources) if source.are_sessions]
    pair = _pair(engine, "f.source_no", numbers)
    present_pair = _pair(engine, "source_sha256", [text(digest) for digest in sessions])
    engine.materialise("doubtful", f"""
        SELECT pair FROM (
          SELECT {pair} AS pair, 1 AS new FROM fresh AS f
          UNION ALL SELECT {present_pair}, 0 FROM present)
        GROUP BY pair HAVING count(*) > 1 AND sum(new) > 0""")  # fmt: skip
    named = f"""
        SELECT f.*, a.source_sha256, {pair} AS pair
        FROM fresh AS f JOIN arrived AS a ON f.source_no = a.source_no"""
    engine.materialise("rivals", f"""
        SELECT *, row_number() OVER ({_KEY} ORDER BY {_SMALLEST}) AS place,
          max(is_present) OVER ({_KEY}) AS is_known
        FROM (
          SELECT {COLUMNS}, source_no, 0 AS is_present
          FROM ({named}) AS n SEMI JOIN doubtful AS d ON n.pair = d.pair
          UNION ALL
          SELECT {COLUMNS}, -1, 1 FROM (SELECT *, {present_pair} AS pair FROM present) AS p
            SEMI JOIN doubtful AS d ON p.pair = d.pair)""")  # fmt: skip
    engine.define("gained", f"""
        SELECT {COLUMNS} FROM ({named}) AS n ANTI JOIN doubtful AS d ON n.pair = d.pair
        UNION ALL SELECT {COLUMNS} FROM rivals WHERE place = 1 AND is_present = 0""")  # fmt: skip
    _count(engine, sources, """
        SELECT source_no, CAST(sum(n - new) AS BIGINT) AS duplicate,
          CAST(sum(n - 1) AS BIGINT) AS repeated, CAST(sum(replacing) AS BIGINT) AS replacing
        FROM (
          SELECT source_no, count(*) AS n,
            count(*) FILTER (WHERE place = 1 AND is_known = 0) AS new,
            count(*) FILTER (WHERE place = 1 AND is_known = 1) AS replacing
          FROM rivals WHERE is_present = 0 GROUP BY source_no, user_id, item_id)
        GROUP BY source_no""")  # fmt: skip
    return sum(source.replacing for source in sources)


def _pair(engine: Engine, column: str, sessions: Collection[str]) -> str:
    """SQL of the hash of a row's pair; null, which equals nothing, for a row of sessions."""
    pair = engine.hash("user_id", "item_id")
    if not sessions:
        return pair
    return f"CASE WHEN {column} NOT IN ({', '.join(sessions)}) THEN {pair} END"


def count_short_ids(engine: Engine, sources: Sequence[Source]) -> None:
    """Count item ids that look like ASINs or ISBNs without their leading zeros."""
    _count(engine, sources, f"""
        SELECT source_no, count(DISTINCT item_id) AS short_ids, count(*) AS short_rows
        FROM fresh WHERE {_SHORT} GROUP BY source_no""")  # fmt: skip


def _count(engine: Engine, sources: Sequence[Source], query: str) -> None:
    for row in engine.query(query).to_pylist():
        vars(sources[row.pop("source_no")]).update(row)


def distinct(engine: Engine) -> dict[str, int]:
    """How many ``users`` and ``items`` `reviews` has, the gain included."""
    return {
        f"{side}s": engine.query(
            f"SELECT count(DISTINCT {side}_id) AS n FROM "
            f"(SELECT {side}_id FROM fresh UNION ALL SELECT {side}_id FROM present)"
        )["n"][0].as_py()
        for side in ("user", "item")  # one by one: together they take Spark twice as long
    }
