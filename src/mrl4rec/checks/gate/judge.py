"""Judge: facts against a suite, and the verdict kept."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mrl4rec.checks.gate import data_docs, verdicts
from mrl4rec.checks.gate.suite_run import run_suite
from mrl4rec.checks.gate.verdicts import Finding, Verdict
from mrl4rec.core import locks, store_errors
from mrl4rec.core.errors import GateFailed
from mrl4rec.core.files import filled
from mrl4rec.core.settings import Settings
from mrl4rec.tables.expectation import Expectation, Suite, fill

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = 5
log = logging.getLogger("mrl4rec.checks.gate")


@dataclass(frozen=True)
class Facts:
    """What a suite is judged on."""

    frame: pd.DataFrame
    """One row, a column a fact."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """By fact: what the number alone does not tell."""
    sample: Callable[[Expectation], Sequence[Mapping[str, Any]]] | None = None
    """Some of the rows that break an expectation."""
    text: Mapping[str, str] = field(default_factory=dict)
    """SQL text for the names, other than tables, that an expectation's query uses."""


def judge(
    settings: Settings,
    dataset: str,
    suite: Suite,
    marks: Mapping[str, str],
    facts: Facts,
    *,
    values: Mapping[str, float] | None = None,
    read: Mapping[str, str] | None = None,
) -> Verdict:
    """Judge the versions in ``marks`` by ``facts``, keep the verdict and give it, good or bad.

    ``values`` are the limits the suite names; ``read`` the versions the facts were taken from.
    Raises GateFailed, and keeps nothing, where the suite could not be run at all.
    """
    values = values or {}
    folder = settings.storage.data_docs_dir(dataset)
    first = next(iter(marks.items()))
    try:
        # Suites and the list of validations lie in the folder: two runs at once would mix them up.
        with locks.locked(settings.storage.lock_file(dataset, "gates")), filled(folder) as made:
            findings, page = run_suite(suite, values, facts.frame, made, "-v".join(first))
            docs = f"{folder.name}/{page.relative_to(made.absolute())}" if page else None
    except Exception as error:  # whatever Great Expectations raises, nothing is known to be good
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if full or store_errors.is_one(error):
            raise  # the table is not to blame
        raise GateFailed(
            f"the gate {suite.name!r} stopped {dataset}: it could not be run: {error}",
            where=", ".join(f"{table} version {version}" for table, version in marks.items()),
            todo="see the cause above, then run the same command again",
        ) from error
    verdict = Verdict(
        dataset=dataset,
        suite=suite.name,
        marks=dict(marks),
        findings=_explained(suite, findings, facts),
        declared=len(suite.expectations),
        asked=suite.digest(values),
        judged_at=datetime.now(UTC),
        data_docs=docs,
        read=dict(read or marks),
    )
    kept = verdicts.record(settings, verdict)
    data_docs.write_index(settings, dataset)
    return kept


def _explained(suite: Suite, findings: Sequence[Finding], facts: Facts) -> tuple[Finding, ...]:
    """Add to each expectation that is not met a note, a sample and how to list the rest."""
    by_name = {expectation.name: expectation for expectation in suite.expectations}
    explained = []
    for finding in findings:
        if not finding.met:
            expectation = by_name[finding.name]
            finding = replace(
                finding,
                note=facts.notes.get(expectation.fact),
                listing=_listing(expectation, facts),
                sample=_sample(expectation, facts),
            )
        explained.append(finding)
    return tuple(explained)


def _listing(expectation: Expectation, facts: Facts) -> str | None:
    query = expectation.offenders()
    return fill(query, facts.text) if query else None


def _sample(expectation: Expectation, facts: Facts) -> tuple[Mapping[str, Any], ...]:
    if facts.sample is None:
        return ()
    try:
        rows = facts.sample(expectation)
    except Exception as error:  # the sample is a courtesy: the verdict stands without it
        log.warning("no sample of what breaks %s: %s", expectation.name, error)
        return ()
    return tuple({k: _plain(v) for k, v in row.items()} for row in list(rows)[:SAMPLE])


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
