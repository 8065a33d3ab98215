"""What a benchmark leaves behind for people: MLflow runs, Prefect artifacts, leaderboard rows."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.benchmarking import finished
from flows.config.run import CUTOFFS, Cell
from flows.pipeline import Done, Pipeline
from mrl4rec import reporting as report
from mrl4rec.checks.gate import Verdict, markdown
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit, json_digest
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.evaluation.cut import Cut
from mrl4rec.tracking import RunRecord, Tracker, benchmark_run, model_run

with lazy.imports():
    import prefect.artifacts

if TYPE_CHECKING:
    from mrl4rec.evaluation.ranking.evaluate import Evaluation
    from mrl4rec.models.model_folder import ModelCard

SHOWN = ("dataset", "core", "split", "protocol", "method", "settings", "levels", "seed", "epoch")
"""Columns of the leaderboard that Prefect shows."""
TAG_REPORT = "mrl4rec.report"
"""Tag of a benchmark's run: what its report was made of. Runs in MLflow already bear this name."""


class Benchmark:
    """One benchmark in MLflow: a parent run, and a child for each cell."""

    def __init__(self, pipelines: list[Pipeline], tracker: Tracker, settings: Settings) -> None:
        self.pipelines, self.tracker, self.settings = pipelines, tracker, settings
        self.started = time.time()
        self.fresh = False
        """Whether anything was evaluated anew."""
        splits = [p.prepared.split.key for p in pipelines if p.prepared.split]
        asked = [p.request.parameters() for p in pipelines]
        self.key = json_digest([splits, asked])
        self._results: dict[str, list[dict[str, Any]]] = {}

    # ------------------------------------------------------------------ MLflow

    def on_evaluated(
        self, pipeline: Pipeline, cell: Cell, train: Commit, began: float, cut: Cut
    ) -> Callable[[Evaluation, ModelCard, str, Path], str | None]:
        """The hook that logs a fresh evaluation and gives its run id to the results table."""

        def hook(result: Evaluation, card: ModelCard, key: str, per_user: Path) -> str | None:
            self.fresh = True
            values = [(v.metric, v.k, v.width, v.value) for v in result.values]
            return self.tracker.log(self._child(pipeline, cell, train, key, values, began, cut))

        return hook

    def log_found(self, pipeline: Pipeline, done: Done) -> None:
        """Put a cell that was found done under this benchmark's parent too (once)."""
        assert done.result is not None
        if not done.result.found or self.tracker.known(self.key, done.result.key):
            return
        rows = self.result_rows(pipeline.request.dataset, done.result.key)
        values = [(row["metric"], row["k"], row["width"], row["value"]) for row in rows]
        key, cut = done.result.key, done.cut
        self.tracker.log(self._child(pipeline, done.cell, done.train, key, values, None, cut))

    def keep_configs(self) -> None:
        """Write each data set's options where the report finds them."""
        for pipeline in self.pipelines:
            finished.keep(pipeline.request, self.key, self.settings)

    def mark_finished(self) -> None:
        """Note beside the options that this benchmark came to its end."""
        for pipeline in self.pipelines:
            finished.mark(pipeline.request, self.key, self.settings)

    def finish(self, status: str, page: Path | None) -> None:
        """Close the parent run: what was asked, the report and its plots, links to Data Docs.

        Where nothing was evaluated and MLflow has the run with this very page, there is nothing
        to say, and MLflow is not even imported.
        """
        made_of = report.made_of(page) if page else None
        told = None if self.fresh else self.tracker.finished(None, self.key)
        if told is not None and made_of is not None and told.get(TAG_REPORT) == made_of:
            return
        asked = self.pipelines[0].request.parameters()
        names = [p.request.dataset for p in self.pipelines]
        artifacts: list[tuple[Path, str]] = [(page, "")] if page else []
        for name in names:
            file = self.settings.storage.configs_dir(name) / f"{self.key[:12]}.yaml"
            artifacts += [(file, "config")] if len(names) == 1 else [(file, f"config/{name}")]
        with tempfile.TemporaryDirectory(prefix="mrl4rec-plots-") as folder:
            if page and (self.fresh or not self.tracker.known(None, self.key)):
                report.plots(self.settings, names, Path(folder))
                artifacts.append((Path(folder), "plots"))
            self.tracker.log(
                benchmark_run(
                    key=self.key,
                    name="benchmark · " + ", ".join(names),
                    params={**asked, "dataset": names},
                    tags={"dataset": names, **({TAG_REPORT: made_of} if made_of else {})},
                    artifacts=artifacts,
                    status=status,
                    note=self._note(page),
                    start_time=self.started,
                    end_time=time.time(),
                )
            )

    def _note(self, page: Path | None) -> str:
        lines = [f"Report: `{page.absolute()}` (also under Artifacts)"] if page else []
        for pipeline in self.pipelines:
            folder = self.settings.storage.data_docs_dir(pipeline.request.dataset).absolute()
            lines.append(f"- {pipeline.request.dataset}: {pipeline.used}; Data Docs in `{folder}`")
        return "\n".join(lines)

    def _child(
        self,
        pipeline: Pipeline,
        cell: Cell,
        train: Commit,
        key: str,
        values: list[tuple[str, int, int | None, float]],
        began: float | None,
        cut: Cut,
    ) -> RunRecord:
        dataset, prepared = pipeline.request.dataset, pipeline.prepared
        folder = self.settings.storage.model_dir(dataset, train.key)
        card = json.loads((folder / "model.json").read_text())
        assert prepared.core is not None
        assert prepared.split is not None
        return model_run(
            key=key,
            parent_key=self.key,
            dataset=dataset,
            method_name=cut.name(cell.method.name),
            protocol=pipeline.request.protocol,
            values=values,
            levels=",".join(map(str, cell.levels)) if cell.levels else None,
            seed=cell.seed,
            epoch=card.get("epoch"),
            method=cell.method.as_dict(),
            history=card.get("history", []),
            versions={**self._versions(pipeline), "model": train.key, "split": prepared.split.key},
            params={
                "kcore": prepared.core.summary.get("k"),
                "split": prepared.split.summary.get("strategy"),
                "split_seed": pipeline.request.split_seed,
                **({"since": pipeline.request.since} if pipeline.request.since else {}),
                **({"rotated": True} if cut.rotated else {}),
            },
            datasets=[self._dataset_ref(dataset, prepared.split)],
            artifacts=[(self.settings.storage.per_user_file(dataset, key), "per_user")],
            model_folder=folder,
            start_time=began,
            end_time=time.time() if began else None,
        )

    def _dataset_ref(self, dataset: str, split: Commit) -> tuple[str, str, str, str]:
        name = f"{dataset}/splits@v{split.version}"
        uri = self.settings.storage.table_uri(dataset, split.table)
        return name, uri, split.key[:16], "training"

    def _versions(self, pipeline: Pipeline) -> dict[str, int]:
        prepared = pipeline.prepared
        versions: dict[str, int] = {}
        for commit in (prepared.ingest, prepared.core, prepared.split):
            assert commit is not None
            versions |= {commit.table: commit.version, **commit.outputs}
        return versions

    # ------------------------------------------------------------------ results

    def result_rows(self, dataset: str, key: str) -> list[dict[str, Any]]:
        """The rows of one evaluation, as the leaderboard gives them."""
        if dataset not in self._results or key not in {
            row["stage_key"] for row in self._results[dataset]
        }:
            delta = open_table(self.settings.storage.table_uri(dataset, "results"))
            self._results[dataset] = read_table(delta).to_pylist() if delta else []
        return [row for row in self._results[dataset] if row["stage_key"] == key]

    def rows(self, done: Mapping[str, list[Done]]) -> list[dict[str, Any]]:
        """The rows of every cell of this benchmark, in the order they were asked for."""
        rows = []
        for dataset, cells in done.items():
            by_key: dict[str, list[dict[str, Any]]] = {}
            for row in report.leaderboard(self.settings, dataset):
                by_key.setdefault(row["stage_key"], []).append(row)
            for cell in cells:
                rows += by_key.get(cell.result.key, []) if cell.result is not None else []
        return rows


