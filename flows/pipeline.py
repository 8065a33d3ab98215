"""The order of the stages, once, for the flow and the command line alike.

A ``Step`` runs one stage function under a name: the Prefect flow gives one that makes it a task,
the single-stage commands one that just calls it. Every stage holds its lock while it runs, looks
for its own key first, and is followed by its gate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flows import ingest_messages, needs, preflight, unset
from flows.config.run import CUTOFFS, Cell, RunConfig
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data import elsewhere
from mrl4rec.data.catalog import CATALOG
from mrl4rec.evaluation.cut import AS_TRAINED, Cut, can_rotate

with lazy.imports():
    import pyarrow.dataset

    from flows import gates
    from jobs import ingest, kcore
    from jobs import sequences as sequences_job
    from jobs import split as split_job
    from mrl4rec import reporting as report
    from mrl4rec import training
    from mrl4rec.core import locks
    from mrl4rec.data import downloads, interactions
    from mrl4rec.evaluation import evaluate as evaluation
    from mrl4rec.models import model_folder
    from mrl4rec.tables import versions

if TYPE_CHECKING:
    from mrl4rec.data.interactions import Interactions

log = logging.getLogger("mrl4rec")

STAGES = ("ingest", "kcore", "sequences", "split", "train", "evaluate")


def preload() -> None:
    """Import what finding a stage done takes too: for while there is something to wait for."""
    lazy.load(pyarrow.dataset, gates, ingest, kcore, split_job, report, locks, evaluation)


class Step(Protocol):
    """Runs one function under a name and gives its result back."""

    def __call__(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run ``function(*args, **kwargs)``."""


