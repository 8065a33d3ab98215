"""The k-core of the reviews, and the numbers of its users and items, on either data engine.

The k-core is the largest set of pairs in which every user and every item has at least k; it is
unique, so the order of removal does not matter. A *round* drops every user with fewer than k pairs,
then every item with fewer than k of the pairs left; rounds that drop nothing are not counted. A
*place* is where a review stood: source_no · 2^40 + record_no, one BIGINT.

Ids become integers first: text is grouped once a side and joined once. Those integers are only
for counting. The ids that are stored follow the first appearance among the core's rows.
"""

from __future__ import annotations

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.tables.expectation import sql_double
from mrl4rec.transforms.engine import Engine

RECORD_BITS = 40
"""Bits of a place that hold record_no: 10¹² records a source, 8 million sources."""
SIDES = ("user", "item")


def build(engine: Engine, *, k: int, min_rating: float | None, integer_ids: bool) -> dict[str, int]:
    """Make ``core_users``, ``core_items`` and ``core_interactions`` of ``reviews`` and ``sources``.

    Ids in ``base_users`` and ``base_items`` (tables of an earlier core, or empty) keep their
    numbers; with ``integer_ids`` the ids are the numbers. ``k`` 0 or 1 filters nothing; reviews
    with a rating below ``min_rating``, or none, are left out. Returns the core's ``interactions``,
    ``users`` and ``items``, the ``rounds``, rows of the tables of ids (``users_table``, …) and,
    with ``min_rating``, the reviews ``without_rating``. Raises UsageError where no review has a
    rating, Mrl4recError for rows without an id and for sources that are not listed.
    """
    rows, unrated = _rated(engine, min_rating)
    _check_sources(engine)
    # A user with fewer rows than k has fewer pairs than k: the first round begins here.
    dropped = _number_ids(engine, "user", rows, at_least=k)
    _number_ids(engine, "item", rows, at_least=0)
    sizes = {side: _integer_size(engine, side) for side in SIDES if integer_ids}
    rounds = _peel(engine, k, _collect_pairs(engine, rows), dropped)
    left = " ".join(
        f"SEMI JOIN (SELECT DISTINCT {side}_no FROM alive) AS {side}s USING ({side}_no)"
        for side in SIDES
    )
    interactions = engine.materialise("core", f"SELECT * FROM pairs {left}")
    engine.drop("pairs", "alive")
    (users, users_table), (items, items_table) = (
        _table(engine, side, sizes.get(side)) for side in SIDES
    )
    maps = "JOIN user_map USING (user_no) JOIN item_map USING (item_no)"
    engine.define("core_interactions", f"SELECT user_idx, item_idx, reviewed_at FROM core {maps}")
    return {
        "interactions": interactions, "users": users, "items": items, "rounds": rounds,
        "users_table": users_table, "items_table": items_table, **unrated,
    }  # fmt: skip


def _rated(engine: Engine, min_rating: float | None) -> tuple[str, dict[str, int]]:
    """SQL of the reviews that count, and how many have no rating where ratings matter."""
    if min_rating is None:
        return "reviews", {}
    facts = engine.query("SELECT count(*) AS n, count(rating) AS rated FROM reviews").to_pylist()[0]
    if facts["n"] and not facts["rated"]:
        raise UsageError(
            f"--min-rating {min_rating:g} asked for, but these reviews have no ratings",
            where="table reviews, column rating",
            todo="leave --min-rating out",
        )
    rows = f"(SELECT * FROM reviews WHERE rating >= {sql_double(min_rating)}) AS rated"
    return rows, {"without_rating": facts["n"] - facts["rated"]}


def _check_sources(engine: Engine) -> None:
    lost = engine.query("""
        SELECT count(*) AS n, min(source_sha256) AS digest
        FROM reviews ANTI JOIN sources USING (source_sha256)""").to_pylist()[0]
    if lost["n"]:
        named = f"{lost['digest'][:12]}…" if lost["digest"] else "null"
        raise Mrl4recError(
            f"reviews hold {lost['n']} rows of source {named}, which sources does not list",
            where="tables reviews and sources",
            todo="ingest again",
        )


def _number_ids(engine: Engine, side: str, rows: str, at_least: int) -> bool:
    """Number the ids with so many rows as ``<side>_ids``; whether there are others."""
    name = f"{side}_counts"
    n = engine.materialise(name, f"SELECT {side}_id, count(*) AS n FROM {rows} GROUP BY {side}_id")
    lost = engine.query(f"SELECT n FROM {name} WHERE {side}_id IS NULL")["n"].to_pylist()
    if lost:
        raise Mrl4recError(f"{lost[0]} rows have no {side}_id", where="table reviews")
    enough = f"SELECT {side}_id FROM {name} WHERE n >= {at_least}"
    return engine.number(f"{side}_ids", enough, f"{side}_id", f"{side}_no") < n


