"""The stages of a retraining: a file at a time, cut in time, started warm, refitted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flows import gates, unset
from flows.config.retrain import RetrainConfig
from flows.config.run import Cell
from flows.pipeline import Pipeline, Prepared, Step
from flows.retraining.drift_gate import check_drift
from mrl4rec import training
from mrl4rec.core import stage
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.models.model_folder import ModelCard
from mrl4rec.tables import versions


class Stages(Pipeline):
    """Each stage holds its lock, looks for its own key first, and is followed by its gate."""

    def __init__(self, asked: RetrainConfig, settings: Settings, step: Step) -> None:
        super().__init__(asked.stages(), settings, step)
        self.asked, self.dataset = asked, asked.dataset

    # ---------------------------------------------------------------- data stages

    def judge(self, ingest: Commit) -> None:
        """The gates of an ingest. Raises GateFailed."""
        self.step("gate reviews", gates.check_reviews, self.dataset, ingest, self.settings)
        self.step("gate drift", check_drift, self.dataset, ingest, self.settings)

    def core(self, ingest: Commit, champion: ModelCard | None) -> Commit:
        """The k-core: k and the least rating as asked, else as the champion's, else as before."""
        before = self._before(champion, "interactions")
        if before is None:
            k, rating = unset.core_k(self.request, ingest), None
        else:
            k, rating = before.summary["k"], before.summary.get("min_rating")
        asked = self.asked
        return self._core(
            ingest,
            k if asked.kcore is None else asked.kcore,
            rating if asked.min_rating is None else asked.min_rating,
        )

    def _before(self, champion: ModelCard | None, marker: str) -> Commit | None:
        """The stage that the champion goes back to; the newest good one where there is none."""
        uri = self.settings.storage.table_uri(self.dataset, marker)
        version = champion.versions.get(marker) if champion is not None else None
        found = (c for c in stage.history(uri, marker) if c.version == version)
        return next(found, None) or versions.newest_good(self.settings, self.dataset, marker)

    def _sequences_like(self, champion: ModelCard | None) -> dict[str, Any]:
        """How sequences are made: as the champion's, else as before, else as a run makes them."""
        before = self._before(champion, "sequences")
        made = {} if before is None else before.summary
        options = unset.sequence_options(self.request)
        return {name: made.get(name, value) for name, value in options.items()}

    def split_since(
        self,
        ingest: Commit,
        core: Commit,
        since: datetime,
        champion: ModelCard | None = None,
        *,
        of_sequences: bool,
    ) -> Commit:
        """Everything from ``since`` on is test; the stages of PyTorch go on from this split.

        Sequences are made as the champion's were.
        """
        sequences = None
        if of_sequences:
            sequences = self._sequences(ingest, core, self._sequences_like(champion))
        split = self._split(core, sequences, "since", since)
        self._prepared = Prepared(ingest, core, split, sequences)
        return split

    # ---------------------------------------------------------------- PyTorch stages

    def folder(self, key: str) -> AnyPath:
        """The model folder of this stage key."""
        return self.settings.storage.model_dir(self.dataset, key)

    def fit(
        self,
        cell: Cell,
        *,
        warm: AnyPath | None = None,
        unseen_by: AnyPath | None = None,
        refit_epochs: int | None = None,
    ) -> Commit:
        """Train one model (or find it trained) and pass its vectors through their gate.

        ``warm`` is the model it starts from, ``unseen_by`` one whose pairs may not choose the
        epoch, ``refit_epochs`` the exact number of them on all that there is.
        """
        asked = self.request
        wanted = training.TrainRequest(
            method=cell.method,
            levels=cell.levels,
            seed=cell.seed,
            epochs=asked.epochs,
            device=asked.device if asked.device != "auto" else self.settings.device,
            warm=warm,
            unseen_by=unseen_by,
            refit_epochs=refit_epochs,
        )
        name = cell.label + (" · warm" if warm else "") + (" · all" if refit_epochs else "")
        commit: Commit = self._locked(
            f"train {name}",
            training.run,
            self.dataset,
            self.prepared.split,
            wanted,
            self.settings,
            data=self._training_data,
        )
        folder = self.folder(commit.key)
        self.step(f"gate vectors {name}", gates.check_vectors, self.dataset, folder, self.settings)
        return commit
