"""The gates: each takes a stage's commit, answers from the kept verdict, or judges and keeps it.

A known verdict starts no data engine and no Great Expectations. A gate that fails raises
GateFailed, and alerts (``flows.alerting``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from flows.alerting import alerts_where_it_fails
from flows.config.run import CUTOFFS
from jobs import facts
from mrl4rec.checks import gate
from mrl4rec.checks.gate import Facts, Verdict, foreign_commits, markdown, source_text
from mrl4rec.core import lazy
from mrl4rec.core.errors import GateFailed, Mrl4recError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit, find, history
from mrl4rec.core.storage import read_parquet, read_table, table_at
from mrl4rec.tables import (
    CORE_SUITE,
    RESULTS_SUITE,
    REVIEWS_SUITE,
    SEQUENCES_SUITE,
    VECTOR_SUITES,
    sequence_split_suite,
    split_suite,
)
from mrl4rec.tables.expectation import Expectation, Suite, fill, sql_time
from mrl4rec.transforms.facts import core_facts, listed_facts, reviews_facts, sample, split_facts
from mrl4rec.transforms.opening import open_engine

with lazy.imports():
    import pandas as pd

    from mrl4rec.checks.gate import model_facts
    from mrl4rec.evaluation.ranking import metrics
    from mrl4rec.models import model_folder

if TYPE_CHECKING:
    import pandas as pd

    from mrl4rec.checks.gate.model_facts import Measured
    from mrl4rec.transforms.engine import Engine
    from mrl4rec.transforms.facts import Amiss

__all__ = [
    "check_core",
    "check_results",
    "check_reviews",
    "check_sequences",
    "check_split",
    "check_vectors",
    "markdown",
]

log = logging.getLogger("mrl4rec.checks.gate")
Row = dict[str, Any]


@dataclass(frozen=True)
class TableGate:
    """A gate on Delta tables that grow with the dump: what it asks, of which versions, and how."""

    settings: Settings
    dataset: str
    commit: Commit
    suite: Suite
    facts: Callable[[Engine, Mapping[str, str]], Row]
    """Relations with the tables' names and SQL text → a row of facts."""
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
        found = foreign_commits.foreign_heads(*at, self.suite.tables)
        if not found:
            return
        known = self._known(found)
        if known is None:
            gate.require(self.settings, self._judge(found))
        elif not known.passed:
            foreign_commits.restore(*at, found)
        else:
            log.info("%s: nothing reads what no stage wrote: %s", self.dataset, found)

    def _known(self, marks: Mapping[str, int]) -> Verdict | None:
        return gate.find(
            self.settings,
            self.dataset,
            self.suite.name,
            _as_text(marks),
            self.suite.digest(self.values),
        )

    def _judge(self, marks: Mapping[str, int]) -> Verdict:
        read = {**self._versions((*self.suite.tables, *self.also)), **marks}
        problems = facts.problems(self.settings, self.dataset, read)
        with open_engine(self.settings) as engine:
            judged = Facts(
                frame=self._frame(engine, read, problems),
                notes={"columns_amiss": "; ".join(problem.words for problem in problems)},
                sample=lambda expectation: _sample(engine, self.text, expectation),
                text=self.text,
            )
            return gate.judge(
                self.settings,
                self.dataset,
                self.suite,
                _as_text(marks),
                judged,
                values=self.values,
                read=_as_text(read),
            )

    def _frame(
        self, engine: Engine, read: Mapping[str, int], problems: Sequence[Amiss]
    ) -> pd.DataFrame:
        """The facts as a frame of one row.

        Where columns are not as declared, how many is the only one: nothing else could be trusted.
        """
        row: Row = {"columns_amiss": len(problems)}
        if not any(problem.fatal for problem in problems):
            row |= self._facts(engine, read)
        return pd.DataFrame([row], dtype="float64")

    def _facts(self, engine: Engine, read: Mapping[str, int]) -> Row:
        try:
            facts.bind(engine, self.settings, self.dataset, read)
            return self.facts(engine, self.text)
        except Mrl4recError:
            raise
        except Exception as error:  # the engines share no class of errors
            raise GateFailed(
                f"the gate {self.suite.name!r} stopped {self.dataset}: it could not count",
                where=f"{', '.join(read)} of {self.settings.storage.dataset_dir(self.dataset)}",
                todo=f"see what the data engine says: {_first_words(error)}",
            ) from error

    def _versions(self, tables: Sequence[str]) -> dict[str, int]:
        return {table: self.commit.table_version(table) for table in tables}


