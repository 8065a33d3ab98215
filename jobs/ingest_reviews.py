"""Stage ingest: dump files → tables `reviews`, `quarantine` and, as the marker, `sources`.

spark-submit jobs/ingest_reviews.py --dataset phones --source reviews.json.gz
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from jobs import spark as spark_job
from jobs.ingest_tables import Ingested, Place, begin, ingest_files
from mrl4rec import lease, stage, versions
from mrl4rec.errors import Mrl4recError, UsageError
from mrl4rec.formats import (
    EMPTY,
    FORMATS,
    Layout,
    SourceFile,
    digest,
    expand,
    known_format,
    sniff,
)
from mrl4rec.settings import Settings
from mrl4rec.stage import Commit
from mrl4rec.tables import QUARANTINE, REVIEWS, SOURCES
from mrl4rec.tables.store import commit_rows

log = logging.getLogger("mrl4rec")

CODE = 1
"""Raised whenever the tables change for the same files and parameters."""
COUNTS = ("rows_read", "rows_accepted", "rows_duplicate", "rows_quarantined")


@dataclass(frozen=True)
class IngestRequest:
    """What to take in.

    ``as_of`` is the moment after which a time lies in the future (naive: UTC); None means now.
    """

    dataset: str
    files: tuple[Path, ...]
    format: str | None = None
    """A name of ``mrl4rec.formats.FORMATS``; None: seen from the content."""
    as_of: datetime | None = None

    def __post_init__(self) -> None:
        if not self.files:
            raise UsageError("no source was given", todo="name a file, a folder or a glob")
        if self.format is not None:
            known_format(self.format)
        if self.as_of is not None:
            zoned = self.as_of if self.as_of.tzinfo else self.as_of.replace(tzinfo=UTC)
            object.__setattr__(self, "as_of", zoned.astimezone(UTC))

    def key(self, sources: Sequence[SourceFile]) -> str:
        """The stage key: the files by digest, in the order given, and the parameters."""
        as_of = self.as_of.isoformat() if self.as_of else None
        return stage.stage_key(
            "ingest",
            CODE,
            inputs={"sources": [source.sha256 for source in sources]},
            params={"format": self.format, "as_of": as_of},
        )


def run(request: IngestRequest, settings: Settings) -> Commit:
    """Take the files in and answer the commit; no Spark where that was done before.

    Raises Mrl4recError where a file is refused (not readable, binary, cut off, of no known form, a
    column missing); nothing is committed then.
    """
    as_of = request.as_of or datetime.now(UTC)
    if stage.open_table(settings.table_uri(request.dataset, SOURCES.name)) is None:
        # All is new: Spark starts while the files' digests are taken.
        begin(settings, [sniff(path, request.format) for path in request.files], as_of)
    sources, notes = _distinct(request.files)
    key = request.key(sources)
    done = stage.find(settings.table_uri(request.dataset, SOURCES.name), SOURCES.name, key)
    if done is not None:
        log.info("ingest: these files were taken in before, version %d", done.version)
        return done
    base = versions.newest_good(settings, request.dataset, SOURCES.name)
    known = _known_sources(settings, request.dataset, base)
    fresh = [source for source in sources if source.sha256 not in known]
    layouts = {source.sha256: sniff(source.path, request.format) for source in fresh}
    notes += [_known_note(source, known[source.sha256], request.format)
              for source in sources if source.sha256 in known]  # fmt: skip
    place = Place(settings, request.dataset, key)
    if fresh or base is None:
        ingested = _unpacked(place, base, fresh, layouts, as_of)
    else:
        versions.restore(settings, request.dataset, SOURCES.name, base)
        total = base.summary["total"]
        ingested = Ingested(users=total["users"], items=total["items"])
    rows = [*known.values(), *_new_rows(fresh, layouts, ingested, first_no=len(known))]
    body = _summary(sources, rows, ingested, as_of)
    body["notes"] = [*notes, *ingested.notes, *body["notes"]]
    return _commit(place, rows[len(known) :], body)


def _distinct(files: Sequence[Path]) -> tuple[list[SourceFile], list[str]]:
    sources: dict[str, SourceFile] = {}
    notes = []
    for path in files:
        source = digest(path)
        first = sources.setdefault(source.sha256, source)
        if first is not source:
            notes.append(f"{path} has the same bytes as {first.path}: read once")
    return list(sources.values()), notes


def _known_sources(
    settings: Settings, dataset: str, base: Commit | None
) -> dict[str, dict[str, Any]]:
    if base is None:
        return {}
    delta = stage.open_table(settings.table_uri(dataset, SOURCES.name), base.version)
    assert delta is not None  # newest_good opened it
    return {row["source_sha256"]: row for row in delta.to_pyarrow_table().to_pylist()}


def _known_note(source: SourceFile, row: Mapping[str, Any], asked: str | None) -> str:
    recorded = row["format"]
    stems = {name.removesuffix("-array") for name in (asked, recorded) if name}
    if asked is not None and recorded in FORMATS and len(stems) > 1:
        raise UsageError(
            f"{source.path} was taken in as {recorded} before, and --format says {asked}",
            todo="take it into another --dataset, or leave --format out",
        )
    return (
        f"{source.path} was taken in before ({row['path']}): skipped, its counts are of that time"
    )


def _unpacked(
    place: Place,
    base: Commit | None,
    fresh: Sequence[SourceFile],
    layouts: Mapping[str, Layout],
    as_of: datetime,
) -> Ingested:
    folder = place.settings.dataset_dir(place.dataset).absolute() / f"unpacked-{place.key[:16]}"
    shutil.rmtree(folder, ignore_errors=True)  # of a killed run
    folder.mkdir(parents=True)
    try:
        return ingest_files(place, base, fresh, layouts, as_of, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _new_rows(
    fresh: Sequence[SourceFile], layouts: Mapping[str, Layout], ingested: Ingested, first_no: int
) -> list[dict[str, Any]]:
    """Rows of `sources` for the files that were new."""
    return [
        {
            "source_sha256": source.sha256,
            "source_no": first_no + number,
            "path": str(source.path.absolute()),
            "bytes": source.bytes,
            "format": layouts[source.sha256].form.name,
            **(ingested.counts.get(source.sha256) or dict.fromkeys(COUNTS, 0)),
        }
        for number, source in enumerate(fresh)
    ]


def _summary(
    sources: Sequence[SourceFile],
    rows: Sequence[Mapping[str, Any]],
    ingested: Ingested,
    as_of: datetime,
) -> dict[str, Any]:
    by_digest = {row["source_sha256"]: row for row in rows}
    listed = [
        {"path": str(source.path)}
        | {name: by_digest[source.sha256][name] for name in ("format", *COUNTS)}
        for source in sources
    ]
    total = {name: sum(row[name] for row in listed) for name in COUNTS}
    rules: Counter[str] = Counter()
    for found in ingested.rules.values():
        rules.update(found)
    forms = {row["format"] for row in rows} - {EMPTY.name}
    integer = {name for name in forms if name in FORMATS and FORMATS[name].integer_ids}
    notes = []
    if integer and integer != forms:
        notes.append("integer ids of a split made elsewhere lie beside other ids in this data set")
    return {
        "sources": listed,
        "total": total | {"users": ingested.users, "items": ingested.items},
        "ids": "integer" if forms and integer == forms else "first_appearance",
        "rules": dict(sorted(rules.items())),
        "as_of": as_of.isoformat(),
        "notes": notes,
    }


def _commit(place: Place, rows: Sequence[Mapping[str, Any]], summary: dict[str, Any]) -> Commit:
    """The marker: the stage is done with this commit, and not before."""
    tables = (REVIEWS.name, QUARANTINE.name)
    outputs = {name: versions.version(place.settings, place.dataset, name) for name in tables}
    commit = Commit("ingest", place.key, SOURCES.name, -1, outputs, summary)
    sources = versions.create(place.settings, place.dataset, SOURCES.name)
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=SOURCES.schema)
    if rows:  # whoever slept meanwhile finds a conflict: no source is listed twice
        version = commit_rows(place.uri(SOURCES.name), SOURCES, table, commit.metadata())
        return replace(commit, version=version)
    lease.confirm()
    marker = stage.properties(commit.metadata())  # a MERGE of nothing would make no commit
    write_deltalake(sources, table, mode="append", commit_properties=marker)
    return replace(commit, version=versions.version(place.settings, place.dataset, SOURCES.name))


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: take files in and print the summary as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", required=True, help="name of the place in the warehouse")
    parser.add_argument("--source", action="append", required=True, help="file, folder or glob")
    parser.add_argument("--format", help="form of the files; default: seen from their content")
    parser.add_argument(
        "--as-of", help="times after this lie in the future; ISO 8601, default: now"
    )
    parser.add_argument("--warehouse", type=Path, help="default: MRL4REC_WAREHOUSE or ./warehouse")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    given = {"warehouse": args.warehouse} if args.warehouse else {}
    try:
        as_of = datetime.fromisoformat(args.as_of) if args.as_of else None
        request = IngestRequest(args.dataset, expand(args.source), args.format, as_of)
        commit = run(request, Settings(**given))
    except (Mrl4recError, ValueError) as error:
        print(json.dumps({"error": str(error)}))
        return getattr(error, "exit_code", 2)
    finally:
        spark_job.stop()
    print(json.dumps(dict(commit.summary)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
