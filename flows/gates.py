"""The gates: each takes a stage's commit, answers from the kept verdict, or judges and keeps it.

A known verdict costs no JVM and no Great Expectations. A gate that fails raises GateFailed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from mrl4rec import gate
from mrl4rec.errors import Mrl4recError
from mrl4rec.gate import Facts, Verdict, heads, markdown
from mrl4rec.settings import Settings
from mrl4rec.stage import Commit, open_table
from mrl4rec.tables import CORE_SUITE, RESULTS_SUITE, REVIEWS_SUITE, VECTOR_SUITES, split_suite
from mrl4rec.tables.expectation import Expectation, Suite

__all__ = [
    "check_core",
    "check_results",
    "check_reviews",
    "check_split",
    "check_vectors",
    "markdown",
]

log = logging.getLogger("mrl4rec.gate")
Frames = Mapping[str, Any]


@dataclass(frozen=True)
class TableGate:
    """A gate on Delta tables that grow with the dump: what it asks, of which versions, and how."""

    settings: Settings
    dataset: str
    commit: Commit
    suite: Suite
    facts: Callable[[Frames, Mapping[str, str]], Any]
    """Frames and SQL text → a one-row frame of facts."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Limits by name."""
    text: Mapping[str, str] = field(default_factory=dict)
    """SQL text by name."""
    also: tuple[str, ...] = ()
    """Tables the facts need besides those that are judged."""

    def check(self) -> Verdict:
        """The verdict on the stage's versions; GateFailed where it, or a foreign head, is bad."""
        stage = self._versions(self.suite.tables)
        verdict = gate.require(self.settings, self._known(stage) or self._judge(stage))
        self._check_heads()
        return verdict

    def _check_heads(self) -> None:
        """Judge what no stage wrote the first time it is seen; undo it the next."""
        at = (self.settings, self.dataset, self.commit)
        found = heads.foreign_heads(*at, self.suite.tables)
        if not found:
            return
        known = self._known(found)
        if known is None:
            gate.require(self.settings, self._judge(found))
        elif not known.passed:
            heads.restore(*at, found)
        log.info("%s: commits of no stage at the head of %s are not read", self.dataset, found)

    def _known(self, marks: Mapping[str, int]) -> Verdict | None:
        return gate.find(
            self.settings,
            self.dataset,
            self.suite.name,
            {table: str(version) for table, version in marks.items()},
            self.suite.digest(self.values),
        )

    def _judge(self, marks: Mapping[str, int]) -> Verdict:
        from jobs import facts
        from jobs.spark import session

        read = {**self._versions((*self.suite.tables, *self.also)), **marks}
        spark = session(self.settings)
        frames = facts.read_frames(spark, self.settings, self.dataset, read)
        amiss = "; ".join(problem.words for problem in facts.columns_amiss(frames))
        return gate.judge(
            self.settings,
            self.dataset,
            self.suite,
            {table: str(version) for table, version in marks.items()},
            Facts(
                frame=self.facts(frames, self.text),
                notes={"columns_amiss": amiss},
                sample=partial(_sample, frames, self.text),
                text=self.text,
            ),
            values=self.values,
            read={table: str(version) for table, version in read.items()},
        )

    def _versions(self, tables: Sequence[str]) -> dict[str, int]:
        return {table: self.commit.table_version(table) for table in tables}


def check_reviews(dataset: str, ingest: Commit, settings: Settings) -> Verdict:
    """The gate after ingest, on reviews, quarantine and sources."""
    from mrl4rec.formats.known import FORMATS

    ranges = {f.name: f.rating_range for f in FORMATS.values() if f.rating_range is not None}
    total = ingest.summary.get("total", {})
    share = total.get("rows_quarantined", 0) / max(1, total.get("rows_read", 0))

    def facts(frames: Frames, text: Mapping[str, str]) -> Any:
        from jobs.facts import reviews_facts

        return reviews_facts(frames, text, share)

    text = {"as_of": _sql_time(_as_of(dataset, ingest, settings)), "rating_ranges": _ranges(ranges)}
    values = {"max_quarantined_share": settings.max_quarantined_share}
    return TableGate(settings, dataset, ingest, REVIEWS_SUITE, facts, values, text).check()


def check_core(dataset: str, core: Commit, settings: Settings) -> Verdict:
    """The gate after k-core, on interactions, users and items."""

    def facts(frames: Frames, text: Mapping[str, str]) -> Any:
        from jobs.facts import core_facts

        return core_facts(frames, core.summary)

    k = core.summary["k"]
    return TableGate(
        settings, dataset, core, CORE_SUITE, facts, values={"k": k}, text={"k": str(k)}
    ).check()
