"""Stage ingest: dump files → tables `reviews`, `quarantine` and, as the marker, `sources`.

python -m jobs.ingest --dataset phones --source reviews.json.gz
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs import common
from jobs import sources as source_rows
from jobs.sources import COUNTS, New
from mrl4rec.core import stage
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import open_table
from mrl4rec.data import elsewhere
from mrl4rec.formats.decode import Input
from mrl4rec.formats.detect import Detected, detect
from mrl4rec.formats.mapping import describe
from mrl4rec.formats.options import ReadOptions
from mrl4rec.formats.packing import Unpacking
from mrl4rec.formats.sources import SourceFile, undigested
from mrl4rec.tables import QUARANTINE, REVIEWS, SOURCES, Table, store, versions
from mrl4rec.transforms import reviews
from mrl4rec.transforms.engine import Engine, Mode
from mrl4rec.transforms.opening import open_engine

log = logging.getLogger("mrl4rec")

CODE = 2
"""Raised whenever the tables change for the same files and parameters."""


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
    """One run: what is there already, and which sources are new."""

    request: IngestRequest
    tables: common.Tables
    key: str
    base: Commit | None
    known: dict[str, dict[str, Any]]
    """Rows of `sources` by digest, in the order of their numbers."""
    notes: list[str]
    new: list[New] = field(default_factory=list)


def check(
    files: Sequence[Path], options: ReadOptions, settings: Settings, dataset: str
) -> list[Detected]:
    """How each file would be read; nothing is read to its end, nothing started or written.

    Raises UsageError or Mrl4recError for the first file that cannot be read, with what to type.
    """
    base = versions.newest_good(settings, dataset, SOURCES.name)
    uri = settings.storage.table_uri(dataset, SOURCES.name)
    first = source_rows.first_mapping(source_rows.known(uri, base))
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
    sources, notes = source_rows.distinct(request.files, Unpacking.of(settings))
    key = request.key(sources)
    tables = common.Tables(settings, request.dataset)
    done = stage.find(tables.uri(SOURCES.name), SOURCES.name, key)
    if done is not None:
        log.info("ingest: these files were taken in before, version %d", done.version)
        return done
    base = versions.newest_good(settings, request.dataset, SOURCES.name)
    known = source_rows.known(tables.uri(SOURCES.name), base)
    plan = _Plan(request, tables, key, base, known, notes)
    _read_as(plan, sources)
    as_of = request.as_of or datetime.now(UTC)
    if plan.new or base is None:
        facts = _take_in(plan, as_of)
    else:
        _restore(plan)
        facts = {"total": base.summary["total"], "rules": {}, "first_bad": {}}
    return _commit(plan, sources, facts | {"as_of": as_of.isoformat()})


def _read_as(plan: _Plan, sources: Sequence[SourceFile]) -> None:
    """Find out how each new source is read; known ones must be asked for as they were."""
    first = source_rows.first_mapping(plan.known)
    for source in sources:
        row = plan.known.get(source.sha256)
        if row is not None:
            source_rows.require_same_reading(source, row, plan.request.options)
            plan.notes.append(f"{source.shown} was taken in before ({row['path']}): skipped, its "
                              "counts are of that time")  # fmt: skip
            continue
        found = detect(source, plan.request.options, first)
        plan.new.append(New(source, found.mapping))
        said = describe(found.mapping)  # logged when the file is read
        plan.notes += [f"{source.shown}: {note}" for note in found.notes if note != said]
        if first is None and found.mapping.syntax != "none":
            first = found.mapping


def _take_in(plan: _Plan, as_of: datetime) -> dict[str, Any]:
    """Read the new sources and commit `quarantine` and `reviews`; facts of the summary."""
    settings = plan.tables.settings
    inputs = []
    for number, new in enumerate(plan.new):
        file = new.file
        log.info("reading %s: %s, %.1f MB", file.shown, describe(new.mapping), file.bytes / 1e6)
        inputs.append(Input(file, new.mapping, number, Unpacking.of(settings)))
    with open_engine(settings) as engine:
        engine.decode("decoded", inputs, as_of)
        for new in plan.new:
            if new.file.changed():
                raise Mrl4recError(
                    "the file changed while it was read", where=new.file.shown, todo="run it again"
                )
        _restore(plan)
        return _settle(plan, engine)


def _restore(plan: _Plan) -> None:
    """Give the stage's tables what they held at its base: what comes now is written on that.

    Raises LostRace where another ingest was committed since the base was looked up.
    """
    tables = plan.tables
    place = (tables.settings, tables.dataset, SOURCES.name)
    if versions.newest_good(*place) != plan.base:
        raise stage.LostRace(tables.uri(SOURCES.name))
    versions.restore(*place, plan.base)
    marker = open_table(tables.uri(SOURCES.name))
    tables.heads[SOURCES.name] = marker.version() if marker else 0  # made by the commit alone
    tables.begin(QUARANTINE.name, REVIEWS.name)


def _settle(plan: _Plan, engine: Engine) -> dict[str, Any]:
    digests = pa.array([new.file.sha256 for new in plan.new], pa.string())
    numbers = pa.array(range(len(digests)), pa.int32())
    engine.add("arrived", pa.table({"source_no": numbers, "source_sha256": digests}))
    tables, held = plan.tables, [new.held for new in plan.new]
    engine.read("present", REVIEWS, tables.uri(REVIEWS.name), tables.heads[REVIEWS.name])
    reviews.settle(engine, held)
    good = sum(source.good for source in held)
    bad = sum((source.rules for source in held), Counter())
    log.info("decoded %s records, %s of them broken", f"{good + bad.total():,}", f"{bad.total():,}")
    replaced = reviews.compare(engine, held, source_rows.sessions(plan.known.values()))
    if any(new.mapping.asin_items for new in plan.new):
        reviews.count_short_ids(engine, held)
    _write(plan, engine, QUARANTINE, reviews.QUARANTINED, "append")
    if replaced:
        _write(plan, engine, REVIEWS, reviews.REPLACED, "overwrite")
    else:
        _write(plan, engine, REVIEWS, reviews.GAINED, "append")
    gained = good - sum(source.duplicate for source in held)
    log.info("reviews: %s new, %s replaced", f"{gained:,}", f"{replaced:,}")
    first_bad = reviews.first_broken(engine) if bad else {}
    for record in first_bad.values():
        record["path"] = plan.new[record.pop("source_no")].file.shown
    rules = dict(sorted(bad.items()))
    return {"total": reviews.distinct(engine), "rules": rules, "first_bad": first_bad}


def _write(plan: _Plan, engine: Engine, table: Table, sql: str, mode: Mode) -> None:
    """Commit before the marker's: with the key, and whose commit it is."""
    note = json.dumps({"stage": "ingest", "key": plan.key, "table": table.name})
    plan.tables.write(engine, table, sql, note, mode)


