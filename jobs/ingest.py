"""Stage ingest: dump files → tables `reviews`, `quarantine` and, as the marker, `sources`.

python -m jobs.ingest --dataset phones --source reviews.json.gz
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from jobs import common
from mrl4rec.core import stage
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.formats.bounds import Unpacking
from mrl4rec.formats.describe import describe
from mrl4rec.formats.detect import Detected, detect
from mrl4rec.formats.known import FORMATS
from mrl4rec.formats.mapping import Mapping
from mrl4rec.formats.options import ReadOptions
from mrl4rec.formats.source_file import SourceFile
from mrl4rec.formats.sources import digest, expand, undigested
from mrl4rec.tables import QUARANTINE, REVIEWS, SOURCES, Table, store, versions
from mrl4rec.transforms import reviews
from mrl4rec.transforms.engine import Engine, Mode

log = logging.getLogger("mrl4rec")

CODE = 2
"""Raised whenever the tables change for the same files and parameters."""
COUNTS = ("rows_read", "rows_accepted", "rows_duplicate", "rows_quarantined")


@dataclass(frozen=True)
class IngestRequest:
    """What to take in.

    ``as_of`` is the moment after which a time lies in the future (naive: UTC); None means now.
    """

    dataset: str
    files: tuple[Path, ...]
    options: ReadOptions = field(default_factory=ReadOptions)
    as_of: datetime | None = None

    def __post_init__(self) -> None:
        if not self.files:
            raise UsageError("no source was given", todo="name a file, a folder or a glob")
        if self.as_of is not None:
            zoned = self.as_of.replace(tzinfo=self.as_of.tzinfo or UTC)
            object.__setattr__(self, "as_of", zoned.astimezone(UTC))

    def key(self, sources: Sequence[SourceFile]) -> str:
        """The stage key: the files by digest, in the order given, and the parameters."""
        params = {"as_of": self.as_of and self.as_of.isoformat(), **self.options.as_params()}
        inputs = {"sources": [source.sha256 for source in sources]}
        return stage.stage_key("ingest", CODE, inputs, params)


@dataclass
class _Plan:
    """One run: what is there already, which sources are new, and what they hold."""

    request: IngestRequest
    settings: Settings
    key: str
    base: Commit | None
    known: dict[str, dict[str, Any]]
    """Rows of `sources` by digest, in the order of their numbers."""
    notes: list[str]
    fresh: dict[SourceFile, Mapping] = field(default_factory=dict)
    """The new sources in order, and how each is read."""
    held: dict[int, reviews.Source] = field(default_factory=dict)
    """What the new sources hold, by their place; none where no record was read."""
    heads: dict[str, int] = field(default_factory=dict)
    """Version of each table of the stage: what was written, and of `sources` what is there."""

    def uri(self, table: str) -> str:
        return self.settings.storage.table_uri(self.request.dataset, table)


def check(
    files: Sequence[Path], options: ReadOptions, settings: Settings, dataset: str
) -> list[Detected]:
    """How each file would be read; nothing is read to its end, nothing started or written.

    Raises UsageError or Mrl4recError for the first file that cannot be read, with what to type.
    """
    base = versions.newest_good(settings, dataset, SOURCES.name)
    first = _first_mapping(_known_sources(settings, dataset, base))
    found = []
    for path in files:
        for source in undigested(path):
            found.append(detect(source, options, first))
            first = first or found[-1].mapping
    return found


@stage.again_after_lost_race
def run(request: IngestRequest, settings: Settings) -> Commit:
    """Take the files in and answer the commit; nothing is read where that was done before.

    Raises Mrl4recError where a file is refused (not readable, binary, cut off, of no known form, a
    column missing); nothing is committed then.
    """
    sources, notes = _distinct(request.files, Unpacking.of(settings))
    key = request.key(sources)
    done = stage.find(settings.storage.table_uri(request.dataset, SOURCES.name), SOURCES.name, key)
    if done is not None:
        log.info("ingest: these files were taken in before, version %d", done.version)
        return done
    base = versions.newest_good(settings, request.dataset, SOURCES.name)
    known = _known_sources(settings, request.dataset, base)
    plan = _Plan(request, settings, key, base, known, notes)
    _read_as(plan, sources)
    as_of = request.as_of or datetime.now(UTC)
    if plan.fresh or base is None:
        facts = _take_in(plan, as_of)
    else:
        plan.heads = _restored(plan)
        facts = {"total": base.summary["total"], "rules": {}, "first_bad": {}}
    return _commit(plan, sources, facts | {"as_of": as_of.isoformat()})


def _distinct(files: Sequence[Path], most: Unpacking) -> tuple[list[SourceFile], list[str]]:
    sources: dict[str, SourceFile] = {}
    notes = []
    for path in files:
        for source in digest(path, most):
            first = sources.setdefault(source.sha256, source)
            if first is not source:
                notes.append(f"{source.shown} has the same bytes as {first.shown}: read once")
    return list(sources.values()), notes


def _known_sources(
    settings: Settings, dataset: str, base: Commit | None
) -> dict[str, dict[str, Any]]:
    if base is None:
        return {}
    delta = DeltaTable(settings.storage.table_uri(dataset, SOURCES.name), base.version)
    rows = sorted(read_table(delta).to_pylist(), key=lambda row: row["source_no"])
    return {row["source_sha256"]: row for row in rows}


def _mapping_of(row: Dict[str, Any]) -> Mapping | None:
    """How a source was read; None for one that was empty, or of a form no longer known."""
    if row.get("mapping"):
        mapping = Mapping.from_json(json.loads(row["mapping"]))
        return None if mapping.syntax == "none" else mapping
    return FORMATS.get(row["format"])


def _first_mapping(known: Dict[str, Dict[str, Any]]) -> Mapping | None:
    """The data set's first mapping: it holds for its later dumps."""
    return next(filter(None, map(_mapping_of, known.values())), None)


