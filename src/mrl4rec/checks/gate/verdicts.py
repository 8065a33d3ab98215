"""Verdicts: rows of ``gates``, one for each table version and suite, each given once."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from mrl4rec.core.errors import UsageError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.tables.gates import GATES
from mrl4rec.tables.store import commit_rows


@dataclass(frozen=True)
class Finding:
    """What one expectation came to."""

    name: str
    meaning: str
    seen: float | None
    """The fact; None where there was none to see."""
    low: float | None
    high: float | None
    met: bool
    problem: str | None = None
    """Why it gave no answer; None where it did. A gate with a problem fails."""
    note: str | None = None
    """What the number alone does not tell, such as which column is missing."""
    listing: str | None = None
    """SQL over relations with the tables' names that lists what breaks it."""
    sample: tuple[Mapping[str, Any], ...] = ()
    """At most five of the rows that break it."""
    warns: bool = False
    """Not met, it does not fail the gate; without an answer it does."""

    @property
    def fails(self) -> bool:
        """It gave no answer, or was not met and is more than a warning."""
        return self.problem is not None or not (self.met or self.warns)

    @property
    def wanted(self) -> str:
        """The limits in words: ``0``, ``≥ 5``, ``≤ 0.1`` or ``1 to 5``."""
        if self.low == self.high:
            return number(self.low)
        if self.low is None:
            return f"≤ {number(self.high)}"
        if self.high is None:
            return f"≥ {number(self.low)}"
        return f"{number(self.low)} to {number(self.high)}"


