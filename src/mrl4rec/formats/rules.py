"""What makes a record a review: SQL (DuckDB's) that converts texts to types and finds what breaks.

Decoding runs in DuckDB wherever the data engine runs, so that every text is cast, trimmed and
matched by one program. Its input are *texts*, SQL of record_no, problem (the rule that the raw text
breaks, null where it breaks none), seen, user, item, rating, time, and text, the record itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from mrl4rec.core.times import EARLIEST
from mrl4rec.formats.mapping import BLANKS, ROLES, Mapping

MAX_ID = 256
NO_RATING = "no_rating"
"""A record without a rating in a source that has ratings: known when the source was read."""
_NOTHING = "('', 'null', 'none', 'nan')"
_MICROS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
"""µs in a unit of time."""
_AROUND = "[\\s\\x0b\u00a0\ufeff]*"
_NUMBER = rf"^{_AROUND}([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?){_AROUND}$"


def roles(mapping: Mapping, spelled: Callable[[str], str]) -> str:
    """SQL of the texts of the four roles; ``spelled`` gives the SQL of a column."""
    found = {role: spelled(column) for role, column in mapping.roles.items()}
    return ", ".join(f"{found.get(role, 'CAST(NULL AS VARCHAR)')} AS {role}" for role in ROLES)


def text(value: str) -> str:
    """A text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def plainly_good(mapping: Mapping, as_of: datetime, texts: str, control: bool) -> str:
    """SQL: records with their types and ``is_good``, which is true only where no rule is broken.

    It asks less than ``judged``, at a third of the cost: a record that needs a closer look is not
    good here. ``control`` is whether ids may hold control characters.
    """
    first, last = _limits(as_of)
    asked = [_plain_id(mapping, side, control) for side in ("user_id", "item_id")]
    rating, micros = "CAST(NULL AS DOUBLE)", "CAST(NULL AS BIGINT)"
    if mapping.rating is not None:
        rating = "TRY_CAST(rating AS DOUBLE)"
        low, high = mapping.rating_range or (-1e300, 1e300)
        asked += [_plain_number("rating"), f"stars BETWEEN {low!r} AND {high!r}"]
    if mapping.time is not None:
        micros = _micros(mapping, f"TRY_CAST(time AS {_kind(mapping)})")
        asked += [_plain_number("time")] if mapping.time_unit else []
        asked.append(f"micros BETWEEN {first} AND {last}")
    return f"""
      SELECT record_no, user_id, item_id, stars AS rating, micros AS reviewed_at,
        coalesce({" AND ".join(asked)}, false) AS is_good
      FROM (SELECT record_no, {_without_spaces('"user"')} AS user_id,
        {_without_spaces("item")} AS item_id, rating, time,
        {rating} AS stars, {micros} AS micros FROM ({texts}))"""


def _without_spaces(name: str) -> str:
    # DuckDB's plain trim takes every blank of Unicode, and costs more than these two looks.
    plain = f"{name} >= '!' AND NOT ends_with({name}, ' ')"
    return f"CASE WHEN {plain} THEN {name} ELSE trim({name}, ' ') END"


def _plain_id(mapping: Mapping, column: str, control: bool) -> str:
    if mapping.integer_ids:
        return f"NOT {_bad_id(mapping, column)}"
    # Comparisons cost a fifth of functions, and CASE keeps these for the few that need them.
    letter = f"{column} >= 'a' AND {column} < '{{'"
    begins, ends = (
        " OR ".join(f"{where}_with({column}, '{c}')" for c in odd)
        for where, odd in (("starts", "[{\u00a0\ufeff"), ("ends", "\u00a0\ufeff"))
    )
    asked = [
        f"strlen({column}) <= {MAX_ID} AND {column} >= '!'",
        _unless(f"strlen({column}) > 4", f"lower({column}) IN {_NOTHING}"),
        _unless(f"{column} < '[' OR ({letter})", begins),
        _unless(f"strlen({column}) = length({column})", ends),
    ]
    if control:
        asked.append(f"NOT regexp_matches({column}, '[\\x00-\\x1f]')")
    if mapping.syntax != "csv":  # a number with a fraction may be spelled in several ways
        fraction = f"contains({column}, '.') OR contains({column}, 'e')"
        asked.append(_unless(f"{column} >= ':'", fraction))
    return " AND ".join(asked)


def _unless(plain: str, odd: str) -> str:
    """SQL: true where ``plain`` is, else whether ``odd`` is false."""
    return f"CASE WHEN {plain} THEN true ELSE NOT ({odd}) END"


def _plain_number(column: str) -> str:
    # Of what begins with a digit a cast takes only numbers, and 1_000.
    return f"{column} >= '0' AND {column} < ':' AND NOT contains({column}, '_')"


def judged(mapping: Mapping, as_of: datetime, texts: str) -> str:
    """SQL: records with their types and ``is_good``; ``rule``, the first that a record breaks,
    and ``detail``, what was seen. Without a rating a record is not good where others have one.
    """
    rules = [("problem", "problem IS NOT NULL", "seen"), *_rules(mapping, as_of)]
    # Numbered in a query of its own: SQL repeats the operand of a CASE for each of its branches.
    place = " ".join(f"WHEN {condition} THEN {n}" for n, (_, condition, _) in enumerate(rules))
    rule = " ".join(f"WHEN {n} THEN {name}" for n, (name, _, _) in enumerate(rules))
    detail = " ".join(f"WHEN {n} THEN {said}" for n, (_, _, said) in enumerate(rules))
    rated = "true" if mapping.rating is None else "stars IS NOT NULL"
    return f"""
      SELECT record_no, user_id, item_id, stars AS rating, micros AS reviewed_at,
        place IS NULL AND {rated} AS is_good,
        CASE place {rule} END AS rule, CASE place {detail} END AS detail, text AS record
      FROM (SELECT *, CASE {place} END AS place FROM ({_typed(mapping, texts)}))"""


