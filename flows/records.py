"""What a benchmark leaves behind for people: MLflow runs, Prefect artifacts, leaderboard rows."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.pipeline import Done, Pipeline
from flows.request import CUTOFFS, Cell
from mrl4rec import evaluation
from mrl4rec.settings import Settings
from mrl4rec.stage import Commit, canonical
from mrl4rec.tracking import RunRecord, Tracker

if TYPE_CHECKING:
    from mrl4rec.model_folder import ModelCard
    from mrl4rec.ranking.evaluate import Evaluation

ROW = ("dataset", "method", "levels", "seed", "protocol", "epoch", "width", "k", "metric", "value")


class Benchmark:
    """One benchmark in MLflow: a parent run, and a child for each cell."""

    def __init__(self, pipelines: list[Pipeline], tracker: Tracker, settings: Settings) -> None:
        self.pipelines, self.tracker, self.settings = pipelines, tracker, settings
        self.started = time.time()
        splits = [p.prepared.split.key for p in pipelines if p.prepared.split]
        asked = [p.request.parameters() for p in pipelines]
        self.key = hashlib.sha256(canonical([splits, asked]).encode()).hexdigest()
        self._results: dict[str, list[dict[str, Any]]] = {}

    # ------------------------------------------------------------------ MLflow

    def on_evaluated(
        self, pipeline: Pipeline, cell: Cell, train: Commit
    ) -> Callable[[Evaluation, ModelCard, str, Path], str | None]:
        """The hook that logs a fresh evaluation and gives its run id to the results table."""

        def hook(result: Evaluation, card: ModelCard, key: str, per_user: Path) -> str | None:
            values = [
                {"metric": v.metric, "k": v.k, "width": v.width, "value": v.value}
                for v in result.values
            ]
            return self.tracker.log(self._child(pipeline, cell, train, key, values))

        return hook

    def log_found(self, pipeline: Pipeline, done: Done) -> None:
        """Put a cell that was found done under this benchmark's parent too (once)."""
        assert done.result is not None
        if not done.result.found or self.tracker.known(self.key, done.result.key):
            return
        values = self.result_rows(pipeline.request.dataset, done.result.key)
        self.tracker.log(self._child(pipeline, done.cell, done.train, done.result.key, values))

    def finish(self, status: str, page: Path | None) -> None:
        """Close the parent run: what was asked, what came out on top, the report."""
        params = {
            name: _text(value)
            for name, value in self.pipelines[0].request.parameters().items()
            if name != "dataset"
        }
        names = [p.request.dataset for p in self.pipelines]
        self.tracker.log(
            RunRecord(
                key=self.key,
                parent_key=None,
                name="benchmark " + ", ".join(names),
                params={"datasets": ",".join(names), **params},
                tags={"kind": "benchmark", "datasets": ",".join(names)},
                metrics=[],
                datasets=[],
                artifacts=[(page, "")] if page else [],
                status=status,
                start_time=self.started,
                end_time=time.time(),
            )
        )

    def _child(
        self,
        pipeline: Pipeline,
        cell: Cell,
        train: Commit,
        key: str,
        values: Iterable[Mapping[str, Any]],
    ) -> RunRecord:
        dataset = pipeline.request.dataset
        folder = self.settings.dataset_dir(dataset) / "models" / train.key
        card = json.loads((folder / "model.json").read_text())
        prepared = pipeline.prepared
        assert prepared.core is not None
        assert prepared.split is not None
        levels = ",".join(map(str, cell.levels)) if cell.levels else None
        per_user = evaluation.per_user_path(self.settings, dataset, key)
        return RunRecord(
            key=key,
            parent_key=self.key,
            name=f"{dataset} · {cell.label}" if len(self.pipelines) > 1 else cell.label,
            params={
                "dataset": dataset,
                "levels": _text(levels),
                "seed": _text(cell.seed),
                "protocol": pipeline.request.protocol,
                "kcore": _text(prepared.core.summary.get("k")),
                "split": _text(prepared.split.summary.get("strategy")),
                "split_seed": _text(pipeline.request.split_seed),
                **{name: _text(value) for name, value in cell.method.as_dict().items()},
            },
            tags={
                "kind": "model",
                "dataset": dataset,
                "method": cell.method.name,
                "levels": _text(levels),
                "seed": _text(cell.seed),
                "protocol": pipeline.request.protocol,
                "stage_key": key,
                "model_key": train.key,
                "split_key": prepared.split.key,
                **{f"version.{n}": str(v) for n, v in self._versions(pipeline).items()},
            },
            metrics=_metrics(card, values),
            datasets=[
                (
                    f"{dataset}/splits@v{prepared.split.version}",
                    self.settings.table_uri(dataset, "splits"),
                    prepared.split.key[:16],
                    "training",
                )
            ],
            artifacts=[(per_user, "per_user")],
            status="FINISHED",
            model_folder=folder,
            start_time=self.started,
            end_time=time.time(),
        )

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
            from mrl4rec.stage import open_table

            delta = open_table(self.settings.table_uri(dataset, "results"))
            self._results[dataset] = delta.to_pyarrow_table().to_pylist() if delta else []
        return [row for row in self._results[dataset] if row["stage_key"] == key]

    def rows(self, done: Mapping[str, list[Done]]) -> list[dict[str, Any]]:
        """The rows of every cell of this benchmark, in the order they were asked for."""
        return [
            {name: row[name] for name in ROW}
            for dataset, cells in done.items()
            for cell in cells
            if cell.result is not None
            for row in sorted(
                self.result_rows(dataset, cell.result.key),
                key=lambda row: (row["width"] or 0, row["metric"], row["k"]),
            )
        ]


