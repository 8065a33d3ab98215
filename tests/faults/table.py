"""A pytest plugin that counts the tests marked ``fault``, and the table it makes of them."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psutil
import pytest

from tests.faults.catalogue import FAULT, FAULTS, NOT_INJECTED

WORST = ("passed", "skipped", "failed")
HEAD = ("fault", "what was done", "what came of it", "seconds")


@dataclass
class Row:
    """One test of one fault, all its cases together."""

    fault: str
    without: str | None
    """The guard that was taken out; None in a test of the fault itself."""
    done: str
    cases: int = 0
    outcome: str = "passed"
    came: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def words(self) -> str:
        """What came of it: the test's own words, or how it failed."""
        said = "; ".join(dict.fromkeys(self.came)) or "survived"
        said = said if self.outcome == "passed" else f"{self.outcome.upper()}: {said}"
        return said + (f" ({self.cases} cases)" if self.cases > 1 else "")

    def cells(self) -> list[str]:
        """The row of the table."""
        name = f"{self.fault} {FAULTS[self.fault]}"
        done = f"{self.done}, without {self.without}" if self.without else self.done
        return [name, done, self.words, f"{self.seconds:.1f}"]


class Plugin:
    """Makes a row for each test function and each fault of a letter that it is marked with."""

    def __init__(self, letter: str) -> None:
        self.letter = letter
        self.rows: dict[tuple[str, str], Row] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up seconds and keep the worst outcome, with what the test said of it."""
        for name, about in report.user_properties:
            if name == FAULT:
                fault, without, done = about
                key = (fault, report.nodeid.partition("[")[0])
                self._add(self.rows.setdefault(key, Row(fault, without, done)), report)

    def _add(self, row: Row, report: pytest.TestReport) -> None:
        row.cases += report.when == "setup"
        row.seconds += report.duration
        if WORST.index(report.outcome) > WORST.index(row.outcome):
            row.outcome = report.outcome
        if report.outcome != "passed":
            row.came.append(_why(report))
        elif report.when == "call":
            row.came += [str(words) for name, words in report.user_properties if name == "came"]

    def sorted(self) -> list[Row]:
        """Rows in the order of the catalogue, those with a guard taken out after the others."""
        order = [*FAULTS]
        return sorted(self.rows.values(), key=lambda r: (order.index(r.fault), r.without or ""))

    def unseen(self) -> list[str]:
        """Faults of which nothing was run and nothing is said."""
        seen = {row.fault for row in self.rows.values()}
        said = {name.split()[0] for name in NOT_INJECTED}
        of_ours = [fault for fault in FAULTS if fault.startswith(self.letter)]
        return [fault for fault in of_ours if fault not in seen | said]


def page(rows: Iterable[Row], unseen: Sequence[str], command: str) -> str:
    """The table as the Markdown page docs/faults.md."""
    rows = list(rows)
    faults = {row.fault for row in rows if row.without is None}
    whole = {f for f in faults if all(r.outcome == "passed" for r in rows if r.fault == f)}
    out = [row for row in rows if row.without]
    parts = [
        "# Faults\n",
        f"Made by `{command}` on {_machine()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.\n",
        f"{len(faults)} faults injected, {len(whole)} survived, {len(NOT_INJECTED)} listed below "
        f"as not injectable here; {len(out)} guards taken out, "
        f"{sum(row.outcome == 'passed' for row in out)} of them noticed.\n",
        _markdown([row.cells() for row in rows if not row.without]),
        "\n## With a guard taken out\n\nEach of these tests takes out what protects against the "
        "fault, and passes when the others' oracle then fails.\n",
        _markdown([row.cells() for row in out]),
    ]
    if NOT_INJECTED:
        missing = [[name, *why] for name, why in NOT_INJECTED.items()]
        parts += ["\n## Not injected\n", _markdown(missing, ("fault", "what it takes", "why not"))]
    if unseen:
        parts.append(f"\nNothing was run for {', '.join(unseen)}.\n")
    return "\n".join(parts)


def _markdown(rows: Sequence[Sequence[str]], head: Sequence[str] = HEAD) -> str:
    lines = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _why(report: pytest.TestReport) -> str:
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash else str(report.longrepr)).splitlines()[0][:200]


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.machine()}"
    return f"{system}, {os.cpu_count()} cores, {memory:.0f} GB, Python {platform.python_version()}"