def _commit(plan: _Plan, sources: Sequence[SourceFile], facts: Mapping[str, Any]) -> Commit:
    """The marker: the stage is done with this commit, and not before."""
    plan.notes += source_rows.note(plan.new)
    rows = [new.row(number) for number, new in enumerate(plan.new, len(plan.known))]
    by_digest = plan.known | {row["source_sha256"]: row for row in rows}
    listed = [source_rows.listed(source, by_digest[source.sha256]) for source in sources]
    mappings = list(filter(None, map(source_rows.mapping_of, by_digest.values())))
    ids = [mapping.integer_ids for mapping in mappings]
    if any(ids) and not all(ids):
        plan.notes.append(
            "integer ids of a split made elsewhere lie beside other ids in this data set"
        )
    total = {name: sum(row[name] for row in listed) for name in COUNTS}
    summary = {
        **facts,
        "sources": listed,
        "total": total | {name: facts["total"][name] for name in ("users", "items")},
        "ids": "integer" if any(ids) and all(ids) else "first_appearance",
        "notes": plan.notes,
    }
    if mappings and all(mapping.syntax == "sessions" for mapping in mappings):
        summary["lists"] = True
    tables = plan.tables
    outputs = {name: tables.heads[name] for name in (REVIEWS.name, QUARANTINE.name)}
    commit = Commit("ingest", plan.key, SOURCES.name, -1, outputs, summary)
    versions.create(tables.settings, tables.dataset, SOURCES.name)
    table = pa.Table.from_pylist(rows, schema=SOURCES.schema)
    base = tables.heads[SOURCES.name]
    version = store.append_rows(tables.uri(SOURCES.name), table, commit.metadata(), base)
    return replace(commit, version=version)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: take files in and print the summary as JSON."""
    parser = common.parser(__doc__)
    parser.add_argument(
        "--source", action="append", required=True, help="file, folder, glob or URL"
    )
    parser.add_argument("--as-of", help="times after this lie in the future; ISO 8601")
    for name in ("format", "columns", "time-unit", "time-format", "rating-range", "separator",
                 "encoding"):  # fmt: skip
        parser.add_argument(f"--{name}", help=f"see `mrl4rec ingest --help`: --{name}")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        options, dataset, settings = common.parse(parser, argv)
        files, as_of = options.pop("source"), options.pop("as_of")
        moment = datetime.fromisoformat(as_of) if as_of else None
        dumps = elsewhere.expand(files, settings)
        request = IngestRequest(dataset, dumps, ReadOptions.parse(**options), moment)
        commit = run(request, settings)
    except (Mrl4recError, ValueError) as error:
        print(json.dumps({"error": str(error)}))
        return getattr(error, "exit_code", 2)
    print(json.dumps(dict(commit.summary)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