def _metrics(
    card: Mapping[str, Any], values: Iterable[Mapping[str, Any]]
) -> list[tuple[str, float, int]]:
    """Final metrics (the full width plain, narrower ones suffixed) and the learning curves."""
    values = list(values)
    full = max((v["width"] or 0 for v in values), default=0)
    final = [
        (
            f"{v['metric']}_{v['k']}" + ("" if (v["width"] or 0) == full else f"_w{v['width']}"),
            float(v["value"]),
            0,
        )
        for v in values
    ]
    curves = [
        # Both phases of the clean protocol count epochs from 0: the refit's curves get its name.
        (prefix + name.replace("@", "_"), float(value), int(point["epoch"]))
        for point in card.get("history", [])
        for prefix in ("refit_" if point.get("phase") == "refit" else "",)
        for name, value in point.items()
        if name not in {"epoch", "phase"} and isinstance(value, int | float)
    ]
    return final + curves


def _text(value: Any) -> str:
    """One spelling for one value, so that equal parameters look equal in the UI."""
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "–"
    return str(value)


# ---------------------------------------------------------------------- Prefect


def artifact(name: str, result: Any) -> None:
    """Leave what a person would look for on the task's page: counts, verdicts, links."""
    from prefect.artifacts import create_markdown_artifact

    slug = "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
    while "--" in slug:
        slug = slug.replace("--", "-")
    text = _markdown(result)
    if text:
        create_markdown_artifact(text, key=slug, description=name)


def _markdown(result: Any) -> str | None:
    if isinstance(result, Commit):
        facts = "\n".join(
            f"| {k} | `{json.dumps(v, default=str)[:400]}` |" for k, v in result.summary.items()
        )
        state = "found done, nothing ran" if result.found else "ran"
        return (
            f"**{result.stage}**: {state}. Marker `{result.table}` version {result.version}, "
            f"stage key `{result.key}`\n\n| fact | value |\n|---|---|\n{facts}\n"
        )
    text = getattr(result, "markdown", None)
    return text() if callable(text) else None


def leaderboard_markdown(rows: list[dict[str, Any]]) -> str:
    """The leaderboard at full width as a Markdown table."""
    head = "| data set | method | levels | seed | protocol | epoch | " + " | ".join(
        f"{metric}@{k}" for metric in ("recall", "ndcg") for k in CUTOFFS
    )
    cells: dict[tuple[Any, ...], dict[tuple[str, int], float]] = {}
    for row in rows:
        name = tuple(row[n] for n in ROW[:6])
        wide = max(r["width"] or 0 for r in rows if tuple(r[n] for n in ROW[:6]) == name)
        if (row["width"] or 0) == wide:
            cells.setdefault(name, {})[row["metric"], row["k"]] = row["value"]
    lines = [head + " |", "|" + "---|" * (6 + 2 * len(CUTOFFS))]
    for name, values in sorted(cells.items(), key=lambda c: -c[1].get(("recall", 20), 0)):
        numbers = [f"{values[m, k]:.4f}" for m in ("recall", "ndcg") for k in CUTOFFS]
        lines.append(
            "| " + " | ".join([*("–" if n is None else str(n) for n in name), *numbers]) + " |"
        )
    return "\n".join(lines) + "\n"