def plain(name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The step of the single-stage commands: call it."""
    return function(*args, **kwargs)


@dataclass(frozen=True)
class Prepared:
    """A data set ready to train on: the commits of its three data stages."""

    ingest: Commit
    core: Commit | None
    split: Commit | None
    sequences: Commit | None = None


@dataclass(frozen=True)
class Done:
    """One cell, trained and (where asked) evaluated."""

    cell: Cell
    train: Commit
    result: Commit | None
    cut: Cut = AS_TRAINED


class Pipeline:
    """The stages of one request, each run at most once and found again afterwards."""

    def __init__(self, request: RunConfig, settings: Settings, step: Step = plain) -> None:
        self.request, self.settings, self.step = request, settings, step
        self.used: str | None = None
        """Where the data came from, in words."""
        self.cells: Sequence[Cell] = request.cells
        """The models to train; after ``prepare`` those alone that the data can serve."""
        self.left_out: Sequence[str] = ()
        """Why others are not trained, in words."""
        self._prepared: Prepared | None = None
        self.on_training: Callable[[], object] = lambda: None
        """Called before the first training that has work to do."""

    @property
    def prepared(self) -> Prepared:
        """What ``prepare`` came to; asking before is a mistake of the caller."""
        assert self._prepared is not None, "prepare() first"
        return self._prepared

    # ---------------------------------------------------------------- data stages

    def prepare(self, until: str = "train") -> Prepared:
        """Source → reviews → core → splits, each behind its gate, as far as ``until``.

        To train, the methods of the request must find in them what they need. Raises UsageError.
        """
        request = self.request
        ingest = self._ingest()
        core = sequences = split = None
        if until != "ingest":
            core = self._core(ingest, unset.core_k(request, ingest), request.min_rating)
        wants_order = until == "sequences" or (request.of_sequences and until != "kcore")
        if core is not None and wants_order:
            sequences = self._sequences(ingest, core, unset.sequence_options(request))
        if core is not None and until not in ("kcore", "sequences"):
            strategy = unset.strategy(request, ingest, of_sequences=sequences is not None)
            files = unset.split_files(request, strategy, self.settings)
            split = self._split(core, sequences, strategy, request.since_time(), files)
            if until != "split":
                self._serve(ingest, split)
        self._prepared = Prepared(ingest, core, split, sequences)
        return self._prepared

    def adopt(self, prepared: Prepared, used: str | None) -> None:
        """Go on from data stages that another flow run made; ``used``: where the data came from."""
        assert prepared.split is not None
        self._prepared, self.used = prepared, used
        self._serve(prepared.ingest, prepared.split)

    def _serve(self, ingest: Commit, split: Commit) -> None:
        self.cells, self.left_out = needs.served(self.request, ingest, split, self.settings)
        for why in self.left_out:
            log.warning("%s: %s", self.request.dataset, why)

    def _ingest(self) -> Commit:
        request = self.request
        files = self._files()
        if files is None:
            commit = self._newest_ingest()
        else:
            commit = self.take_in(files, request.as_of_time())
            self._check_counts(commit)
        self.step("gate reviews", gates.check_reviews, request.dataset, commit, self.settings)
        return commit

    def take_in(self, files: Sequence[Path], as_of: datetime | None) -> Commit:
        """Ingest the files together, and say what became of their records; the gates come after."""
        dataset = self.request.dataset
        options = self.request.read_options()
        wanted = ingest.IngestRequest(dataset, tuple(files), options, as_of)
        commit: Commit = self._locked("ingest", ingest.run, wanted, self.settings)
        ingest_messages.tell(commit, dataset, self.settings)
        return commit

    def _check_counts(self, commit: Commit) -> None:
        """Hold the catalogue's own source against its known counts: some have no checksum."""
        if not self.request.source and self.request.dataset in CATALOG:
            total = commit.summary["total"]
            known = CATALOG[self.request.dataset]
            counts = (total[name] for name in ("rows_accepted", "users", "items", "rows_read"))
            known.check_counts(*counts)

    def _files(self) -> tuple[Path, ...] | None:
        """The dump's files: those named, else the catalogue's; None: what is in the warehouse."""
        if self.request.source:
            self.used = ", ".join(self.request.source)
            return elsewhere.expand(self.request.source, self.settings)
        if preflight.is_fetched(self.request.dataset, self.settings):
            fetched = self.step("fetch", downloads.fetch, self.request.dataset, self.settings)
            self.used = fetched.used
            return tuple(fetched.files)
        return None

    def _newest_ingest(self) -> Commit:
        commit = versions.newest_good(self.settings, self.request.dataset, "sources")
        if commit is None:
            raise preflight.unknown(self.request.dataset, self.settings)
        self.used = f"reviews already in {self.settings.storage.dataset_dir(self.request.dataset)}"
        return commit

    def _core(self, ingest: Commit, k: int, min_rating: float | None) -> Commit:
        core: Commit = self._locked(
            "kcore",
            kcore.run,
            self.request.dataset,
            ingest,
            k=k,
            min_rating=min_rating,
            settings=self.settings,
        )
        self.step("gate core", gates.check_core, self.request.dataset, core, self.settings)
        return core

    def _sequences(self, ingest: Commit, core: Commit, options: Mapping[str, Any]) -> Commit:
        request = self.request
        found: Commit = self._locked(
            "sequences",
            sequences_job.run,
            request.dataset,
            ingest,
            core,
            **options,
            settings=self.settings,
        )
        self.step("gate sequences", gates.check_sequences, request.dataset, found, self.settings)
        return found

    def _split(
        self,
        core: Commit,
        sequences: Commit | None,
        strategy: str,
        since: datetime | None,
        files: Path | None = None,
    ) -> Commit:
        split: Commit = self._locked(
            "split",
            split_job.run,
            self.request.dataset,
            core,
            strategy=strategy,
            split_seed=self.request.split_seed,
            split_files=files,
            since=since,
            sequences=sequences,
            settings=self.settings,
        )
        self.step("gate split", gates.check_split, self.request.dataset, split, self.settings)
        return split

    # ---------------------------------------------------------------- PyTorch stages

    @cached_property
    def data(self) -> Interactions:
        """The split's interactions in memory, read once, and only when a stage needs them."""
        assert self.prepared.split is not None
        return interactions.load(self.settings, self.request.dataset, self.prepared.split)

    def _training_data(self) -> Interactions:
        """The data, asked for by a training that was not found done."""
        begin, self.on_training = self.on_training, lambda: None
        begin()
        return self.data

    def train(self, cell: Cell) -> Commit:
        """Train one cell (or find it trained) and pass its vectors through their gate."""
        split, request = self.prepared.split, self.request
        wanted = training.TrainRequest(
            method=cell.method,
            levels=cell.levels,
            seed=cell.seed,
            protocol=request.protocol,
            epochs=request.epochs,
            device=request.device if request.device != "auto" else self.settings.device,
            devices=request.devices,
            engine=request.engine,
        )
        run = self._told if training.takes_part(cell.method, self.settings) else self._locked
        commit: Commit = run(
            f"train {cell.label}",
            training.run,
            request.dataset,
            split,
            wanted,
            self.settings,
            data=self._training_data,
        )
        folder = self.settings.storage.model_dir(request.dataset, commit.key)
        self.step(
            f"gate vectors {cell.label}",
            gates.check_vectors,
            request.dataset,
            folder,
            self.settings,
        )
        return commit

    def cuts(self, train: Commit) -> tuple[Cut, ...]:
        """How a trained cell is to be looked at: as it is, and where asked also rotated."""
        raw = Cut(self.request.widths)
        if not self.request.rotate:
            return (raw,)

        folder = self.settings.storage.model_dir(self.request.dataset, train.key)
        return (
            (raw, Cut(raw.widths, rotated=True))
            if can_rotate(model_folder.read_card(folder))
            else (raw,)
        )

    def evaluate(
        self, train: Commit, cell: Cell, on_evaluated: Any = None, cut: Cut = AS_TRAINED
    ) -> Commit:
        """Evaluate one trained cell on test (or find it evaluated) and gate its results."""
        split = self.prepared.split
        assert split is not None
        label = cut.name(cell.label)
        commit: Commit = self._locked(
            f"evaluate {label}",
            evaluation.run,
            self.request.dataset,
            split,
            train,
            self.settings,
            ks=CUTOFFS,
            data=lambda: self.data,
            on_evaluated=on_evaluated,
            device=self.request.device,
            cut=cut,
        )
        self.step(
            f"gate results {label}",
            gates.check_results,
            self.request.dataset,
            commit,
            self.settings,
        )
        return commit

    # ---------------------------------------------------------------- locks

    def _locked(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a stage while holding its lock, so that a second flow waits instead of racing."""
        slug = name.replace(" · ", "_").replace(" ", "_").replace("/", "-")
        path = self.settings.storage.lock_file(self.request.dataset, slug)

        def stage(*a: Any, **k: Any) -> Any:
            with locks.locked(path):
                return function(*a, **k)

        stage.__name__ = getattr(function, "__name__", name)
        return self._told(name, stage, *args, **kwargs)

    def _told(self, name: str, stage: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a stage as a step, and say what came of it."""
        commit = self.step(name, stage, *args, **kwargs)
        log.info(
            "%s: %s", name, "found done" if commit.found else f"done, version {commit.version}"
        )
        return commit
