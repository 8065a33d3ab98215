"""Records of the kinds of runs: a benchmark, under it one for each model, and a retraining."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mrl4rec.tracking.record import Artifact, DatasetRef, Metric, RunRecord

Value = tuple[str, int, int | None, float]
"""(metric, k, width or None, value)"""
WIDTH_METRICS = ("recall", "ndcg")
"""Metrics that are also logged at every width, at one k, so that the list stays short."""
WIDTH_K = 20


def model_run(
    *,
    key: str,
    dataset: str,
    method_name: str,
    protocol: str,
    values: Iterable[Value],
    parent_key: str | None = None,
    levels: str | None = None,
    seed: int | None = None,
    epoch: int | None = None,
    method: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    versions: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
    datasets: Sequence[DatasetRef] = (),
    artifacts: Sequence[Artifact] = (),
    model_folder: str | Path | None = None,
    status: str = "FINISHED",
    start_time: datetime | float | None = None,
    end_time: datetime | float | None = None,
) -> RunRecord:
    """The record of one trained and evaluated model.

    ``method`` is the method's own flat data, ``params`` what else was chosen (split, k-core…),
    ``history`` the model card's learning curve, ``versions`` the table versions that were read.
    Same values are the same strings in every run, so that a comparison shows what differs.
    """
    said = {"dataset": dataset, "method": method_name, "levels": levels, "seed": seed,
            "protocol": protocol}  # fmt: skip
    own = {k: v for k, v in (method or {}).items() if k != "name"}
    tags = {k: text(v) for k, v in said.items()}
    tags |= {"stage_key": key, "epoch": text(epoch)}
    tags |= {f"version.{k}": text(v) for k, v in (versions or {}).items()}
    return RunRecord(
        key=key,
        parent_key=parent_key,
        name=run_name(dataset, method_name, levels, seed),
        params={k: text(v) for k, v in {**said, **(params or {}), **own, **said}.items()},
        tags=tags,
        metrics=[*final_metrics(values), *curves(history)],
        datasets=datasets,
        artifacts=artifacts,
        model_folder=model_folder,
        status="FAILED" if status == "FAILED" else "FINISHED",
        start_time=start_time,
        end_time=end_time,
    )


def benchmark_run(
    *,
    key: str,
    name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, Any] | None = None,
    datasets: Sequence[DatasetRef] = (),
    artifacts: Sequence[Artifact] = (),
    status: str = "FINISHED",
    note: str | None = None,
    start_time: datetime | float | None = None,
    end_time: datetime | float | None = None,
) -> RunRecord:
    """The record of a benchmark, the parent of its models; ``note`` is Markdown for its page."""
    kept = {k: text(v) for k, v in (tags or {}).items()} | {"kind": "benchmark"}
    if note:
        kept["mlflow.note.content"] = note
    return RunRecord(
        key=key,
        name=name,
        params={k: text(v) for k, v in params.items()},
        tags=kept,
        datasets=datasets,
        artifacts=artifacts,
        status="FAILED" if status == "FAILED" else "FINISHED",
        start_time=start_time,
        end_time=end_time,
    )


def retraining_run(
    *,
    key: str,
    dataset: str,
    decision: str,
    seq: int,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, Any],
    versions: Mapping[str, Any],
    artifacts: Sequence[Artifact] = (),
    note: str | None = None,
    start_time: datetime | float | None = None,
    end_time: datetime | float | None = None,
) -> RunRecord:
    """The record of a retraining: what was decided, row ``seq`` of the ledger, and on what."""
    kept = {k: text(v) for k, v in tags.items()}
    kept |= {f"version.{k}": text(v) for k, v in versions.items()}
    kept |= {"kind": "retraining", "dataset": dataset, "decision": decision, "seq": text(seq)}
    if note:
        kept["mlflow.note.content"] = note
    return RunRecord(
        key=key,
        name=f"retraining {seq} · {dataset} · {decision}",
        params={k: text(v) for k, v in {**params, "dataset": dataset}.items()},
        tags=kept,
        metrics=[(name, value, 0) for name, value in sorted(metrics.items())],
        artifacts=artifacts,
        start_time=start_time,
        end_time=end_time,
    )


def run_name(dataset: str, method: str, levels: str | None, seed: int | None) -> str:
    """What a run is called in lists: ``MRL-M · 4,8,16 · seed 0 · tools``; what differs first."""
    parts = [method, levels, None if seed is None else f"seed {seed}", dataset]
    return " · ".join(part for part in parts if part)


def final_metrics(values: Iterable[Value]) -> list[Metric]:
    """Full-width metrics as ``recall_20``, narrower ones as ``recall_20_w16``.

    The curve over widths is also one stepped metric, ``recall_20_by_width`` (step = width), which
    MLflow draws as it is.
    """
    rows = list(values)
    full = max((w for _, _, w, _ in rows if w is not None), default=None)
    out: list[Metric] = []
    for metric, k, width, value in rows:
        if width == full:
            out.append((f"{metric}_{k}", value, 0))
        if width is not None and metric in WIDTH_METRICS and k == WIDTH_K:
            out.append((f"{metric}_{k}_by_width", value, width))
            if width != full:
                out.append((f"{metric}_{k}_w{width}", value, 0))
    return out


def curves(history: Sequence[Mapping[str, Any]]) -> list[Metric]:
    """Learning curves as stepped metrics (step = epoch): ``loss``, ``valid_recall_10`` …

    Epochs of a later phase begin again from 0, so its curves carry its name: ``refit_loss``.
    """
    out: list[Metric] = []
    for row in history:
        phase = row.get("phase")
        prefix = "" if phase == history[0].get("phase") else f"{phase}_"
        for name, value in row.items():
            if name != "epoch" and isinstance(value, int | float):
                out.append((prefix + name.replace("@", "_"), float(value), int(row["epoch"])))
    return out


def text(value: Any) -> str:
    """One spelling for one value: ``none``, ``4,8,16``, ``0.001``."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(text(part) for part in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={text(v)}" for k, v in value.items())
    return str(value)
