"""How a file is to be read: seen from its content, where options do not say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError, UsageError, nearest
from mrl4rec.formats.copies import shown
from mrl4rec.formats.csv_sample import csv_sample, lists_or_triples
from mrl4rec.formats.json_sample import json_sample, sessions_sample
from mrl4rec.formats.mapping import (
    BLANKS,
    EMPTY,
    FORMATS,
    MARKS_2018,
    NEED_COLUMNS,
    NEED_RATING,
    ROLES,
    UNITS,
    Mapping,
    describe,
)
from mrl4rec.formats.options import ReadOptions
from mrl4rec.formats.packing import packing_of
from mrl4rec.formats.sample import LIST, MOST_COLUMNS, Sample, are, no_table, short
from mrl4rec.formats.sources import SourceFile
from mrl4rec.formats.text import SAMPLE_BYTES, read_head
from mrl4rec.formats.times import Unclear, is_number, parses, time_of

with lazy.imports():
    import pyarrow as pa
    import pyarrow.parquet as pq

MOST_ROWS = 1000
_LAYOUT = ("columns", "header", "separator", "quoted", "container", "records", "encoding")


@dataclass(frozen=True)
class Detected:
    """How a file is read, and what a person should know of it."""

    mapping: Mapping
    notes: tuple[str, ...] = ()


def detect(
    source: SourceFile, options: ReadOptions | None = None, first: Mapping | None = None
) -> Detected:
    """How ``source`` is to be read, from its first 4 MiB.

    ``options`` are followed. ``first``, how the data set's first file was read, holds where its
    columns are in this file too. Raises UsageError that lists the columns and the options to give
    where the content does not tell, Mrl4recError where it is binary or damaged.
    """
    options = options or ReadOptions()
    if source.member is None and packing_of(source.path) == "parquet":
        sample = _parquet_sample(source.path)
    else:
        sample = _text_sample(source, options, first)
    return _detected(sample, options, first)


def detect_table(table: pa.Table, options: ReadOptions | None = None) -> Detected:
    """The same of a table in memory."""
    return _detected(_table_sample("table", table), options or ReadOptions(), None)


# The records of the head.


def _parquet_sample(path: Path) -> Sample | None:
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            simple = [field.name for field in schema if not pa.types.is_nested(field.type)]
            # of fixed or any length, of small or large offsets
            lists = [field.name for field in schema if hasattr(field.type, "value_field")]
            if len(simple) > MOST_COLUMNS:
                raise no_table(shown(path), f"it has more than {MOST_COLUMNS:,} columns")
            if not file.metadata.num_rows or not (simple or lists):
                return None
            batch = next(file.iter_batches(MOST_ROWS, row_groups=[0], columns=simple))
            sample = _table_sample(shown(path), batch.select(simple))
            return replace(sample, columns={name: [LIST] for name in lists} | sample.columns)
    except (pa.ArrowException, OSError, ValueError, StopIteration) as error:
        todo = "fetch or copy it again; nothing was taken in"
        what = f"the Parquet file is damaged ({error})"
        raise Mrl4recError(what, where=shown(path), todo=todo) from error


def _table_sample(where: str, table: pa.Table | pa.RecordBatch) -> Sample:
    none = (type(None), bytes)
    columns = {
        name: [str(value) for value in column.to_pylist() if not isinstance(value, none)]
        for name, column in zip(table.schema.names, table.slice(0, MOST_ROWS).columns, strict=True)
    }
    return Sample(where, Mapping("parquet"), columns)


def _text_sample(source: SourceFile, options: ReadOptions, first: Mapping | None) -> Sample | None:
    lines, encoding, is_whole = read_head(source, options.encoding)
    if not lines and not is_whole:
        raise no_table(source.shown, f"its first {SAMPLE_BYTES >> 20} MiB are blank")
    if not lines:
        return None
    form = FORMATS.get(options.format or "")
    separator = options.separator or (form.separator if form else None)
    sample, syntax = None, (form or first or EMPTY).syntax
    bare = [line.strip(BLANKS) for line in lines]
    if separator is None and not options.columns and (form is None or syntax == "sessions"):
        sample = sessions_sample(bare, source.shown, options, is_known=syntax == "sessions")
    if sample is None and separator is None and (form is None or form.syntax in ("json", "python")):
        sample = json_sample(bare, source.shown)
    if sample is None and separator is None and not options.columns:
        sample = _lists_sample(lines, source.shown, options, syntax == "lists", form is not None)
    if sample is None:
        sample = csv_sample(lines, source.shown, replace(options, separator=separator))
    return replace(sample, layout=replace(sample.layout, encoding=encoding))


def _lists_sample(
    lines: Sequence[str], where: str, options: ReadOptions, is_lists: bool, is_sure: bool
) -> Sample | None:
    """The sample of lines ``user item item …``; None where they are something else.

    Raises UsageError where they may also be a table.
    """
    width = lists_or_triples(lines)
    if width == 0 or (is_lists and (is_sure or width)):
        cells = [line.split(None, 2) for line in lines]
        columns = {str(n + 1): [row[n] for row in cells if len(row) > n] for n in range(2)}
        return Sample(where, Mapping("lists"), columns)
    if width is None:
        return None
    roles = dict(zip(ROLES[:width], "1234", strict=False))
    table = replace(options, columns=roles, separator=" ").command()
    lists = replace(options, format="author-lists").command()
    what = f"its lines hold {width} whole numbers each, the first {short(lines[0].strip())!r}"
    todo = f"if it is: {table}; if each line is a user and its items: {lists}"
    raise UsageError(f"{what}: is the third number a rating?", where=where, todo=todo)


# The columns of the roles.


def _detected(sample: Sample | None, options: ReadOptions, first: Mapping | None) -> Detected:
    if sample is None:
        return Detected(EMPTY, ("the file holds no record",))
    mapping = _with_roles(sample, options, first)
    _refuse_lists(sample, mapping.user, mapping.item)
    mapping, notes = _with_time(mapping, sample, options)
    if mapping.rating is None or (sample.layout.columns and mapping.rating not in sample.columns):
        mapping = replace(mapping, rating=None, rating_range=None)
    else:
        held = first.rating_range if first is not None else None
        seen = options.rating_range or held or mapping.rating_range
        mapping = replace(mapping, rating_range=seen)
    for column in mapping.read:
        if mapping.columns.count(column) > 1:
            what = f"the header names {short(column)!r} twice"
            raise Mrl4recError(what, where=sample.where, todo="rename one of the two columns")
    unread = [role for role in ROLES[2:] if options.columns and role not in options.columns]
    if unread:
        notes = [f"--columns names no {' and no '.join(unread)}: none is read", *notes]
    return Detected(mapping, tuple(notes if mapping.name else [describe(mapping), *notes]))


def _with_roles(sample: Sample, options: ReadOptions, first: Mapping | None) -> Mapping:
    if options.format is not None:
        form = FORMATS[options.format]
        if sample.layout.syntax != form.syntax:
            why = f"{form.name} is {form.syntax}, the file is {sample.layout.syntax}"
            raise sample.unclear(why, options, [])
        _check(sample, options, _needed(form, with_rating=form.name in NEED_RATING))
        return _laid(form, sample)
    columns: dict[str, Any] = options.columns
    if columns:
        _check(sample, options, columns)
        return replace(sample.layout, **columns)
    known = _known(sample, options)
    if first is not None and _holds(first, sample):
        held = _laid(first, sample)
        if known is None or replace(known, name=held.name) != held:
            return held
    if known is not None:
        return known
    by_name: dict[str, Any] = _by_names(sample, options)
    made = replace(sample.layout, **by_name)
    form = FORMATS["recbole-inter"]
    is_recbole = sample.is_typed and made.roles.items() <= form.roles.items()
    return replace(made, name=form.name if is_recbole else None)


def _needed(form: Mapping, with_rating: bool = False) -> dict[str, str]:
    """The columns without which a file is not of the known format, by role."""
    free = {"time", "rating"} if form.name == "recbole-inter" else {"rating"}
    is_free = free if not (form.columns or with_rating) else set()
    return {role: column for role, column in form.roles.items() if role not in is_free}


def _known(sample: Sample, options: ReadOptions) -> Mapping | None:
    """The known format that the columns are of."""
    layout, names = sample.layout, set(sample.columns)
    other = "amazon-2014-json" if MARKS_2018 & names else "amazon-2018-json"
    for name, form in FORMATS.items():
        container = "array" if layout.container == "array" else "lines"
        shape = (layout.syntax, layout.separator, container, sample.is_bare)
        if (form.syntax, form.separator, form.container, bool(form.columns)) != shape:
            continue
        is_other = name.startswith(other) or name == "recbole-inter"
        need = set(_needed(form).values()) | NEED_COLUMNS.get(name, set())
        if is_other or not need <= names or not _fits(form, sample):
            continue
        if name in NEED_RATING and form.rating not in names:
            raise sample.unclear(
                f"{name} needs the column {form.rating!r}", options,
                [{"columns": {r: c for r, c in form.roles.items() if r != "rating"}}],
                hint=" if there are no ratings",
            )  # fmt: skip
        return _laid(form, sample)
    return None


def _fits(form: Mapping, sample: Sample) -> bool:
    """Whether columns without names hold what the format has in them."""
    if not form.columns:
        return True
    numbers = len(sample.columns) == 4 and all(are(is_number, sample.columns[n]) for n in "34")
    return numbers and (form.separator != "," or sample.user_first() is (form.user == "1"))


def _laid(form: Mapping, sample: Sample) -> Mapping:
    """The roles and units of the mapping over the layout of the sample."""
    made = replace(form, **{name: getattr(sample.layout, name) for name in _LAYOUT})
    if form.syntax == "json" and form.name is not None:
        name = form.name.removesuffix("-array")
        made = replace(made, name=name + ("-array" if made.container == "array" else ""))
    return made


def _holds(first: Mapping, sample: Sample) -> bool:
    """Whether the columns that were read of the first file are in this one too."""
    layout = sample.layout
    same = first.syntax == layout.syntax and (first.header is None) == (layout.header is None)
    if sample.is_bare:
        same = same and (first.separator, first.columns) == (layout.separator, layout.columns)
    need = {column for role, column in first.roles.items() if role != "rating"}
    return same and need <= set(sample.columns)


def _check(sample: Sample, options: ReadOptions, roles: dict[str, str]) -> None:
    """Raises UsageError where the file has not the columns that options ask for."""
    there = {role: column for role, column in roles.items() if column in sample.columns}
    for role, column in roles.items():
        if role in there:
            continue
        near = nearest(column, [name[:80] for name in list(sample.columns)[:200]])
        why = f"there is no column {short(column)!r} for the {role}; {near}"
        asked = replace(options, format=None)
        likely = {r: c for r, c in sample.guess(there).items() if r in roles}
        raise sample.unclear(why, asked, [{"columns": likely}] if len(likely) > 1 else [])


def _by_names(sample: Sample, options: ReadOptions) -> dict[str, str]:
    """Roles by what columns are called. Raises UsageError where that leaves a choice."""
    named = {role: sample.named(role) for role in ROLES}
    held = {role: hits[0] for role, hits in named.items() if len(hits) == 1}
    for role, hits in named.items():
        if len(hits) > 1:
            answers = [{"columns": sample.guess(held | {role: column})} for column in hits[:4]]
            why = f"the {role} may be {' or '.join(map(short, hits[:4]))}"
            raise sample.unclear(why, options, answers)
    missing = [role for role in ROLES[:2] if role not in held]
    if not missing:
        return held
    why = f"its columns do not tell which is the {' and which the '.join(missing)}"
    likely = sample.guess()
    _refuse_lists(sample, likely.get("user"), likely.get("item"))
    if not {"user", "item"} <= set(likely):
        raise no_table(sample.where, f"{why} ({sample.listing()})")
    hint = ""
    if sample.is_bare and sample.user_first() is None:
        swapped = likely | {"user": likely["item"], "item": likely["user"]}
        hint = f", or if the items come first: {replace(options, columns=swapped).command()}"
    raise sample.unclear(why, options, [{"columns": likely}], hint)


def _refuse_lists(sample: Sample, *columns: str | None) -> None:
    """Raise UsageError where one of these columns of ids holds lists: no list is an id."""
    for column in filter(None, columns):
        if sample.holds_lists(column):
            raise UsageError(
                f"the column {short(column)!r} holds a list in each record",
                where=sample.where,
                todo="write one interaction a line, or only the lists of items, each as JSON on a "
                "line of its own: they are read as sessions",
            )


# The unit or pattern of times.


def _with_time(mapping: Mapping, sample: Sample, options: ReadOptions) -> tuple[Mapping, list[str]]:
    """The mapping with the unit or pattern of its times, and what to say of it."""
    time = mapping.time
    if time is None or (mapping.columns and time not in sample.columns):
        return replace(mapping, time=None, time_unit=None, time_format=None), []
    values = sample.columns.get(time, [])
    unit, pattern = options.time_unit, options.time_format
    try:
        if unit or pattern:
            _check_time(values, unit, pattern)
            return replace(mapping, time_unit=unit, time_format=pattern), []
        if mapping.time_unit or mapping.time_format:
            return mapping, []
        unit, pattern = time_of(values)
    except Unclear as error:
        raise _unclear_time(mapping, sample, options, error) from None
    notes = [f"times: {time} is in {UNITS[unit]}, by its values"] if unit and unit != "s" else []
    return replace(mapping, time_unit=unit, time_format=pattern), notes


def _unclear_time(
    mapping: Mapping, sample: Sample, options: ReadOptions, error: Unclear
) -> UsageError:
    options = replace(options, time_unit=None, time_format=None)
    answers: list[dict[str, Any]] = [{"time_format": pattern} for pattern in error.patterns]
    hint = ""
    if not answers:
        hint = " (as it is written there)"
        is_numeric = any(map(is_number, sample.columns.get(mapping.time or "", [])[:1]))
        answers = [{"time_unit": "s"} if is_numeric else {"time_format": "%d/%m/%Y %H:%M"}]
    untimed = {role: column for role, column in mapping.roles.items() if role != "time"}
    leave = replace(options, format=None, columns=untimed).command()
    why = f"the times in {mapping.time} are not clear: {error}"
    return sample.unclear(why, options, answers, f"{hint}, or leave it out: {leave}")


def _check_time(values: Sequence[str], unit: str | None, pattern: str | None) -> None:
    """Raises Unclear where no value fits the option."""
    try:
        fits = [parses(v, pattern) if pattern else is_number(v) for v in values[:100]]
        why = f"they are like {short(values[0], 40)!r}" if fits and not any(fits) else None
    except ValueError as error:
        why = str(error)
    if why is not None:
        raise Unclear(f"{unit or pattern} does not fit, {why}")