def _collect_pairs(engine: Engine, rows: str) -> int:
    """Distinct pairs, each with the smallest place and time of its rows, as ``pairs``."""
    return engine.materialise("pairs", f"""
        SELECT CAST(user_no AS INT) AS user_no, CAST(item_no AS INT) AS item_no,
          min(CAST(source_no AS BIGINT) * {1 << RECORD_BITS} + record_no) AS place,
          min(reviewed_at) AS reviewed_at
        FROM {rows} JOIN sources USING (source_sha256)
          JOIN user_ids USING (user_id) JOIN item_ids USING (item_id)
        GROUP BY 1, 2""")  # fmt: skip


def _peel(engine: Engine, k: int, left: int, dropped: bool) -> int:
    """Leave the numbers of the core's pairs as ``alive``; the rounds that took.

    Pairs move without place and time: the core is all pairs between the users and items left.
    """
    last = 0 if dropped else -1  # the last turn that dropped anything; two turns are a round
    turn, source = 0, "pairs"
    while True:
        side = f"{SIDES[turn % 2]}_no"
        few = f"SELECT {side} FROM {source} GROUP BY {side} HAVING count(*) < {k}"
        kept = f"SELECT user_no, item_no FROM {source} ANTI JOIN ({few}) AS few USING ({side})"
        before, left, source = left, engine.materialise("alive", kept), "alive"
        if left < before:
            last = turn
        elif turn:  # the other side has as many as after its own turn
            return last // 2 + 1
        turn += 1


def _table(engine: Engine, side: str, size: int | None) -> tuple[int, int]:
    """Make the table of ids, ``core_<side>s``, and the relation ``<side>_map`` from no to idx.

    With a ``size`` the ids are the numbers, and each number below it has a row; else new ids come
    after those of the base, by their first place in the core. Returns the ids in the core and the
    rows of the table.
    """
    idx, id_, base, firsts = f"{side}_idx", f"{side}_id", f"base_{side}s", f"first_{side}s"
    n_ids = engine.materialise(firsts, f"""
        SELECT {side}_no, {id_}, place
        FROM (SELECT {side}_no, min(place) AS place FROM core GROUP BY {side}_no) AS firsts
          JOIN {side}_ids USING ({side}_no)""")  # fmt: skip
    if size is not None:
        numbers = f"SELECT {side}_no, CAST({id_} AS INT) AS {idx} FROM {firsts}"
        rows = f"SELECT n AS {idx}, CAST(n AS STRING) AS {id_} FROM range({size}) AS r(n)"
    else:
        offset = engine.query(f"SELECT count(*) AS n FROM {base}")["n"][0].as_py()
        # Places are distinct: a record has one user and one item.
        fresh = f"SELECT * FROM {firsts} ANTI JOIN {base} USING ({id_})"
        size = offset + engine.number(f"new_{side}s", fresh, "place", "n")
        new = f"CAST(n + {offset} AS INT) AS {idx} FROM new_{side}s"
        known = f"SELECT {side}_no, {idx} FROM {firsts} JOIN {base} USING ({id_})"
        numbers = f"{known} UNION ALL SELECT {side}_no, {new}"
        rows = f"SELECT {id_}, {idx} FROM {base} UNION ALL SELECT {id_}, {new}"
    engine.define(f"{side}_map", numbers)
    engine.define(f"core_{side}s", rows)
    return n_ids, size


def _integer_size(engine: Engine, side: str) -> int:
    """One more than the largest id. Raises Mrl4recError where ids cannot be rows of a table."""
    number = f"TRY_CAST({side}_id AS BIGINT)"
    # The engines read other texts as numbers than each other; only the plain form comes back.
    plain = f"coalesce({number} >= 0 AND CAST({number} AS STRING) = {side}_id, false)"
    facts = engine.query(f"""
        SELECT count(*) AS n, min(CASE WHEN NOT {plain} THEN {side}_id END) AS bad,
          coalesce(max(CASE WHEN {plain} THEN {number} END), -1) AS largest
        FROM {side}_counts""").to_pylist()[0]  # fmt: skip
    bad, n, largest = facts["bad"], facts["n"], int(facts["largest"])
    if bad is not None:
        raise Mrl4recError(f"{side} id {bad!r} is not a plain number, but the ids are to be kept")
    if largest >= 2**31 - 1 or largest > 1_000_000 + 100 * n:
        raise Mrl4recError(
            f"{side} number {largest:,} among only {n:,} distinct ones: such numbers "
            "cannot be rows of a table",
            todo="give the reviews in another form, so that ids are numbered by first appearance",
        )
    return largest + 1
