"""From lines of text to reviews and broken rules: column expressions, one row a record.

A frame of *lines* has `value` (raw text), `source_sha256`, `block` (where the piece of the file
that a task read begins, bytes) and `line_id` (rising inside a block). A frame of *records* has, in
their place, `record_no`, and user_id, item_id, rating, reviewed_at, rule, detail, record.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from pathlib import Path

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StringType

from mrl4rec.formats import BLANKS, MARK, MAX_RECORD, Layout, literal_fields

KEPT_BYTES = 1 << 16
"""Characters of a broken record that are kept in quarantine."""
MAX_ID = 256
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""No review is older: a time before this is in another unit, or not a time."""
BLANK = "blank"
"""Marks lines that are no records (blank ones, headers) until they are numbered; then they go."""
NO_RATING = "no_rating"

END = "mrl4rec: end of line"
_HALF = (
    r"(?i)\\u(?:d[89ab][0-9a-f]{2}(?!\\ud[c-f])"
    r"|(?<!\\ud[89ab][0-9a-f]{2}\\u)d[c-f][0-9a-f]{2})"
)
"""Half a surrogate pair as JSON escapes it: no character, so that Java puts ``?`` in its place."""
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_NAMES = ("user", "item", "rating", "time")


@dataclass(frozen=True)
class Tally:
    """What the parsed lines hold, counted in one pass: enough to number and to judge them."""

    shifts: Mapping[tuple[str, int], int]
    """(source, block) → what makes of a line's ``line_id`` its place in the file, from 0."""
    rules: Mapping[str, Counter[str | None]]
    """Source → records by the rule they break (None: none), without blank lines and headers."""
    rated: frozenset[str]
    """Sources in which a good record has a rating."""

    @classmethod
    def of(cls, groups: Sequence[Group]) -> Tally:
        """Add up the groups of all blocks."""
        lines: Counter[tuple[str, int]] = Counter()
        first: dict[tuple[str, int], int] = {}
        for g in groups:
            place = (g.source_sha256, g.block)
            lines[place] += g.lines
            first[place] = min(g.first_line_id, first.get(place, g.first_line_id))
        shifts, before = {}, 0
        for source, block in sorted(lines):
            before = before if block else 0  # the file's first block begins at byte 0
            shifts[source, block] = before - first[source, block]
            before += lines[source, block]
        rated = frozenset(g.source_sha256 for g in groups if g.rule is None and g.rated)
        rules: dict[str, Counter[str | None]] = defaultdict(Counter)
        for g in groups:
            if g.rule != BLANK:
                unrated = g.rule is None and not g.rated and g.source_sha256 in rated
                rules[g.source_sha256][NO_RATING if unrated else g.rule] += g.lines
        return cls(shifts, rules, rated)


@dataclass(frozen=True)
class Group:
    """Lines of one block that fared alike."""

    source_sha256: str
    block: int
    rule: str | None
    rated: bool
    """Whether the rating column holds anything."""
    lines: int
    first_line_id: int


def read_lines(spark: SparkSession, paths: Sequence[Path]) -> DataFrame:
    """The lines of staged files (`<sha256>.txt`), with the place each was read at."""
    # Spark takes paths as globs.
    escaped = ["".join("\\" + c if c in "\\*?[]{}" else c for c in str(p)) for p in paths]
    text = spark.read.text(escaped, lineSep="\n")
    return text.select(
        F.col("value"),
        F.regexp_replace(F.col("_metadata.file_name"), r"\.txt$", "").alias("source_sha256"),
        F.col("_metadata.file_block_start").alias("block"),
        # Only differences inside one block are used: it rises by one a line there.
        F.monotonically_increasing_id().alias("line_id"),
    )


def parse_lines(lines: DataFrame, layout: Layout, as_of: datetime) -> DataFrame:
    """Lines with the review each holds, or the rule it breaks.

    Adds user_id, item_id (text), rating (double), reviewed_at (timestamp), rule and detail (null
    where no rule is broken), rated (whether the rating column holds anything), record (text, only
    where a rule is broken or the rating is missing). A line of blanks has rule ``blank``,
    and so has one that repeats the header (dumps get concatenated).
    """
    size = F.octet_length("value")
    text = F.btrim(F.make_valid_utf8(F.col("value")), F.lit(BLANKS))
    short = F.when(size <= MAX_RECORD, text)
    lines = lines.select("*", size.alias("size"), short.alias("text"))
    lines = lines.withColumn("parsed", _parsed(layout))
    whole, raw = _fields(layout)
    lines = lines.withColumns({"whole": whole} | {n: _clean(cell) for n, cell in raw.items()})
    lines = lines.withColumns({"seconds": _number("time"), "stars": _number("rating")})
    broken = F.coalesce(*[
        F.when(condition, F.struct(F.lit(rule).alias("rule"), detail.alias("detail")))
        for condition, rule, detail in _rules(layout, as_of)
    ])  # fmt: skip
    lines = lines.withColumn("broken", broken)
    good = F.col("broken").isNull()
    per_second = 1e3 if layout.form.time_unit == "ms" else 1e6
    micros = F.round(F.when(good, F.col("seconds")) * F.lit(per_second))
    keep = ~good & (F.col("broken.rule") != BLANK) | F.col("rating").isNull()
    record = F.substring(F.rtrim(F.make_valid_utf8(F.col("value"))), 1, KEPT_BYTES)
    return lines.select(
        "source_sha256",
        "block",
        "line_id",
        F.when(good, F.col("user")).alias("user_id"),
        F.when(good, F.col("item")).alias("item_id"),
        F.when(good, F.col("stars")).alias("rating"),
        F.timestamp_micros(micros.try_cast("bigint")).alias("reviewed_at"),
        F.col("broken.rule").alias("rule"),
        F.col("broken.detail").alias("detail"),
        F.col("rating").isNotNull().alias("rated"),
        F.when(keep, record).alias("record"),
    )


