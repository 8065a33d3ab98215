"""The files that a data set was made of: rows of the table `sources`, and files that are new."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mrl4rec.core.errors import UsageError
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import read_table, table_at
from mrl4rec.formats.detect import detect
from mrl4rec.formats.mapping import FORMATS, Mapping, describe
from mrl4rec.formats.options import ReadOptions
from mrl4rec.formats.packing import Unpacking
from mrl4rec.formats.sources import SourceFile, digest
from mrl4rec.transforms.reviews import Source

COUNTS = ("rows_read", "rows_accepted", "rows_duplicate", "rows_quarantined")
Row = dict[str, Any]


@dataclass
class New:
    """A source that was not taken in before."""

    file: SourceFile
    mapping: Mapping
    held: Source = field(default_factory=Source)

    def __post_init__(self) -> None:
        self.held.are_sessions = self.mapping.syntax == "sessions"

    def row(self, number: int) -> Row:
        """Its row of `sources`."""
        file, mapping = self.file, self.mapping
        return {
            "source_sha256": file.sha256,
            "source_no": number,
            "path": file.place,
            "bytes": file.bytes,
            "format": mapping.name or mapping.syntax,
            "mapping": json.dumps(mapping.to_json(), sort_keys=True),
            **self.held.counts,
        }


def distinct(files: Sequence[Path], most: Unpacking) -> tuple[list[SourceFile], list[str]]:
    """The files by their bytes, and notes of those that are left out."""
    sources: dict[str, SourceFile] = {}
    notes = []
    for path in files:
        for source in digest(path, most):
            first = sources.setdefault(source.sha256, source)
            if first is not source:
                notes.append(f"{source.shown} has the same bytes as {first.shown}: read once")
    return list(sources.values()), notes


def known(uri: str, ingest: Commit | None) -> dict[str, Row]:
    """The rows of `sources` at a commit by digest, in the order of their numbers."""
    if ingest is None:
        return {}
    rows = read_table(table_at(uri, ingest.version)).sort_by("source_no").to_pylist()
    return {row["source_sha256"]: row for row in rows}


def mapping_of(row: Row) -> Mapping | None:
    """How a source was read; None for one that was empty, or of a form no longer known."""
    if row.get("mapping"):
        mapping = Mapping.from_json(json.loads(row["mapping"]))
        return None if mapping.syntax == "none" else mapping
    return FORMATS.get(row["format"])


def first_mapping(rows: Dict[str, Row]) -> Mapping | None:
    """The data set's first mapping: it holds for its later dumps."""
    return next(filter(None, map(mapping_of, rows.values())), None)


def sessions(rows: Iterable[Row]) -> list[str]:
    """The digests of the sources that are sessions."""
    mappings = ((row["source_sha256"], mapping_of(row)) for row in rows)
    return [digest for digest, mapping in mappings if mapping and mapping.syntax == "sessions"]


def listed(source: SourceFile, row: Row) -> Row:
    """A source as the summary lists it."""
    mapping, counts = mapping_of(row), {name: row[name] for name in COUNTS}
    said = describe(mapping) if mapping else row["format"]
    return {"path": source.shown, "format": row["format"], "mapping": said, **counts}


def require_same_reading(source: SourceFile, row: Row, options: ReadOptions) -> None:
    """Raise UsageError where a known source is asked for in another way than it was read."""
    before = mapping_of(row)
    if not options.is_given or before is None:
        return
    asked = detect(source, options, None).mapping
    if options.rating_range is None:  # what was seen is no other wish
        asked = replace(asked, rating_range=before.rating_range)
    same: Row = {"name": None, "header": None, "asin_items": False}
    if replace(asked, **same) != replace(before, **same):
        raise UsageError(
            f"{source.shown} was taken in as {describe(before)}; now it is asked for as "
            f"{describe(asked)}",
            todo="take it into another --dataset, or leave the options out",
        )


def note(new: Sequence[New]) -> list[str]:
    """What a person should know of new sources; fixes the ratings' range where it was only seen."""
    # All that came without a range share the one that was seen.
    seen = [one for one in new if one.mapping.rating_range is None and one.held.rated]
    low = min((one.held.low for one in seen), default=0.0)
    high = max((one.held.high for one in seen), default=0.0)
    notes = []
    for one in new:
        mapping, held, said = one.mapping, one.held, []
        if mapping.syntax == "none":
            said.append("an empty file, no record in it")
        if mapping.rating_range is None and held.rated:
            one.mapping = replace(mapping, rating_range=(low, high))
            said.append(f"ratings from {low:g} to {high:g} were seen; this range holds for later "
                        "dumps")  # fmt: skip
        if mapping.rating is not None and not held.rated and held.good:
            said.append("no record has a rating")
        if held.repeated:
            said.append(f"{held.repeated:,} rows repeat a (user, item) pair of this file")
        if mapping.asin_items and held.short_ids:
            said.append(
                f"{held.short_ids:,} numeric item ids ({held.short_rows:,} rows) are shorter than "
                "10 digits: a spreadsheet may have cut their leading zeros"
            )
        notes += [f"{one.file.shown}: {text}" for text in said]
    return notes
