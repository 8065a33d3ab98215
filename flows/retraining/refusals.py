"""Dumps that were refused, in the ledger: one row for each ingest that a gate stopped, or file that
could not be read. A run that was killed before it wrote its row has it written by the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mrl4rec.checks import gate
from mrl4rec.core import stage
from mrl4rec.core.errors import GateFailed
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit, json_digest
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.formats.sources import SourceFile
from mrl4rec.serving.registry import ledger
from mrl4rec.serving.registry.ledger import Entry
from mrl4rec.tables import DRIFT_SUITE, REVIEWS_SUITE, versions

if TYPE_CHECKING:
    from flows.retraining.stages import Stages

KIND = "dump"
"""What the evidence of such a row is of."""


@dataclass(frozen=True)
class Refusal:
    """Files that were refused together."""

    files: Sequence[SourceFile]
    why: str
    judged: bool
    """True: a gate failed their ingest; False: they could not even be read."""


def rows(settings: Settings, dataset: str) -> list[Entry]:
    """The ledger's rows of refused dumps."""
    return [r for r in ledger.entries(settings, dataset) if r.evidence.get("kind") == KIND]


def digests(settings: Settings, dataset: str) -> set[str]:
    """Digests of the files that the ledger has as refused."""
    told = [row.evidence for row in rows(settings, dataset)]
    return {digest for evidence in told for digest in evidence.get("sources", ())}


def record(stages: Stages, refused: Iterable[Refusal], asked: Sequence[str]) -> None:
    """Write the rows that are missing: of files that could not be read, and of every failed ingest
    that brought one of the files ``asked`` for.
    """
    settings, dataset = stages.settings, stages.dataset
    known = {row.run for row in ledger.entries(settings, dataset)}
    found = [_unread(refusal) for refusal in refused if not refusal.judged]
    found += [row for commit in failed(settings, dataset)
              if (row := _stopped(settings, dataset, commit, asked)) is not None]  # fmt: skip
    for row in found:
        if row.run not in known:
            ledger.append(settings, dataset, row, ledger.champion(settings, dataset))


def _unread(refusal: Refusal) -> Entry:
    evidence = {
        "kind": KIND,
        "sources": [file.sha256 for file in refusal.files],
        "paths": [file.shown for file in refusal.files],
    }
    key = _key("unreadable", evidence["sources"])
    return Entry(decision="refused", why=refusal.why, run=key, evidence=evidence)


def failed(settings: Settings, dataset: str) -> list[Commit]:
    """Ingests that a gate failed, oldest first."""
    bad = versions.failed_versions(settings, dataset)
    commits = stage.history(settings.storage.table_uri(dataset, "sources"), "sources")
    return [commit for commit in reversed(commits) if _versions(commit) & bad]


def _versions(ingest: Commit) -> set[tuple[str, str]]:
    """The versions of its tables, as the gates name them."""
    tables = {ingest.table: ingest.version, **ingest.outputs}
    return {(table, str(version)) for table, version in tables.items()}


def _stopped(
    settings: Settings, dataset: str, ingest: Commit, asked: Sequence[str]
) -> Entry | None:
    """The row of a failed ingest; None where it brought none of these files, or passes now."""
    older = (c for c in versions.good(settings, dataset, "sources") if c.version < ingest.version)
    base = next(older, None)
    known = {row["source_sha256"] for row in _rows(settings, dataset, base)}
    brought = [r for r in _rows(settings, dataset, ingest) if r["source_sha256"] not in known]
    if not any(row["source_sha256"] in asked for row in brought):
        return None
    for suite in (REVIEWS_SUITE, DRIFT_SUITE):
        marks = {table: str(ingest.table_version(table)) for table in suite.tables}
        verdict = gate.given(settings, dataset, suite.name, marks)
        if verdict is None or verdict.passed:
            continue
        evidence = {
            "kind": KIND,
            "gate": suite.name,
            "sources": [row["source_sha256"] for row in brought],
            "paths": [row["path"] for row in brought],
            "failed": [
                {"name": f.name, "seen": f.seen, "wanted": f.wanted, "note": f.note}
                for f in verdict.failed
            ],
        }
        key = _key("stopped", ingest.key)
        return Entry(decision="refused", why=_why(settings, verdict), run=key, evidence=evidence)
    return None


def _why(settings: Settings, verdict: gate.Verdict) -> str:
    """The gate's own words."""
    try:
        gate.require(settings, verdict)
    except GateFailed as error:
        return error.what
    raise AssertionError("unreachable: the verdict is no pass")


def _rows(settings: Settings, dataset: str, ingest: Commit | None) -> list[dict[str, Any]]:
    if ingest is None:
        return []
    delta = open_table(settings.storage.table_uri(dataset, "sources"), ingest.version)
    rows = read_table(delta).to_pylist() if delta else []
    return sorted(rows, key=lambda row: row["source_no"])


def _key(*parts: object) -> str:
    return json_digest(["refused dump", *parts])
