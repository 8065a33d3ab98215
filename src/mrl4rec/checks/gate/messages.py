"""What a person reads of a verdict: the message of a gate that fails, and a table for Prefect."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mrl4rec.checks.gate.verdicts import Finding, Verdict, number
from mrl4rec.core.errors import GateFailed
from mrl4rec.core.settings import Settings

log = logging.getLogger("mrl4rec.checks.gate")


def require(settings: Settings, verdict: Verdict) -> Verdict:
    """The verdict, if it is a pass, with its warnings logged.

    Else GateFailed, saying what a person needs to go on.
    """
    if verdict.passed:
        for finding in verdict.warnings:
            log.warning("%s", _warning(verdict, finding))
        return verdict
    raise GateFailed(
        "\n  ".join(_lines(settings, verdict)),
        where=str(verdict.page(settings) or settings.storage.table_uri(verdict.dataset, "gates")),
        todo="repair the dump, the table or the setting; the next run goes on from the last good "
        "version, and what failed stays in the table's history to look at",
    )


def markdown(verdict: Verdict, docs: str | None = None) -> str:
    """The verdict as Markdown: a heading, where its Data Docs page is, a row an expectation."""
    outcome = "passed" if verdict.passed else "FAILED"
    lines = [f"## Gate {verdict.suite} {outcome}: {verdict.dataset}", "", _tables(verdict), ""]
    if docs is not None:
        lines += [docs, ""]
    lines += ["| | expectation | seen | wanted | meaning |", "|---|---|---|---|---|"]
    for f in verdict.findings:
        mark = "✓" if f.met else "✗" if f.fails else "⚠"
        lines.append(f"| {mark} | {f.name} | {_seen(f)} | {f.wanted} | {f.meaning} |")
    return "\n".join(lines) + "\n"


def _lines(settings: Settings, verdict: Verdict) -> list[str]:
    lines = [f"the gate {verdict.suite!r} stopped {verdict.dataset}: {_tables(verdict)}"]
    if not verdict.declared:
        lines.append("its suite is empty: nothing was checked, so nothing is known to be good")
    elif not verdict.complete:
        lines.append(f"only {verdict.evaluated} of {verdict.declared} expectations gave an answer")
    for finding in verdict.failed:
        if finding.problem is None:
            lines += _broken(settings, verdict, finding)
    silent: dict[str, list[str]] = {}
    for finding in verdict.findings:
        if finding.problem is not None:
            silent.setdefault(finding.problem, []).append(finding.name)
    lines += [f"✗ no answer from {', '.join(names)}: {why}" for why, names in silent.items()]
    return lines


def _warning(verdict: Verdict, finding: Finding) -> str:
    text = (
        f"the gate {verdict.suite!r} passed {verdict.dataset} with a warning: {_tables(verdict)}: "
        f"{finding.name}, that {finding.meaning}: seen {_seen(finding)}, wanted {finding.wanted}"
    )
    return f"{text}; {finding.note}" if finding.note else text


def _broken(settings: Settings, verdict: Verdict, finding: Finding) -> list[str]:
    lines = [
        f"✗ {finding.name}, that {finding.meaning}",
        f"    seen {_seen(finding)}, wanted {finding.wanted}",
    ]
    if finding.note:
        lines.append(f"    {finding.note}")
    lines += [f"    for example {_row(row)}" for row in finding.sample]
    if finding.listing:
        lines.append(f"    all of them: {listing_command(settings, verdict, finding)}")
    return lines


def listing_command(settings: Settings, verdict: Verdict, finding: Finding) -> str:
    """What to type to see every row that breaks an expectation."""
    return (
        f"python -m jobs.facts --warehouse {settings.warehouse.absolute()} "
        f"--dataset {verdict.dataset} --suite {verdict.suite} --expectation {finding.name}"
    )


def _tables(verdict: Verdict) -> str:
    return ", ".join(f"{table} version {version}" for table, version in verdict.marks.items())


def _seen(finding: Finding) -> str:
    return "no answer" if finding.problem is not None else number(finding.seen)


def _row(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in row.items())
