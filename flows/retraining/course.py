"""The course of a retraining: what is new, judged, decided, written down, and then in service."""

from __future__ import annotations

import logging
import time
from functools import partial

import numpy as np
import pyarrow as pa

from flows import ahead, alerting, preflight
from flows.config.retrain import RetrainConfig
from flows.data_engine import stop_spark
from flows.pipeline import Step
from flows.retraining import challengers, fresh, judging, refusals, remembered
from flows.retraining.challengers import Champion
from flows.retraining.fresh import Intake
from flows.retraining.judging import KEEP, PROMOTE, REFUSE, Judged
from flows.retraining.outcome import Outcome
from flows.retraining.stages import Stages
from mrl4rec import reporting as report
from mrl4rec.core.errors import GateFailed, Mrl4recError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit, json_digest
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.models import model_folder
from mrl4rec.serving.promotion import window as windows
from mrl4rec.serving.promotion.window import Window
from mrl4rec.serving.registry import ledger
from mrl4rec.serving.registry.agree import bring_into_agreement
from mrl4rec.serving.registry.ledger import Decision, Entry, short
from mrl4rec.tracking import Tracker, experiment_of
from mrl4rec.tracking.spool import Place

log = logging.getLogger("mrl4rec")

CODE = 1
"""Raised when the same dumps and parameters come to be decided otherwise."""
DECISIONS: dict[str, Decision] = {PROMOTE: "promoted", KEEP: "kept", REFUSE: "refused"}
NOTHING_NEW = "nothing new"