# ---------------------------------------------------------------------- Prefect


def artifact(name: str, result: Any, settings: Settings) -> None:
    """Leave what a person would look for on the task's page: counts, verdicts, links."""
    slug = "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
    while "--" in slug:
        slug = slug.replace("--", "-")
    text = _markdown(result, settings)
    if text:
        prefect.artifacts.create_markdown_artifact(text, key=slug, description=name)


def _markdown(result: Any, settings: Settings) -> str | None:
    if isinstance(result, Commit):
        facts = "\n".join(
            f"| {k} | `{json.dumps(v, default=str)[:400]}` |" for k, v in result.summary.items()
        )
        state = "found done, nothing ran" if result.found else "ran"
        return (
            f"**{result.stage}**: {state}. Marker `{result.table}` version {result.version}, "
            f"stage key `{result.key}`\n\n| fact | value |\n|---|---|\n{facts}\n"
        )
    return markdown(settings, result) if isinstance(result, Verdict) else None


def leaderboard_markdown(rows: list[dict[str, Any]]) -> str:
    """The leaderboard at full width as a Markdown table."""
    columns = [f"{metric}@{k}" for metric in ("recall", "ndcg") for k in CUTOFFS]
    head = "| " + " | ".join([*SHOWN, *columns])
    full: dict[tuple[Any, ...], int] = {}
    for row in rows:
        name = tuple(row[n] for n in SHOWN)
        full[name] = max(full.get(name, 0), row["width"] or 0)
    cells: dict[tuple[Any, ...], dict[tuple[str, int], float]] = {}
    for row in rows:
        name = tuple(row[n] for n in SHOWN)
        if (row["width"] or 0) == full[name]:
            cells.setdefault(name, {})[row["metric"], row["k"]] = row["value"]
    lines = [head + " |", "|" + "---|" * (len(SHOWN) + len(columns))]
    order = sorted(cells.items(), key=lambda c: (c[0][:4], -c[1].get(("recall", 20), 0)))
    for name, values in order:
        numbers = [f"{values[m, k]:.4f}" for m in ("recall", "ndcg") for k in CUTOFFS]
        names = ["–" if n in (None, "") else str(n) for n in name]
        lines.append("| " + " | ".join([*names, *numbers]) + " |")
    return "\n".join(lines) + "\n"