def _first_words(error: Exception) -> str:
    """The line that names the error: the first of Spark's trace is py4j's own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "Exception" in line or "SQLSTATE" in line]
    return (named or lines or [type(error).__name__])[0][:500]


def _as_text(versions: Mapping[str, int]) -> dict[str, str]:
    return {table: str(version) for table, version in versions.items()}


@alerts_where_it_fails
def check_reviews(dataset: str, ingest: Commit, settings: Settings) -> Verdict:
    """The gate after ingest, on reviews, quarantine and sources."""
    total = ingest.summary.get("total", {})
    share = total.get("rows_quarantined", 0) / max(1, total.get("rows_read", 0))

    def facts(engine: Engine, text: Mapping[str, str]) -> Row:
        return reviews_facts(engine, text, share)

    as_of = latest_as_of(dataset, ingest, settings)
    uri = settings.storage.table_uri(dataset, ingest.table)
    text = {"as_of": sql_time(as_of), **source_text.of(uri, ingest.version)}
    values = {"max_quarantined_share": settings.max_quarantined_share}
    return TableGate(settings, dataset, ingest, REVIEWS_SUITE, facts, values, text).check()


@alerts_where_it_fails
def check_core(dataset: str, core: Commit, settings: Settings) -> Verdict:
    """The gate after k-core, on interactions, users and items."""

    def facts(engine: Engine, text: Mapping[str, str]) -> Row:
        return core_facts(engine, core.summary)

    k = core.summary["k"]
    return TableGate(
        settings, dataset, core, CORE_SUITE, facts, values={"k": k}, text={"k": str(k)}
    ).check()


@alerts_where_it_fails
def check_split(dataset: str, split: Commit, settings: Settings) -> Verdict:
    """The gate after the split, on splits against the interactions they were made from."""
    told = split.summary

    def facts(engine: Engine, text: Mapping[str, str]) -> Row:
        return split_facts(engine, text, told)

    if told.get("of") == "sequences":
        return _check_split_of_sequences(dataset, split, settings, facts)
    asked = told.get("asked", {}).get("test") is not None
    text = {"strategy": f"'{told['strategy']}'", "split_seed": str(int(told["split_seed"]))}
    if "since" in told:
        text["since"] = sql_time(datetime.fromisoformat(told["since"]))
    suite = split_suite(share_asked=asked, cut_asked="since" in told)
    also = ("interactions",)
    return TableGate(settings, dataset, split, suite, facts, text=text, also=also).check()


def _check_split_of_sequences(
    dataset: str, split: Commit, settings: Settings, facts: Callable[..., Row]
) -> Verdict:
    told = split.summary
    text = {"strategy": f"'{told['strategy']}'", "split_seed": str(int(told["split_seed"]))}
    also = ("interactions", "sequences")
    suite = sequence_split_suite()
    return TableGate(settings, dataset, split, suite, facts, text=text, also=also).check()


@alerts_where_it_fails
def check_sequences(dataset: str, sequences: Commit, settings: Settings) -> Verdict:
    """The gate after the sequences stage: order, lengths, and that all is of the core."""

    def facts(engine: Engine, text: Mapping[str, str]) -> Row:
        return listed_facts(engine, SEQUENCES_SUITE, text)

    text = {"max_length": str(sequences.summary.get("max_length") or 2**31 - 1)}
    gate_ = TableGate(
        settings, dataset, sequences, SEQUENCES_SUITE, facts, text=text, also=("interactions",)
    )
    return gate_.check()


@alerts_where_it_fails
def check_vectors(
    dataset: str, folder: AnyPath, settings: Settings, split: Commit | None = None
) -> Verdict:
    """The gate after training, on a model's folder. ``split`` None: the one its card names."""
    card = model_folder.read_card(folder)
    suite = VECTOR_SUITES[card.kind]
    marks = {"models": card.stage_key}
    known = gate.find(settings, dataset, suite.name, marks, suite.digest({}))
    if known is None:
        made_from = split or _split_of(settings, dataset, card.versions)
        users, items = (
            model_facts.read_ids(settings, dataset, made_from, side) for side in ("user", "item")
        )
        measured = model_facts.vector_facts(folder, users, items)
        facts = Facts(measured.frame(), measured.notes)
        known = gate.judge(settings, dataset, suite, marks, facts)
    return gate.require(settings, known)