def _parsed(layout: Layout) -> Column:
    """The line's text as a struct or array of raw texts. Named columns are taken from it later, in
    a projection of their own, so that it is computed once a line.
    """
    form, text = layout.form, F.col("text")
    names = (form.user, form.item, form.rating, form.time)
    if form.syntax == "json":
        wanted = ", ".join(f"`{name}`: STRING" for name in names if name)
        # Parsed as an array that ends with a mark: anything after the object is then an error, or
        # the mark is not reached. Spark ignores what comes after the first value.
        array = F.concat(F.lit("["), text, F.lit(f',{{"{form.user}":"{END}"}}]'))
        return F.from_json(array, f"array<struct<{wanted}>>", {"allowSingleQuotes": "false"})
    if form.syntax == "python":
        return F.udf(lambda line: literal_fields(line, names), ArrayType(StringType()))(text)
    if form.syntax == "csv":
        # What Spark trims are all characters up to the blank, and an id with a NUL at its end would
        # be one with an id without.
        cells = (_csv(text, layout, trimmed) for trimmed in ("false", "true"))
        control = text.rlike(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
        return F.when(control, next(cells)).otherwise(next(cells))
    separator = {"tab": "\t", "colons": "::", "pair": " "}[form.syntax]
    return F.split(text, separator, -1)


def _csv(text: Column, layout: Layout, trimmed: str) -> Column:
    columns = ", ".join(f"c{i} STRING" for i in range(len(layout.columns)))
    return F.from_csv(
        text,
        f"{columns}, bad STRING",
        {
            "escape": '"',
            "columnNameOfCorruptRecord": "bad",
            "ignoreLeadingWhiteSpace": trimmed,
            "ignoreTrailingWhiteSpace": trimmed,
            "maxColumns": str(MAX_RECORD + 2),  # more would end the job, not the record
        },
    )


def _fields(layout: Layout) -> tuple[Column, dict[str, Column]]:
    """Whether the parsed line is a record of the form, and its raw user, item, rating and time."""
    form, parsed = layout.form, F.col("parsed")
    names = dict(zip(_NAMES, (form.user, form.item, form.rating, form.time), strict=True))
    if form.syntax == "json":
        record, end = (F.try_element_at(parsed, F.lit(place)) for place in (1, 2))
        whole = record.isNotNull() & (F.size(parsed) == 2) & end[form.user].eqNullSafe(END)
        found = {name: parsed[0][column] for name, column in names.items() if column}
    elif form.syntax == "python":
        whole = parsed.isNotNull()
        found = {name: parsed[place] for place, name in enumerate(names)}
    else:
        places = {n: layout.columns.index(c) for n, c in names.items() if c in layout.columns}
        if form.syntax == "csv":
            found = {name: parsed[f"c{place}"] for name, place in places.items()}
            # A quote that does not close, or stands amiss, is kept by Spark as the cell's first.
            amiss = [F.coalesce(F.startswith(F.ltrim(cell), F.lit('"')), F.lit(False))
                     for cell in found.values()]  # fmt: skip
            whole = parsed.isNotNull() & parsed["bad"].isNull() & ~reduce(or_, amiss)
        else:
            whole = F.size(parsed) == len(layout.columns)
            found = {name: parsed[place] for name, place in places.items()}
    null = F.lit(None).cast("string")
    # Taken only from whole records: an element that is not there would raise.
    return whole, {name: F.when(whole, found[name]) if name in found else null for name in _NAMES}


def _clean(raw: Column) -> Column:
    """The cell without blanks around it; null where nothing, or a word for nothing, is left."""
    text = F.btrim(raw, F.lit(BLANKS))
    return F.when(~F.lower(text).isin("", "null", "none", "nan"), text)


def _number(name: str) -> Column:
    cell = F.col(name)
    return F.when(cell.rlike(_NUMBER), cell.try_cast("double"))


def _rules(layout: Layout, as_of: datetime) -> list[tuple[Column, str, Column]]:
    """(condition, rule, detail) in the order in which they are asked; a record breaks the first."""
    form = layout.form
    syntax = {"json": "not_json", "python": "not_python"}.get(form.syntax, "not_csv")
    rules = [
        (F.col("size") > MAX_RECORD, "record_too_long", _said("bytes: ", _whole_size())),
        (F.col("text").isin("", layout.header or ""), BLANK, F.lit("")),
        (~F.is_valid_utf8(F.col("value")), "not_utf8", F.lit("bytes that are no UTF-8")),
        (~F.col("whole"), syntax, F.lit(f"not a record of {form.name}")),
        *_id_rules(layout, "user", form.user),
        *_id_rules(layout, "item", form.item),
    ]
    if layout.has_time:
        rules += _time_rules(layout, as_of)
    if form.rating_range is not None:
        low, high = form.rating_range
        stars, rating = F.col("stars"), F.col("rating")
        rules += [
            (rating.isNotNull() & stars.isNull(), "bad_rating", _said("not a number: ", rating)),
            ((stars < low) | (stars > high), "rating_out_of_range",
             _said(f"outside {low:g} to {high:g}: ", rating)),
        ]  # fmt: skip
    return rules


def _whole_size() -> Column:
    """Bytes of a line too long: of one that was cut, what it had before."""
    tail = F.substring("value", -40, 40)
    before = F.regexp_extract(tail, MARK.decode() + r"(\d{1,18})$", 1)
    return F.when(before != "", before).otherwise(F.col("size").cast("string"))


def _id_rules(layout: Layout, name: str, column: str) -> list[tuple[Column, str, Column]]:
    value = F.col(name)
    shape = r"^[0-9]{1,10}$" if layout.form.integer_ids else r"^[^{\[\x00-\x1f][^\x00-\x1f]*$"
    bad = (F.char_length(value) > MAX_ID) | ~value.rlike(shape)
    if layout.form.syntax == "json":  # two ids that differ by such a half would be one
        bad = bad | (value.contains("?") & F.col("text").rlike(_HALF))
    return [
        (value.isNull(), f"no_{name}", F.lit(f"nothing in {column}")),
        (bad, "bad_id", _said(f"{column} is no id: ", value)),
    ]


def _time_rules(layout: Layout, as_of: datetime) -> list[tuple[Column, str, Column]]:
    unit, other, factor = ("s", "ms", 1e-3) if layout.form.time_unit == "s" else ("ms", "s", 1e3)
    per_second = 1.0 if unit == "s" else 1e3
    first, last = EARLIEST.timestamp() * per_second, as_of.timestamp() * per_second
    raw, time = F.col("time"), F.col("seconds")
    plausible = (time * factor).between(first, last)
    return [
        (raw.isNull(), "no_time", F.lit(f"nothing in {layout.form.time}")),
        (time.isNull(), "bad_time", _said("not a number: ", raw)),
        (time < 0, "negative_time", _said("", raw)),
        (~time.between(first, last) & plausible, "time_unit",
         _said(f"{unit} expected, this reads as {other}: ", raw)),
        (time > last, "future_time", _said(f"after {as_of.isoformat()}: ", raw)),
        (time < first, "bad_time", _said(f"before {EARLIEST.year}: ", raw)),
    ]  # fmt: skip


def _said(words: str, value: Column) -> Column:
    return F.concat(F.lit(words), F.substring(value.cast("string"), 1, 200))


def tally(parsed: DataFrame | None, scanned: Sequence[Group] = ()) -> Tally:
    """Count the parsed lines, beside those ``scanned`` elsewhere: one pass, and a few small rows a
    block come back.
    """
    if parsed is None:
        return Tally.of(scanned)
    groups = parsed.groupBy("source_sha256", "block", "rule", "rated").agg(
        F.count("*").alias("lines"), F.min("line_id").alias("first_line_id")
    )
    return Tally.of([*scanned, *(Group(**row.asDict()) for row in groups.collect())])


def _places(counted: Tally) -> pa.Table:
    # As Arrow: a list of rows would start a Python worker to be read.
    shas, blocks = zip(*counted.shifts, strict=True) if counted.shifts else ((), ())
    return pa.table({
        "source_sha256": pa.array(shas, pa.string()),
        "block": pa.array(blocks, pa.int64()),
        "shift": pa.array(counted.shifts.values(), pa.int64()),
        "has_ratings": pa.array([sha in counted.rated for sha in shas], pa.bool_()),
    })  # fmt: skip


def number_records(parsed: DataFrame, counted: Tally) -> DataFrame:
    """Records with their absolute place in the file; headers and blank lines are dropped here.

    A record without a rating in a source that has ratings breaks the rule ``no_rating``; in a
    source without any the rating is null for all.
    """
    places = parsed.sparkSession.createDataFrame(_places(counted))
    records = parsed.where(~F.col("rule").eqNullSafe(BLANK)).join(
        F.broadcast(places), ["source_sha256", "block"]
    )
    unrated = F.col("rule").isNull() & ~F.col("rated") & F.col("has_ratings")
    missing = F.lit("no rating, in a source that has ratings")
    return records.select(
        "source_sha256",
        (F.col("line_id") + F.col("shift")).alias("record_no"),
        "user_id",
        "item_id",
        "rating",
        "reviewed_at",
        F.when(unrated, NO_RATING).otherwise(F.col("rule")).alias("rule"),
        F.when(unrated, missing).otherwise(F.col("detail")).alias("detail"),
        "record",
    )
