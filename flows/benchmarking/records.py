"""What a benchmark leaves behind for people: MLflow runs, and its rows of the leaderboard."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.benchmarking import finished
from flows.pipeline import Done, Pipeline
from mrl4rec import reporting as report
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit, json_digest
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.evaluation.cut import Cut
from mrl4rec.tracking import (
    RunRecord,
    Tracker,
    benchmark_run,
    experiment_of,
    model_run,
    run_link,
)
from mrl4rec.tracking.record import DatasetRef
from mrl4rec.tracking.spool import Place

if TYPE_CHECKING:
    from mrl4rec.evaluation.ranking.evaluate import Evaluation
    from mrl4rec.models.model_folder import ModelCard

TAG_REPORT = "mrl4rec.report"
"""Tag of a benchmark's run: what its report was made of. Runs in MLflow already bear this name."""
FIRST = ("methods", "levels", "overrides", "seeds", "epochs", "protocol", "split", "split_key")


class Benchmark:
    """One benchmark of one data set in MLflow: a parent run, and a child for each model."""

    def __init__(self, pipeline: Pipeline, tracker: Tracker, settings: Settings) -> None:
        self.pipeline, self.tracker, self.settings = pipeline, tracker, settings
        self.started = time.time()
        self.fresh = False
        """Whether anything was evaluated anew."""
        split = pipeline.prepared.split
        assert split is not None
        self.split, self.dataset = split, pipeline.request.dataset
        self.experiment = experiment_of(self.dataset)
        self.key = json_digest([[split.key], [pipeline.request.parameters()]])
        self._results: list[dict[str, Any]] = []
        self._models: dict[Place, str] = {}

    # ------------------------------------------------------------------ MLflow

    def on_evaluated(
        self, train: Commit, began: float, cut: Cut
    ) -> Callable[[Evaluation, ModelCard, str, AnyPath], str | None]:
        """The hook that logs a fresh evaluation and gives its run id to the results table."""

        def hook(result: Evaluation, card: ModelCard, key: str, per_user: AnyPath) -> str | None:
            self.fresh = True
            values = [(v.metric, v.k, v.width, v.value) for v in result.values]
            return self.tracker.log(self._child(train, key, values, began, cut))

        return hook

    def on_done(self, done: Done) -> None:
        """Take a cell into the benchmark's list of models.

        One that was found done is logged where MLflow has it not in the data set's experiment.
        """
        assert done.result is not None
        key = done.result.key
        if done.result.found and not self.tracker.known(self.experiment, key):
            rows = self._result_rows(key)
            values = [(row["metric"], row["k"], row["width"], row["value"]) for row in rows]
            self.tracker.log(self._child(done.train, key, values, None, done.cut))
        place = self.tracker.known(self.experiment, key)
        if place is not None:
            self._models[place] = done.cell.label

    def keep_config(self) -> None:
        """Write the options where the report finds them."""
        finished.keep(self.pipeline.request, self.key, self.settings)

    def mark_finished(self) -> None:
        """Note beside the options that this benchmark came to its end."""
        finished.mark(self.pipeline.request, self.key, self.settings)

    def finish(self, status: str, page: AnyPath | None) -> None:
        """Close the parent run: what was asked, the report and its plots, links to Data Docs.

        Where nothing was evaluated and MLflow has the run with this very page, there is nothing
        to say, and MLflow is not even imported.
        """
        made_of = report.made_of(page) if page else None
        told = None if self.fresh else self.tracker.finished(self.experiment, self.key)
        if told is not None and made_of is not None and told.get(TAG_REPORT) == made_of:
            return
        request = self.pipeline.request
        asked = {**request.parameters(), **self._of_sequences(), "split_key": self.split.key}
        options = self.settings.storage.configs_dir(self.dataset) / f"{self.key[:12]}.yaml"
        artifacts: list[tuple[AnyPath, str]] = [(page, "")] if page else []
        artifacts.append((options, "config"))
        with tempfile.TemporaryDirectory(prefix="mrl4rec-plots-") as folder:
            if page and (self.fresh or not self.tracker.known(self.experiment, self.key)):
                report.plots(self.settings, [self.dataset], Path(folder))
                artifacts.append((Path(folder), "plots"))
            self.tracker.log(
                benchmark_run(
                    key=self.key,
                    dataset=self.dataset,
                    name="benchmark · " + ", ".join(request.methods),
                    params={name: asked[name] for name in sorted(asked, key=_place)},
                    tags={TAG_REPORT: made_of} if made_of else None,
                    datasets=[self._dataset_ref()],
                    artifacts=artifacts,
                    status=status,
                    note=self._note(page),
                    start_time=self.started,
                    end_time=time.time(),
                )
            )

    def _note(self, page: AnyPath | None) -> str:
        docs = self.settings.storage.data_docs_dir(self.dataset).absolute() / "data_docs"
        lines = [f"- Report: `{page.absolute()}`, also under Artifacts"] if page else []
        lines += [f"- {why}" for why in self.pipeline.left_out]
        lines += [f"- Source: {self.pipeline.used}", f"- Gates: `{docs / 'index.html'}`"]
        links = [
            f"[{name}]({run_link('', place.experiment_id, place.run_id)})"
            for place, name in self._models.items()
        ]
        # Those that an earlier benchmark trained are under that one.
        return "\n".join([f"Models: {', '.join(links)}", "", *lines])

    def _child(
        self,
        train: Commit,
        key: str,
        values: list[tuple[str, int, int | None, float]],
        began: float | None,
        cut: Cut,
    ) -> RunRecord:
        request, prepared = self.pipeline.request, self.pipeline.prepared
        folder = self.settings.storage.model_dir(self.dataset, train.key)
        assert prepared.core is not None
        return model_run(
            self.dataset,
            json.loads((folder / "model.json").read_text()),
            values,
            key=key,
            rotated=cut.rotated,
            parent_key=self.key,
            params={
                "kcore": prepared.core.summary.get("k"),
                "split": self.split.summary.get("strategy"),
                "split_seed": request.split_seed,
                **({"since": request.since} if request.since else {}),
                **self._of_sequences(),
            },
            versions={**self._versions(), "split": self.split.key},
            datasets=[self._dataset_ref()],
            artifacts=[(self.settings.storage.per_user_file(self.dataset, key), "per_user")],
            model_folder=folder,
            start_time=began,
            end_time=time.time() if began else None,
        )

    def _of_sequences(self) -> dict[str, Any]:
        """What there is to say of a split of sequences besides; nothing of one of pairs."""
        made = self.pipeline.prepared.sequences
        if made is None:
            return {}
        return {
            "split": self.split.summary["strategy"],
            "sequences": True,
            "drop_repeats": not made.summary["repeats"],
            "max_length": made.summary["max_length"],
            "ties": made.summary.get("ties", "hash"),
        }

    def _dataset_ref(self) -> DatasetRef:
        """The split: its table and version, its stage key as digest, its counts."""
        uri = self.settings.storage.table_uri(self.dataset, self.split.table)
        profile = {
            name: self.split.summary[name]
            for name in ("strategy", "split_seed", "train", "valid", "test", "users", "items")
            if name in self.split.summary
        }
        version, key = str(self.split.version), self.split.key[:36]
        return self.dataset, uri, key, "training", version, json.dumps(profile)

    def _versions(self) -> dict[str, int]:
        prepared = self.pipeline.prepared
        versions: dict[str, int] = {}
        for commit in (prepared.ingest, prepared.core, prepared.sequences, prepared.split):
            if commit is not None:
                versions |= {commit.table: commit.version, **commit.outputs}
        return versions

    # ------------------------------------------------------------------ results

    def _result_rows(self, key: str) -> list[dict[str, Any]]:
        """The rows of one evaluation."""
        if key not in {row["stage_key"] for row in self._results}:
            delta = open_table(self.settings.storage.table_uri(self.dataset, "results"))
            self._results = read_table(delta).to_pylist() if delta else []
        return [row for row in self._results if row["stage_key"] == key]

    def rows(self, done: Sequence[Done]) -> list[dict[str, Any]]:
        """The leaderboard's rows of these cells, in their order: of what was evaluated for them.

        A model may have been evaluated elsewhere too, at other widths.
        """
        by_model: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in report.leaderboard(self.settings, self.dataset):
            by_model.setdefault((row["model_key"], row["method"]), []).append(row)
        found: list[dict[str, Any]] = []
        for cell in done:
            if cell.result is not None:
                here = {_score(row) for row in self._result_rows(cell.result.key)}
                name = (cell.train.key, cell.cut.name(cell.cell.method.name))
                found += [row for row in by_model.get(name, []) if _score(row) in here]
        return found


def _score(row: Mapping[str, Any]) -> tuple[str, int, int | None]:
    return row["metric"], row["k"], row["width"]


def _place(name: str) -> int:
    """Where MLflow shows a parameter: those that are looked for come first."""
    return FIRST.index(name) if name in FIRST else len(FIRST)