@alerts_where_it_fails
def check_results(
    dataset: str, results: Commit, settings: Settings, *, ks: Sequence[int] = CUTOFFS
) -> Verdict:
    """The gate after evaluation, on one model's rows of results and its users' own values."""
    suite = RESULTS_SUITE
    marks = {results.table: str(results.version)}
    known = gate.find(settings, dataset, suite.name, marks, suite.digest({}))
    if known is None:
        measured = _measure_results(settings, dataset, results, ks)
        facts = Facts(measured.frame(), measured.notes)
        known = gate.judge(settings, dataset, suite, marks, facts)
    return gate.require(settings, known)


def _measure_results(
    settings: Settings, dataset: str, results: Commit, ks: Sequence[int]
) -> Measured:
    uri = settings.storage.table_uri(dataset, results.table)
    table = read_table(
        table_at(uri, results.version),
        ["metric", "k", "width", "value"],
        pc.field("stage_key") == results.key,
    )
    folder = settings.storage.model_dir(dataset, results.summary["model"])
    widths = results.summary.get("widths") or model_folder.read_card(folder).widths
    asked = [(metric, k, width) for metric in metrics.METRICS for k in ks for width in widths]
    split = _split_of(settings, dataset, {"split": results.summary["split"]})
    per_user = read_parquet(settings.storage.per_user_file(dataset, results.key)).to_pandas()
    test_users = model_facts.count_test_users(settings, dataset, split)
    return model_facts.result_facts(table.to_pandas(), per_user, asked, test_users)


def _split_of(settings: Settings, dataset: str, versions: Mapping[str, Any]) -> Commit:
    """The commit of the split that a card or a result names by its stage key."""
    key = versions.get("split") or versions.get("split_key")
    split = find(settings.storage.table_uri(dataset, "splits"), "splits", str(key))
    if split is None:
        raise Mrl4recError(
            f"the split {key} that this was made from is not in the warehouse",
            where=settings.storage.table_uri(dataset, "splits"),
            todo="run the split again, then what comes after it",
        )
    return split


def _sample(engine: Engine, text: Mapping[str, str], expectation: Expectation) -> list[Row]:
    query = expectation.example or expectation.offenders()
    return sample(engine, fill(query, text), gate.SAMPLE) if query else []


def latest_as_of(dataset: str, ingest: Commit, settings: Settings) -> datetime:
    """The latest time that any ingest up to this one took for now."""
    uri = settings.storage.table_uri(dataset, ingest.table)
    before = [c for c in history(uri, ingest.table) if c.version <= ingest.version]
    told = [c.summary.get("as_of") for c in (ingest, *before)]
    moments = [datetime.fromisoformat(text) for text in told if text]
    return max((m.replace(tzinfo=m.tzinfo or UTC) for m in moments), default=datetime.now(UTC))