def _read_as(plan: _Plan, sources: Sequence[SourceFile]) -> None:
    """Find out how each new source is read; known ones must be asked for as they were."""
    first = _first_mapping(plan.known)
    for source in sources:
        row = plan.known.get(source.sha256)
        if row is not None:
            _same_reading(source, row, plan.request.options)
            plan.notes.append(f"{source.shown} was taken in before ({row['path']}): skipped, its "
                              "counts are of that time")  # fmt: skip
            continue
        found = detect(source, plan.request.options, first)
        plan.fresh[source] = found.mapping
        said = describe(found.mapping)  # logged when the file is read
        plan.notes += [f"{source.shown}: {note}" for note in found.notes if note != said]
        if first is None and found.mapping.syntax != "none":
            first = found.mapping


def _same_reading(source: SourceFile, row: Dict[str, Any], options: ReadOptions) -> None:
    before = _mapping_of(row)
    if not options.is_given or before is None:
        return
    asked = detect(source, options, None).mapping
    if options.rating_range is None:  # what was seen is no other wish
        asked = replace(asked, rating_range=before.rating_range)
    same: Dict[str, Any] = {"name": None, "header": None, "asin_items": False}
    if replace(asked, **same) != replace(before, **same):
        raise UsageError(
            f"{source.shown} was taken in as {describe(before)}; now it is asked for as "
            f"{describe(asked)}",
            todo="take it into another --dataset, or leave the options out",
        )


def _take_in(plan: _Plan, as_of: datetime) -> dict[str, Any]:
    """Read the new sources and commit `quarantine` and `reviews`; facts of the summary."""
    from mrl4rec.formats.decode import Input
    from mrl4rec.transforms.opening import open_engine

    most = Unpacking.of(plan.settings)
    inputs = [Input(*read, number, most) for number, read in enumerate(plan.fresh.items())]
    for source, mapping in plan.fresh.items():
        log.info("reading %s: %s, %.1f MB", source.shown, describe(mapping), source.bytes / 1e6)
    with open_engine(plan.settings) as engine:
        engine.decode("decoded", inputs, as_of)
        for source in plan.fresh:
            if source.changed():
                raise Mrl4recError(
                    "the file changed while it was read", where=source.shown, todo="run it again"
                )
        plan.heads = _restored(plan)
        return _settle(plan, engine)


def _restored(plan: _Plan) -> dict[str, int]:
    """The versions of the stage's tables once they hold what they held at its base.

    Raises LostRace where another ingest was committed since the base was looked up.
    """
    place = (plan.settings, plan.request.dataset)
    if versions.newest_good(*place, SOURCES.name) != plan.base:
        raise stage.LostRace(plan.uri(SOURCES.name))
    versions.restore(*place, SOURCES.name, plan.base)
    marker = open_table(plan.uri(SOURCES.name))
    heads = {n: versions.create(*place, n).version() for n in ("quarantine", "reviews")}
    return {**heads, SOURCES.name: marker.version() if marker else 0}


def _settle(plan: _Plan, engine: Engine) -> dict[str, Any]:
    digests = pa.array([source.sha256 for source in plan.fresh], pa.string())
    numbers = pa.array(range(len(digests)), pa.int32())
    engine.add("arrived", pa.table({"source_no": numbers, "source_sha256": digests}))
    engine.read("present", REVIEWS, plan.uri(REVIEWS.name), plan.heads[REVIEWS.name])
    plan.held = reviews.settle(engine)
    good = sum(source.good for source in plan.held.values())
    bad = sum((source.rules for source in plan.held.values()), Counter())
    log.info("decoded %s records, %s of them broken", f"{good + bad.total():,}", f"{bad.total():,}")
    replaced = reviews.compare(engine, plan.held)
    if any(mapping.asin_items for mapping in plan.fresh.values()):
        reviews.count_short_ids(engine, plan.held)
    _write(plan, engine, QUARANTINE, reviews.QUARANTINED, "append")
    if replaced:
        _write(plan, engine, REVIEWS, reviews.REPLACED, "overwrite")
    else:
        _write(plan, engine, REVIEWS, reviews.GAINED, "append")
    new = good - sum(source.duplicate for source in plan.held.values())
    log.info("reviews: %s new, %s replaced", f"{new:,}", f"{replaced:,}")
    first_bad = reviews.first_broken(engine) if bad else {}
    shown = [source.shown for source in plan.fresh]
    for record in first_bad.values():
        record["path"] = shown[record.pop("source_no")]
    return {
        "total": reviews.distinct(engine),
        "rules": dict(sorted(bad.items())),
        "first_bad": first_bad,
    }


