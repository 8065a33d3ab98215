"""A simulated stretch of weeks: a dump lands, the data set is retrained on it, the next one lands.

Each week is what ``mrl4rec retrain`` would do on the evening of its last day. A week whose row is
in the ledger is done, and is not done again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.config.retrain import RetrainConfig
from flows.pipeline import Step, plain
from mrl4rec.core import lazy
from mrl4rec.core.errors import GateFailed, UsageError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import canonical
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.formats.sources import digest

with lazy.imports():
    from flows import retrain
    from mrl4rec import reporting as report
    from mrl4rec.data.synthetic import deliveries
    from mrl4rec.serving.registry import agree, ledger
    from mrl4rec.tables import versions

if TYPE_CHECKING:
    from mrl4rec.data.synthetic.deliveries import Landed
    from mrl4rec.data.synthetic.weeks import Weekly
    from mrl4rec.serving.registry.ledger import Entry

DUMP = "dump"
"""Kind of evidence of a dump that was refused."""
log = logging.getLogger("mrl4rec")


@dataclass(frozen=True)
class Simulation:
    """What is simulated, and how each week is retrained. Raises UsageError where it cannot be."""

    spec: Weekly
    dataset: str = "planted"
    weeks: int = 12
    """After the history, which is week 0."""
    options: Mapping[str, Any] = field(
        default_factory=lambda: {
            "methods": ("MRL-M",),
            "levels": ("4,8,16",),
            "overrides": ("MRL-M.dim=16", "MRL-M.lr=0.005", "MRL-M.batch=1024", "MRL-M.l2=0.001"),
            "epochs": 25,
        }
    )
    """Of ``RetrainConfig``: a model so small that a week takes seconds, and of which one seed is
    about as good as another, whatever epoch was chosen."""

    def __post_init__(self) -> None:
        if self.weeks < 1:
            raise UsageError(f"--weeks is {self.weeks}", todo="at least 1 after the history")
        self.request(0, Path())

    def request(self, week: int, *files: AnyPath) -> RetrainConfig:
        """What is asked for at the end of a week, when these dumps have landed."""
        return RetrainConfig(
            dataset=self.dataset,
            dumps=tuple(map(str, files)),
            as_of=self.spec.ends(week).isoformat(),
            **self.options,
        )


@dataclass(frozen=True)
class Told:
    """One week: what is true of its dump, and the row it has left in the ledger."""

    week: int
    ends: str
    """Its last day, ISO 8601."""
    truth: Mapping[str, Any]
    row: Entry

    @property
    def measured(self) -> Mapping[str, Any] | None:
        """Champion, challenger and interval at full width; None where nothing was compared."""
        found = self.row.evidence.get("difference") or {}
        return found if found.get("judged") else None

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        names = ("champion", "challenger", "low", "high", "users")
        told = self.measured or dict.fromkeys(names)
        return {
            "week": self.week,
            "ends": self.ends,
            "poison": self.truth["poison"],
            "away": self.truth["away"],
            "row": self.row.seq,
            "decision": self.row.decision,
            **{name: told[name] for name in names},
            "in_service": self.row.champion,
            "why": self.row.why,
        }


@dataclass(frozen=True)
class Story:
    """What a simulation came to."""

    landed: Landed
    weeks: tuple[Told, ...]
    taken: frozenset[int]
    """Numbers of the dumps whose rows are in ``reviews``."""
    report: AnyPath

    @property
    def poisoned(self) -> Told | None:
        """The poisoned week, where it has come."""
        return next((told for told in self.weeks if told.truth["poison"]), None)

    @property
    def ok(self) -> bool:
        """Whether nothing that was poisoned was promoted."""
        return self.poisoned is None or self.poisoned.row.decision != "promoted"


def simulate(asked: Simulation, settings: Settings, step: Step = plain) -> Story:
    """Let dump after dump land, and retrain on each. Raises UsageError where the data set holds
    other dumps, and whatever a retraining raises but the refusal of a dump or a model.
    """
    folder = settings.storage.dumps_dir(asked.dataset)
    weeks = _Weeks(asked, settings, step, deliveries.land(asked.spec, folder, asked.weeks))
    weeks.taken()
    for week in range(asked.weeks + 1):
        weeks.retrain(week)
    agree.bring_into_agreement(settings, asked.dataset)
    page = report.build(settings, [asked.dataset], None)
    return Story(weeks.landed, tuple(weeks.told()), weeks.taken(), page)


class _Weeks:
    """The weeks of a simulation: what is done of them, and doing the rest."""

    def __init__(self, asked: Simulation, settings: Settings, step: Step, landed: Landed) -> None:
        self.asked, self.settings, self.step, self.landed = asked, settings, step, landed
        self.digests = [digest(landed.file(n))[0].sha256 for n in range(len(landed.dumps))]

    def retrain(self, week: int) -> None:
        """One week, unless it is done. Raises GateFailed where no row of the ledger tells of it."""
        found = self.row(week)
        if found is not None:
            log.info("week %d: found done, row %d: %s", week, found.seq, found.decision)
            return
        log.info("week %d of %d lands", week, self.asked.weeks)
        files = [self.landed.file(number) for number in range(week + 1)]
        try:
            retrain.run_retrain(self.asked.request(week, *files), self.settings, self.step)
        except GateFailed as error:
            if self.row(week) is None:
                raise
            log.warning("week %d: %s", week, error.what)

    def row(self, week: int) -> Entry | None:
        """What a week has left in the ledger: a decision as of its end, or its dump's refusal."""
        wanted = json.loads(canonical(self.asked.request(week).parameters()))
        for row in ledger.entries(self.settings, self.asked.dataset):
            told = row.evidence
            refused = told.get("kind") == DUMP and self.digests[week] in told.get("sources", ())
            if refused or told.get("asked") == wanted:
                return row
        return None

    def told(self) -> Iterator[Told]:
        """The weeks with what they have left."""
        for week in range(self.asked.weeks + 1):
            row = self.row(week)
            assert row is not None  # the loop has just seen to it
            yield Told(week, f"{self.asked.spec.ends(week):%Y-%m-%d}", self.landed.dumps[week], row)

    def taken(self) -> frozenset[int]:
        """Which dumps are in the data set now. Raises UsageError where there are others."""
        settings, dataset = self.settings, self.asked.dataset
        ingest = versions.newest_good(settings, dataset, "sources")
        if ingest is None:
            return frozenset()
        delta = open_table(settings.storage.table_uri(dataset, "sources"), ingest.version)
        assert delta is not None  # it is the newest good one
        there = set(read_table(delta, ["source_sha256"])[0].to_pylist())
        if there - set(self.digests):
            raise UsageError(
                f"the data set {dataset!r} holds dumps that are not of this simulation",
                where=str(settings.storage.dataset_dir(dataset)),
                todo="take another --dataset or --warehouse",
            )
        return frozenset(n for n, known in enumerate(self.digests) if known in there)
