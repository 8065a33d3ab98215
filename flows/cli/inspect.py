"""``mrl4rec inspect``: how dumps would be read, and what a sample of each holds."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import console, ingest_messages
from flows.cli import parser
from flows.config.base import READ_FIELDS, ReadConfig
from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings

with lazy.imports():
    from jobs import ingest
    from mrl4rec import formats
    from mrl4rec.data import elsewhere
    from mrl4rec.formats import copies, decode, lines, rules
    from mrl4rec.formats import sources as source_files

if TYPE_CHECKING:
    import pyarrow as pa

    from mrl4rec.formats.detect import Detected
    from mrl4rec.formats.mapping import Mapping
    from mrl4rec.formats.options import ReadOptions
    from mrl4rec.formats.sources import SourceFile

RECORD_BYTES = 8 << 10
"""More than records take, on average."""
SHOWN = 10
"""Records that are listed."""
COLUMNS = ("record_no", "user", "item", "rating", "time")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def add_options(command: argparse.ArgumentParser) -> None:
    """The files, how many records, how they are read."""
    add = command.add_argument
    add("files", nargs="+", metavar="FILE", help="files, folders or globs, also by URL")
    text = "as a later dump of this data set, whose first dump says how it is read"
    add("--dataset", help=text)
    add("--rows", type=int, default=1000, help="records of each file to look at")
    parser.add_fields(command, ReadConfig, READ_FIELDS)


def run(arguments: Namespace) -> Any:
    """The mapping of each file, its first records, counts of a sample; nothing is written."""
    if arguments.rows < 1:
        raise UsageError(f"--rows is {arguments.rows}", todo="give at least 1")
    options = ReadConfig(**parser.given(arguments, ReadConfig)).read_options()
    settings = Settings()
    beginning = 2 * lines.BLOCK_BYTES + arguments.rows * RECORD_BYTES  # it is read by blocks
    files = elsewhere.expand(arguments.files, settings, beginning)
    sources = [source for path in files for source in source_files.undigested(path)]
    detected = _detect(files, sources, options, settings, arguments.dataset)
    answers = [
        _answer(source, found, settings, arguments.rows)
        for source, found in zip(sources, detected, strict=True)
    ]
    if arguments.json:
        return answers
    for answer in answers:
        _print(answer, arguments.dataset)
    return None


def _detect(
    files: Sequence[Path],
    sources: Sequence[SourceFile],
    options: ReadOptions,
    settings: Settings,
    dataset: str | None,
) -> list[Detected]:
    """How each is read: by itself, or as a later dump of a data set."""
    if dataset is not None:
        return ingest.check(files, options, settings, *settings.storage.chosen([dataset]))

    return [formats.detect(source, options) for source in sources]


def _answer(source: SourceFile, found: Detected, settings: Settings, rows: int) -> dict[str, Any]:
    sample = _sample(source, found.mapping, settings, rows)
    taken = [row for row in sample if row["rule"] is None]
    bad = [row for row in sample if row["rule"] is not None]
    words = formats.describe(found.mapping)
    whole = source.path.whole if isinstance(source.path, copies.Copy) else None
    beginning = (
        [f"no more than its first {source.bytes / 1e6:,.1f} MB were copied and read"]
        if whole
        else []
    )
    return {
        "path": source.shown,
        "source": copies.shown(source.path),
        "bytes": whole or source.bytes,
        "mapping": found.mapping.to_json(),
        "words": words,
        "options": formats.options_of(found.mapping),
        "records": [_record(row) for row in taken[:SHOWN]],
        "sample": {"records": len(sample), "taken": len(taken), "quarantined": len(bad)},
        "rules": dict(Counter(row["rule"] for row in bad)),
        "first_bad": {row["rule"]: {"path": source.shown, **row} for row in reversed(bad)},
        "notes": [
            *beginning,
            *(note for note in found.notes if note != words),
            *_range(found.mapping, taken),
        ],
    }


def _range(mapping: Mapping, taken: Sequence[dict[str, Any]]) -> list[str]:
    """A note of the ratings in the sample, where no range is fixed."""
    ratings = [row["rating"] for row in taken if row["rating"] is not None]
    if mapping.rating_range is not None or not ratings:
        return []
    return [
        f"ratings: {mapping.rating} is {min(ratings):g} to {max(ratings):g} in the sample; every "
        "number is taken (--rating-range fixes what may be)"
    ]


def _sample(
    source: SourceFile, mapping: Mapping, settings: Settings, rows: int
) -> list[dict[str, Any]]:
    """The first records with the rule that each breaks, if any."""
    if mapping.syntax == "none":
        return []
    given = decode.Input(source, mapping, most=formats.Unpacking.of(settings))
    return _ruled(decode.sample(given, datetime.now(UTC), rows), mapping)


def _ruled(sample: pa.Table, mapping: Mapping) -> list[dict[str, Any]]:
    """A record without a rating is bad where others have one."""
    rows: list[dict[str, Any]] = sample.to_pylist()
    if mapping.rating is not None and any(row["rating"] is not None for row in rows):
        for row in rows:
            if row["rule"] is None and row["rating"] is None:
                row["rule"] = rules.NO_RATING
    return rows


def _record(row: dict[str, Any]) -> dict[str, Any]:
    micros = row["reviewed_at"]
    time = None if micros is None else (EPOCH + timedelta(microseconds=micros)).isoformat()
    values = (row["record_no"], row["user_id"], row["item_id"], row["rating"], time)
    return dict(zip(COLUMNS, values, strict=True))


def _print(answer: dict[str, Any], dataset: str | None) -> None:
    print(f"file     {console.shown(answer['path'], 1000)}, {answer['bytes']:,} bytes")
    print(f"read as  {answer['words']}")
    if answer["options"]:
        print(f"options  {answer['options']}")
    if answer["records"]:
        rows = [[_cell(record[name]) for name in COLUMNS] for record in answer["records"]]
        console.table("the first records as they would be taken", list(COLUMNS), rows)
    counts = answer["sample"]
    print(
        f"sample   {counts['records']:,} records: {counts['taken']:,} taken, "
        f"{counts['quarantined']:,} quarantined"
    )
    for line in ingest_messages.by_rule(answer["rules"], answer["first_bad"]):
        print(f"         {line}")
    for note in answer["notes"]:
        print(f"note     {note}")
    words = ["ingest", "--dataset", dataset] if dataset else ["run"]
    command = console.command(Settings(), *words, "--source", answer["source"])
    print(f"next     {command} {answer['options']}".rstrip())


def _cell(value: Any) -> Any:
    return console.shown(value) if isinstance(value, str) else value