class Course:
    """One retraining under way; whoever starts it holds the lock."""

    def __init__(self, request: RetrainConfig, settings: Settings, step: Step) -> None:
        self.request, self.settings, self.step = request, settings, step
        self.dataset = request.dataset
        self.tracker = Tracker(settings)
        self.stages = Stages(request, settings, step)
        self.experiment = experiment_of(self.dataset)
        connect = partial(self.tracker.connect, self.experiment)
        self.stages.on_training = partial(ahead.imports, connect)
        self.began = time.time()

    def run(self) -> Outcome:
        if not self.request.dry_run:
            self.tracker.replay()
            self.step("agree", self._agree)
        champion = ledger.champion(self.settings, self.dataset)
        intake = self._intake()
        if intake.ingest is None:
            raise preflight.no_dump(self.request)
        key = self._key(intake.ingest, champion)
        known = remembered.of_run(self.settings, self.dataset, key)
        if known is not None:
            stop_spark(self.settings)
            return self._found(known, intake)
        return self._contest(key, champion, intake, intake.ingest)

    # ------------------------------------------------------------------ the way through

    def _contest(self, key: str, champion: str | None, intake: Intake, ingest: Commit) -> Outcome:
        try:
            served = self._served(champion)
            card = served.card if served else None
            core = self.stages.core(ingest, card)
            window = self._window(core, served)
            ordered = challengers.read_sequences(self.stages, served)
            self.stages.split_since(ingest, core, window.since, card, of_sequences=ordered)
            stop_spark(self.settings)
            field_ = challengers.train(self.stages, served, window)
            judged = judging.judge(self.stages, served, field_.chosen, window)
        except GateFailed as error:
            stop_spark(self.settings)
            judged = Judged(REFUSE, (error.what,))
            self._conclude(key, champion, intake, judged, None, None)
            raise
        outcome = self._conclude(key, champion, intake, judged, field_, window)
        if judged.verdict == REFUSE:
            raise GateFailed(
                f"{self.dataset}: the challenger is refused: {judged.why}",
                where=str(self.settings.storage.dataset_dir(self.dataset)),
                todo="see what is wrong with the model that is named, then run this again; until "
                "then the champion stays",
            )
        return outcome

    def _conclude(
        self,
        key: str,
        champion: str | None,
        intake: Intake,
        judged: Judged,
        field_: challengers.Field | None,
        window: Window | None,
    ) -> Outcome:
        chosen = field_.chosen if field_ is not None else None
        challenger = chosen.models[chosen.best].key if chosen is not None else None
        evidence = remembered.evidence(self.request, judged, field_, window)
        dumps = remembered.dumps(intake)
        if self.request.dry_run:
            said = f"would be {DECISIONS[judged.verdict]}"
            text = remembered.markdown(self.dataset, said, judged.why, evidence)
            return Outcome(said, judged.why, None, champion, None, dumps, text)
        promoted, versions = champion, {}
        if judged.verdict == PROMOTE and chosen is not None:
            promoted = self._winner(chosen, champion)
            versions = model_folder.read_card(self.stages.folder(promoted)).versions
        entry = Entry(
            decision=DECISIONS[judged.verdict],
            why=judged.why,
            run=key,
            challenger=challenger,
            champion_before=champion,
            champion=promoted,
            evidence=evidence,
            evidence_file=remembered.write_duel(self.settings, self.dataset, key, judged.duel),
            versions=versions,
        )
        row = self.step("ledger", ledger.append, self.settings, self.dataset, entry, champion)
        return self._finish(row, dumps)

    def _finish(self, row: Entry, dumps: dict[str, list[str]]) -> Outcome:
        """What follows from a row of the ledger: done again it changes nothing."""
        self.step("agree", self._agree)
        if row.decision == DECISIONS[REFUSE]:
            facts = {"why": row.why, "seq": row.seq, "champion": short(row.champion)}
            alerting.tell(self.settings, "promotion_refused", self.dataset, facts)
        page: AnyPath = self.step("report", report.build, self.settings, [self.dataset], None)
        self._log(row, page)
        log.info("%s: row %d of the ledger: %s: %s", self.dataset, row.seq, row.decision, row.why)
        text = remembered.markdown(self.dataset, row.decision, row.why, row.evidence)
        return Outcome(
            row.decision, row.why, row.seq, row.champion, page, dumps, text, self._run_of(row)
        )

    def _found(self, row: Entry, intake: Intake) -> Outcome:
        """These dumps were judged before; a run that was killed right after may have left more."""
        champion = ledger.champion(self.settings, self.dataset)
        page = None
        if not self.request.dry_run:
            page = self.step("report", report.build, self.settings, [self.dataset], None)
            self._log(row, page)
        why = f"these dumps were judged before: row {row.seq}, {row.decision}: {row.why}"
        log.info("%s: nothing new: %s", self.dataset, why)
        text = remembered.markdown(self.dataset, NOTHING_NEW, why, row.evidence)
        dumps = remembered.dumps(intake)
        runs = self._run_of(row)
        return Outcome(NOTHING_NEW, why, row.seq, champion, page, dumps, text, runs)

    # ------------------------------------------------------------------ its parts

    def _intake(self) -> Intake:
        """What is new; of dumps that are refused a run each, as of every other decision."""
        try:
            return fresh.take_in(self.stages)
        finally:
            if not self.request.dry_run:
                for row in refusals.rows(self.settings, self.dataset):
                    self._log(row, None)

    def _key(self, ingest: Commit, champion: str | None) -> str:
        """What the decision is a function of. Files that brought no row do not count.

        After a refusal another champion is another question: the refusal may have been about it.
        """
        delta = open_table(self.settings.storage.table_uri(self.dataset, "sources"), ingest.version)
        assert delta is not None  # it is the newest good one
        rows = read_table(delta, ["source_sha256", "rows_accepted"]).to_pylist()
        digests = sorted(row["source_sha256"] for row in rows if row["rows_accepted"])
        asked = {"code": CODE, "sources": digests, "parameters": self.request.parameters()}
        key = json_digest(asked)
        row = remembered.of_run(self.settings, self.dataset, key)
        if row is None or row.decision != "refused" or row.champion == champion:
            return key
        return json_digest([key, champion])

    def _served(self, key: str | None) -> Champion | None:
        """The champion by its card. Raises GateFailed where it is gone."""
        if key is None:
            return None
        folder = self.stages.folder(key)
        try:
            return Champion(key, folder, model_folder.read_card(folder))
        except Mrl4recError as error:
            raise GateFailed(
                f"the champion {short(key)} is gone or damaged, so nothing can be held against it: "
                f"{error.what}",
                where=str(folder),
                todo="bring its folder back, or put another model into service: `mrl4rec rollback` "
                "or `mrl4rec promote RUN --why …`",
            ) from error

    def _window(self, core: Commit, champion: Champion | None) -> Window:
        uri = self.settings.storage.table_uri(self.dataset, "interactions")
        delta = open_table(uri, core.version)
        assert delta is not None  # its gate has just looked at it
        pairs = read_table(delta, ["user_idx", "reviewed_at"])
        times = pairs["reviewed_at"].cast(pa.timestamp("us")).to_numpy()
        found = windows.choose(
            np.asarray(times, dtype="datetime64[us]"),
            pairs["user_idx"].to_numpy(),
            self.request.window,
            champion.card.trained_until if champion else None,
            self.settings.retrain_min_users,
        )
        log.info(
            "%s: window from %s UTC on, %d pairs of %d users: %s",
            self.dataset, f"{found.since:%Y-%m-%d %H:%M:%S}", found.pairs, found.users, found.why,
        )  # fmt: skip
        return found

    def _winner(self, chosen: challengers.Contender, champion: str | None) -> str:
        """The model that goes into service: the winner's best seed, fitted again on everything."""
        model, cell = chosen.models[chosen.best], chosen.cells[chosen.best]
        if not self.request.refit:
            return model.key
        warm = None
        if chosen.start == challengers.WARM and champion is not None:
            warm = self.stages.folder(champion)
        epoch = model.summary["epoch"]
        epochs = 1 if epoch is None else int(epoch) + 1
        return self.stages.fit(cell, warm=warm, refit_epochs=epochs).key

    def _agree(self) -> None:
        bring_into_agreement(self.settings, self.dataset, tracker=self.tracker)

    def _run_of(self, row: Entry) -> dict[str, Place]:
        place = self.tracker.known(self.experiment, row.run)
        return {self.dataset: place} if place else {}

    def _log(self, row: Entry, page: AnyPath | None) -> None:
        if row.seq >= 0 and self.tracker.known(self.experiment, row.run) is None:
            self.tracker.log(
                remembered.mlflow_record(self.settings, self.dataset, row, page, self.began)
            )