@dataclass(frozen=True)
class Verdict:
    """The verdict on the tables that one suite judges together."""

    dataset: str
    suite: str
    marks: Mapping[str, str]
    """Table → version that got the verdict; a model's version is its stage key."""
    findings: tuple[Finding, ...]
    declared: int
    asked: str
    """Digest of the suite with its limits: another question gets a verdict of its own."""
    judged_at: datetime
    data_docs: str | None = None
    """Path of the Data Docs page inside the data set's folder."""
    read: Mapping[str, str] = field(default_factory=dict)
    """Table → version of everything the facts were taken from."""
    known: bool = False
    """True when it had been given before and nothing was judged."""

    @property
    def evaluated(self) -> int:
        """Expectations that gave an answer."""
        return sum(f.problem is None for f in self.findings)

    @property
    def failed(self) -> tuple[Finding, ...]:
        """Expectations that gave no answer, or were not met and are no warnings."""
        return tuple(f for f in self.findings if f.fails)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Expectations that were not met and do not fail the gate."""
        return tuple(f for f in self.findings if not f.met and not f.fails)

    @property
    def complete(self) -> bool:
        """Every declared expectation gave an answer; only then is a failure final."""
        return 0 < self.declared == self.evaluated

    @property
    def passed(self) -> bool:
        """Complete, and every expectation is met but for warnings."""
        return self.complete and not self.failed

    def page(self, settings: Settings) -> AnyPath | None:
        """The Data Docs page, absolute, wherever the warehouse lies now."""
        if self.data_docs is None:
            return None
        return (settings.storage.dataset_dir(self.dataset) / self.data_docs).absolute()


def number(value: float | None) -> str:
    """A number as a person writes it: whole ones without a point."""
    if value is None:
        return "nothing"
    if math.isfinite(value) and value == int(value):
        return f"{int(value):,}"
    return f"{value:.6g}"


def find(
    settings: Settings, dataset: str, suite: str, marks: Mapping[str, str], asked: str
) -> Verdict | None:
    """The verdict on these versions, or None where one of them has yet to be judged.

    A failure of any of them is the verdict; an incomplete one, or one on another question, is none.
    """
    delta = open_table(settings.storage.table_uri(dataset, GATES.name))
    rows = _rows(delta, suite) if delta is not None else {}
    verdicts = [_verdict(dataset, rows[mark]) for mark in marks.items() if mark in rows]
    known = [v for v in verdicts if v.complete and v.asked == asked]
    failures = [v for v in known if not v.passed]
    if failures:
        return replace(failures[0], known=True)
    return replace(known[0], known=True) if known and len(known) == len(marks) else None


def given(settings: Settings, dataset: str, suite: str, marks: Mapping[str, str]) -> Verdict | None:
    """The final verdict on one version, whatever its limits were then, or None.

    For gates on how a version came about: what was let in is not thrown out by a limit set later.
    """
    delta = open_table(settings.storage.table_uri(dataset, GATES.name))
    rows = _rows(delta, suite) if delta is not None else {}
    found = [_verdict(dataset, rows[mark]) for mark in marks.items() if mark in rows]
    return next((replace(v, known=True) for v in found if v.complete), None)


def last_failure(
    settings: Settings, dataset: str, suite: str, expectation: str
) -> tuple[Verdict, Finding]:
    """The newest verdict in which an expectation was not met; UsageError where there is none."""
    delta = open_table(settings.storage.table_uri(dataset, GATES.name))
    rows = _rows(delta, suite).values() if delta is not None else []
    for row in sorted(rows, key=lambda row: row["judged_at"], reverse=True):
        verdict = _verdict(dataset, row)
        for finding in verdict.failed:
            if finding.name == expectation:
                return verdict, finding
    raise UsageError(
        f"no verdict of the gate {suite!r} on {dataset!r} has {expectation!r} not met",
        where=settings.storage.table_uri(dataset, GATES.name),
    )


LISTED = ("table", "version", "suite", "verdict", "declared", "evaluated", "failed", "data_docs",
          "judged_at")  # fmt: skip
"""Columns of ``gates`` that say what came of it; the rest says why."""


def listed(settings: Settings, dataset: str) -> list[dict[str, Any]]:
    """The verdicts of a data set by table, the newest first; none without a table ``gates``."""
    delta = open_table(settings.storage.table_uri(dataset, GATES.name))
    rows = read_table(delta, LISTED).to_pylist() if delta is not None else []
    rows.sort(key=lambda row: row["judged_at"], reverse=True)
    return sorted(rows, key=lambda row: (row["table"], row["suite"]))


def record(settings: Settings, verdict: Verdict) -> Verdict:
    """Keep a verdict; where the version has one on the same question already, that one stays.

    Raises Mrl4recError where other writers of ``gates`` win again and again.
    """
    uri = settings.storage.table_uri(verdict.dataset, GATES.name)
    delta = open_table(uri)
    rows = _rows(delta, verdict.suite) if delta is not None else {}
    kept = {
        mark for mark, row in rows.items() if _is_final(_verdict(verdict.dataset, row), verdict)
    }
    table = _table(verdict, [mark for mark in verdict.marks.items() if mark not in kept])
    if table.num_rows:
        commit_rows(uri, GATES, table)
    return verdict


def _is_final(kept: Verdict, given: Verdict) -> bool:
    return kept.complete and kept.asked == given.asked


def _table(verdict: Verdict, marks: Sequence[tuple[str, str]]) -> pa.Table:
    seen = {
        "asked": verdict.asked,
        "marks": dict(verdict.marks),
        "read": dict(verdict.read),
        "findings": [asdict(finding) for finding in verdict.findings],
    }
    rows = [
        {
            "table": table,
            "version": version,
            "suite": verdict.suite,
            "verdict": "pass" if verdict.passed else "fail",
            "declared": verdict.declared,
            "evaluated": verdict.evaluated,
            "failed": len(verdict.failed),
            "seen": json.dumps(seen, ensure_ascii=False, default=str),
            "data_docs": verdict.data_docs,
            "judged_at": verdict.judged_at,
        }
        for table, version in marks
    ]
    return pa.Table.from_pylist(rows, schema=GATES.schema)


def _rows(delta: DeltaTable, suite: str) -> dict[tuple[str, str], dict[str, Any]]:
    rows = read_table(delta, where=pc.field("suite") == suite).to_pylist()
    return {(row["table"], row["version"]): row for row in rows}


def _verdict(dataset: str, row: Mapping[str, Any]) -> Verdict:
    seen = json.loads(row["seen"])
    findings = [Finding(**{**f, "sample": tuple(f["sample"])}) for f in seen["findings"]]
    return Verdict(
        dataset=dataset,
        suite=row["suite"],
        marks=seen["marks"],
        findings=tuple(findings),
        declared=row["declared"],
        asked=seen["asked"],
        judged_at=row["judged_at"],
        data_docs=row["data_docs"],
        read=seen["read"],
    )