def _write(plan: _Plan, engine: Engine, table: Table, sql: str, mode: Mode) -> None:
    """Commit before the marker's: with the key, and whose commit it is."""
    note = json.dumps({"stage": "ingest", "key": plan.key, "table": table.name})
    plan.heads[table.name] = engine.write(
        table, plan.uri(table.name), sql, mode=mode, text=note, base=plan.heads[table.name]
    )


def _note(plan: _Plan) -> None:
    """Note what a person should know of these sources, and the ratings' range where it was seen."""
    seen = [source for number, source in plan.held.items()
            if list(plan.fresh.values())[number].rating_range is None and source.rated]  # fmt: skip
    lows, highs = ([getattr(s, end) or 0.0 for s in seen] for end in ("low", "high"))
    for number, (source, mapping) in enumerate(plan.fresh.items()):
        held = plan.held.get(number, reviews.Source())
        said = []
        if mapping.syntax == "none":
            said.append("an empty file, no record in it")
        if mapping.rating_range is None and held.rated:  # all that came with it share its range
            low, high = min(lows), max(highs)
            plan.fresh[source] = replace(mapping, rating_range=(low, high))
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
        plan.notes += [f"{source.shown}: {note}" for note in said]


def _new_rows(plan: _Plan) -> list[dict[str, Any]]:
    """Rows of `sources` for the files that were new."""
    return [
        {
            "source_sha256": source.sha256,
            "source_no": len(plan.known) + number,
            "path": str(source.path.absolute()) + (f"/{source.member}" if source.member else ""),
            "bytes": source.bytes,
            "format": mapping.name or mapping.syntax,
            "mapping": json.dumps(mapping.to_json(), sort_keys=True),
            **plan.held.get(number, reviews.Source()).counts,
        }
        for number, (source, mapping) in enumerate(plan.fresh.items())
    ]


def _commit(plan: _Plan, sources: Sequence[SourceFile], facts: Dict[str, Any]) -> Commit:
    """The marker: the stage is done with this commit, and not before."""
    _note(plan)
    rows = _new_rows(plan)
    by_digest = plan.known | {row["source_sha256"]: row for row in rows}
    listed = [_listed(source, by_digest[source.sha256]) for source in sources]
    mappings = [m for m in map(_mapping_of, by_digest.values()) if m is not None]
    integer = sum(mapping.integer_ids for mapping in mappings)
    if 0 < integer < len(mappings):
        plan.notes.append(
            "integer ids of a split made elsewhere lie beside other ids in this data set"
        )
    total = {name: sum(row[name] for row in listed) for name in COUNTS}
    summary = {
        **facts,
        "sources": listed,
        "total": total | {name: facts["total"][name] for name in ("users", "items")},
        "ids": "integer" if 0 < integer == len(mappings) else "first_appearance",
        "notes": plan.notes,
    }
    outputs = {table.name: plan.heads[table.name] for table in (REVIEWS, QUARANTINE)}
    commit = Commit("ingest", plan.key, SOURCES.name, -1, outputs, summary)
    versions.create(plan.settings, plan.request.dataset, SOURCES.name)
    table = pa.Table.from_pylist(rows, schema=SOURCES.schema)
    base = plan.heads[SOURCES.name]
    version = store.append_rows(plan.uri(SOURCES.name), table, commit.metadata(), base)
    return replace(commit, version=version)


def _listed(source: SourceFile, row: Dict[str, Any]) -> dict[str, Any]:
    """A source as the summary lists it."""
    mapping = _mapping_of(row)
    said = describe(mapping) if mapping else row["format"]
    counts = {name: row[name] for name in COUNTS}
    return {"path": source.shown, "format": row["format"], "mapping": said, **counts}


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: take files in and print the summary as JSON."""
    parser = common.parser(__doc__)
    parser.add_argument("--source", action="append", required=True, help="file, folder or glob")
    parser.add_argument("--as-of", help="times after this lie in the future; ISO 8601")
    for name in ("format", "columns", "time-unit", "time-format", "rating-range", "separator",
                 "encoding"):  # fmt: skip
        parser.add_argument(f"--{name}", help=f"see `mrl4rec ingest --help`: --{name}")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        options, dataset, settings = common.parse(parser, argv)
        files, as_of = options.pop("source"), options.pop("as_of")
        moment = datetime.fromisoformat(as_of) if as_of else None
        request = IngestRequest(dataset, expand(files), ReadOptions.parse(**options), moment)
        commit = run(request, settings)
    except (Mrl4recError, ValueError) as error:
        print(json.dumps({"error": str(error)}))
        return getattr(error, "exit_code", 2)
    print(json.dumps(dict(commit.summary)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
