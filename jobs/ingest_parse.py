"""From lines of text to reviews and broken rules: column expressions, one row a record.

A frame of *lines* has `value` (raw text), `source_sha256`, `block` (where the piece of the file
that a task read begins, bytes) and `line_id` (rising inside a block). A frame of *records* has, in
their place, `record_no`, and user_id, item_id, rating, reviewed_at, rule, detail, record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StringType

from mrl4rec.formats import MAX_RECORD, Layout, literal_fields

KEPT_BYTES = 1 << 16
"""Characters of a broken record that are kept in quarantine."""
MAX_ID = 256
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""No review is older: a time before this is in another unit, or not a time."""
BLANK = "blank"
"""Marks lines that are no records, until record numbers are known; never leaves this file."""

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_SPACE = " \t\r\n\u00a0\ufeff"
_NAMES = ("user", "item", "rating", "time")


@dataclass(frozen=True)
class Block:
    """One piece of a source as a task read it: enough to number its lines from the file's start."""

    source_sha256: str
    block: int
    lines: int
    first_line_id: int
    rated: int
    """Records with something in the rating column."""


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
    where a rule is broken or the rating is missing). A line of blanks has rule ``blank``.
    """
    size = F.octet_length("value")
    text = F.btrim(F.make_valid_utf8(F.col("value")), F.lit(_SPACE))
    short = F.when(size <= MAX_RECORD, text)
    lines = lines.select("*", size.alias("size"), short.alias("text"))
    lines = lines.withColumn("fields", _fields(layout))
    for name in _NAMES:
        lines = lines.withColumn(name, _clean(F.col("fields")[name]))
    lines = lines.withColumn("seconds", _number("time")).withColumn("stars", _number("rating"))
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


def _fields(layout: Layout) -> Column:
    """A struct user, item, rating, time of raw texts; null where the line is not of the form."""
    form = layout.form
    names = (form.user, form.item, form.rating, form.time)
    text = F.col("text")
    if form.syntax == "json":
        wanted = ", ".join(f"`{name}` STRING" for name in names if name)
        # Parsed as an array of one: anything after the object is then an error, not ignored.
        array = F.from_json(
            F.concat(F.lit("["), text, F.lit("]")),
            f"array<struct<{wanted.replace(' STRING', ': STRING')}>>",
            {"allowSingleQuotes": "false"},
        )
        one = F.when(F.size(array) == 1, array[0])
        return _struct(one, [one[name] if name else None for name in names])
    if form.syntax == "python":
        read = F.udf(lambda line: literal_fields(line, names), ArrayType(StringType()))
        cells = read(text)
        return _struct(cells, [cells[i] for i in range(4)])
    cells, whole = _cells(layout)
    places = [layout.columns.index(n) if n in layout.columns else None for n in names]
    return _struct(F.when(whole, F.lit(1)), [None if p is None else cells[p] for p in places])


def _cells(layout: Layout) -> tuple[Column, Column]:
    """The cells of delimited text by place, and whether the line has as many as it should."""
    text, count = F.col("text"), len(layout.columns)
    if layout.form.syntax == "csv":
        columns = ", ".join(f"c{i} STRING" for i in range(count))
        row = F.from_csv(
            text,
            f"{columns}, bad STRING",
            {
                "escape": '"',
                "columnNameOfCorruptRecord": "bad",
                "ignoreLeadingWhiteSpace": "true",
                "ignoreTrailingWhiteSpace": "true",
            },
        )
        return F.array(*[row[f"c{i}"] for i in range(count)]), row["bad"].isNull()
    separator = {"tab": "\t", "colons": "::", "pair": " "}[layout.form.syntax]
    cells = F.split(F.col("text"), separator, -1)
    return cells, F.size(cells) == count


def _struct(present: Column, columns: Sequence[Column | None]) -> Column:
    null = F.lit(None).cast("string")
    named = [(null if c is None else c).alias(n) for c, n in zip(columns, _NAMES, strict=True)]
    return F.when(present.isNotNull(), F.struct(*named))


def _clean(raw: Column) -> Column:
    """The cell without blanks around it; null where nothing, or a word for nothing, is left."""
    text = F.btrim(raw, F.lit(_SPACE))
    return F.when(~F.lower(text).isin("", "null", "none", "nan"), text)


def _number(name: str) -> Column:
    cell = F.col(name)
    return F.when(cell.rlike(_NUMBER), cell.try_cast("double"))


def _rules(layout: Layout, as_of: datetime) -> list[tuple[Column, str, Column]]:
    """(condition, rule, detail) in the order in which they are asked; a record breaks the first."""
    form = layout.form
    syntax = {"json": "not_json", "python": "not_python"}.get(form.syntax, "not_csv")
    rules = [
        (F.col("size") > MAX_RECORD, "record_too_long", _said("bytes: ", F.col("size"))),
        (F.col("text") == "", BLANK, F.lit("")),
        (~F.is_valid_utf8(F.col("value")), "not_utf8", F.lit("bytes that are no UTF-8")),
        (F.col("fields").isNull(), syntax, F.lit(f"not a record of {form.name}")),
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


def _id_rules(layout: Layout, name: str, column: str) -> list[tuple[Column, str, Column]]:
    value = F.col(name)
    shape = r"^[0-9]{1,10}$" if layout.form.integer_ids else r"^[^{\[\x00-\x1f][^\x00-\x1f]*$"
    bad = (F.char_length(value) > MAX_ID) | ~value.rlike(shape)
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


def collect_blocks(parsed: DataFrame) -> list[Block]:
    """What each block holds, in the order of its file: one small row a block."""
    rows = (
        parsed.groupBy("source_sha256", "block")
        .agg(
            F.count("*").alias("lines"),
            F.min("line_id").alias("first"),
            F.count_if((F.col("rule").isNull()) & F.col("rated")).alias("rated"),
        )
        .collect()
    )
    found = [
        Block(r["source_sha256"], r["block"], r["lines"], r["first"], r["rated"]) for r in rows
    ]
    return sorted(found, key=lambda b: (b.source_sha256, b.block))


def number_records(
    parsed: DataFrame, blocks: Sequence[Block], header_lines: dict[str, int | None]
) -> DataFrame:
    """Records with their absolute place in the file; headers and blank lines are dropped here.

    A record without a rating in a source that has ratings breaks the rule ``no_rating``; in a
    source without any the rating is null for all.
    """
    rows, before, source = [], 0, None
    rated = {b.source_sha256 for b in blocks if b.rated}
    for b in blocks:
        before = before if b.source_sha256 == source else 0
        source = b.source_sha256
        header = header_lines.get(source)
        shift = before - b.first_line_id
        rows.append((source, b.block, shift, -1 if header is None else header, source in rated))
        before += b.lines
    schema = "source_sha256 STRING, block BIGINT, shift BIGINT, header BIGINT, has_ratings BOOLEAN"
    places = parsed.sparkSession.createDataFrame(rows, schema)
    joined = parsed.join(F.broadcast(places), ["source_sha256", "block"])
    joined = joined.withColumn("record_no", F.col("line_id") + F.col("shift"))
    real = (F.col("record_no") != F.col("header")) & ~F.col("rule").eqNullSafe(BLANK)
    unrated = F.col("rule").isNull() & F.col("rating").isNull() & F.col("has_ratings")
    return joined.where(real).select(
        "source_sha256",
        "record_no",
        "user_id",
        "item_id",
        "rating",
        "reviewed_at",
        F.when(unrated, "no_rating").otherwise(F.col("rule")).alias("rule"),
        F.when(unrated, "no rating, in a source that has ratings")
        .otherwise(F.col("detail"))
        .alias("detail"),
        "record",
    )