def _typed(mapping: Mapping, texts: str) -> str:
    """SQL: adds user_id, item_id, stars and micros, null where the text is nothing or cannot be
    converted.
    """
    moment = _number("time", _kind(mapping)) if mapping.time_unit else "NULL"
    # What is beyond a BIGINT of µs is a time all the same, in the future or negative.
    most = 9e18 / _MICROS[mapping.time_unit or "s"]
    bounded = f"CASE WHEN abs(moment) < {most!r} THEN moment ELSE sign(moment) * {most!r} END"
    return f"""
      SELECT *, {_micros(mapping, "moment" if mapping.time_unit == "ns" else bounded)} AS micros
      FROM (SELECT *, {_number("rating")} AS stars, {moment} AS moment FROM (
        SELECT record_no, problem, seen, text, {_id("user")} AS user_id, {_id("item")} AS item_id,
          {_given("rating")} AS rating, {_given("time")} AS time FROM ({texts})))"""


def _rules(mapping: Mapping, as_of: datetime) -> Iterator[tuple[str, str, str]]:
    """SQL of each rule's name, its condition and what was seen, in the order in which they are
    asked: a record breaks the first.
    """
    for side, column in (("user", mapping.user), ("item", mapping.item)):
        yield f"'no_{side}'", f"{side}_id IS NULL", text(f"nothing in {column}")
        is_no_id = _said(f"{column} is no id: ", f"{side}_id")
        yield "'bad_id'", _bad_id(mapping, f"{side}_id"), is_no_id
    if mapping.time is not None:
        yield from _time_rules(mapping, as_of)
    if mapping.rating is not None:
        no_number = "rating IS NOT NULL AND (stars IS NULL OR NOT isfinite(stars))"
        yield "'bad_rating'", no_number, _said("not a number: ", "rating")
        if mapping.rating_range is not None:
            low, high = mapping.rating_range
            outside = f"stars < {low!r} OR stars > {high!r}"
            seen = _said(f"outside {low:g} to {high:g}: ", "rating")
            yield "'rating_out_of_range'", outside, seen


def _time_rules(mapping: Mapping, as_of: datetime) -> Iterator[tuple[str, str, str]]:
    first, last = _limits(as_of)
    unit = mapping.time_unit
    yield "'no_time'", "time IS NULL", text(f"nothing in {mapping.time}")
    yield "'bad_time'", "micros IS NULL", _said(f"not a {'number' if unit else 'time'}: ", "time")
    if unit is not None:
        yield "'negative_time'", "micros < 0", _said("", "time")
        for other in [other for other in ("s", "ms") if other != unit]:
            factor = _MICROS[other] / _MICROS[unit]
            fits = f"micros * {factor!r} BETWEEN {first} AND {last}"
            seen = _said(f"{unit} expected, this reads as {other}: ", "time")
            yield "'time_unit'", f"micros NOT BETWEEN {first} AND {last} AND {fits}", seen
    yield "'future_time'", f"micros > {last}", _said(f"after {as_of.isoformat()}: ", "time")
    yield "'bad_time'", f"micros < {first}", _said(f"before {EARLIEST.year}: ", "time")


def _limits(as_of: datetime) -> tuple[int, int]:
    """The first and the last time that a review may have, µs."""
    return int(EARLIEST.timestamp() * 1e6), int(as_of.timestamp() * 1e6)


def _id(name: str) -> str:
    return _given(f"trim({name}, {text(BLANKS)})")


def _given(name: str) -> str:
    """The text, null where it is nothing or a word for nothing."""
    nothing = f"lower(trim({name}, {text(BLANKS)})) IN {_NOTHING}"
    # Few texts are short, or begin with a blank: most need no copy.
    few = f"(length({name}) < 8 OR {name} < '!' OR {name} >= '\u00a0')"
    number = f"{name} >= '0' AND {name} < ':'"
    return f"CASE WHEN NOT ({number}) AND {few} AND {nothing} THEN NULL ELSE {name} END"


def _number(name: str, kind: str = "DOUBLE") -> str:
    return f"TRY_CAST(regexp_extract({name}, '{_NUMBER}', 1) AS {kind})"


def _kind(mapping: Mapping) -> str:
    return "BIGINT" if mapping.time_unit == "ns" else "DOUBLE"  # which lacks the digits of ns


def _micros(mapping: Mapping, moment: str) -> str:
    """µs since 1970 UTC, null where it is none; ``moment`` is SQL of the time as a number."""
    if mapping.time is None:
        return "CAST(NULL AS BIGINT)"
    if mapping.time_unit is None:
        clean = f"trim(time, {text(BLANKS)})"
        if mapping.time_format in (None, "iso"):
            return f"epoch_us(TRY_CAST({clean} AS TIMESTAMPTZ))"
        return f"epoch_us(try_strptime({clean}, {text(mapping.time_format or '')}))"
    if mapping.time_unit == "ns":
        return f"{moment} // 1000"
    return f"TRY_CAST(round({moment} * {_MICROS[mapping.time_unit]!r}) AS BIGINT)"


def _bad_id(mapping: Mapping, column: str) -> str:
    if mapping.integer_ids:
        return f"NOT regexp_full_match({column}, '[0-9]{{1,10}}')"
    # Nested values come as JSON text; control characters have no place in an id.
    shape = f"{column} < ' ' OR {column}[1] IN ('{{', '[')"
    return f"length({column}) > {MAX_ID} OR {shape} OR regexp_matches({column}, '[\\x00-\\x1f]')"


def _said(words: str, value: str) -> str:
    return f"concat({text(words)}, substr({value}, 1, 200))"
