"""Records of the kinds of runs: a benchmark, under it one for each model, and a retraining."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.core.files import AnyPath
from mrl4rec.tracking.cards import Value, card_json, card_markdown
from mrl4rec.tracking.identity import Identity, identity, text
from mrl4rec.tracking.record import Artifact, DatasetRef, Metric, RunRecord, experiment_of

with lazy.imports():
    from mrl4rec.evaluation import sequences

WIDTH_METRICS = ("recall", "ndcg")
"""Metrics that are also logged at every width, at one k, so that the list stays short."""
WIDTH_K = 20


def model_run(
    dataset: str,
    card: Mapping[str, Any],
    values: Iterable[Value] = (),
    *,
    key: str | None = None,
    rotated: bool = False,
    parent_key: str | None = None,
    params: Mapping[str, Any] | None = None,
    versions: Mapping[str, Any] | None = None,
    datasets: Sequence[DatasetRef] = (),
    artifacts: Sequence[Artifact] = (),
    model_folder: str | AnyPath | None = None,
    start_time: datetime | float | None = None,
    end_time: datetime | float | None = None,
) -> RunRecord:
    """The record of one trained model, and of an evaluation of it: all are one run.

    ``card`` is the model's card as JSON values, ``key`` the evaluation's stage key (None: it was
    not evaluated), ``params`` what else was chosen (split, k-core…), ``versions`` the table
    versions that were read. ``rotated``: the values are of the rotated vectors, and their metrics
    say so. Same values are the same strings in every run, so that a comparison shows what differs.
    """
    what = identity(card)
    name = run_name(what.method, what.levels, what.seed, what.changed)
    said = {"method": what.method, "levels": what.levels, "settings": what.changed or "defaults",
            "seed": what.seed, "epochs": what.epochs, "dataset": dataset,
            "protocol": what.protocol, "split_key": what.split_key, "identity": what.digest,
            "board": _board(what, params or {})}  # fmt: skip
    # In the order in which MLflow shows them; no setting of the method goes over what is said.
    params = {**said, **(params or {}), **what.settings, **said}
    evaluated = "stage_key.rotated" if rotated else "stage_key"
    tags = {name: text(said[name]) for name in ("dataset", "method", "levels", "seed", "protocol")}
    tags |= {evaluated: key or card["stage_key"], "epoch": text(card.get("epoch"))}
    versions = {**card.get("versions", {}), **(versions or {}), "model": card["stage_key"]}
    tags |= {f"version.{k}": text(v) for k, v in versions.items()}
    values = list(values)
    texts = {} if rotated else {"model-card.md": card_markdown(name, card, values),
                                "model-card.json": card_json(card)}  # fmt: skip
    if not rotated:
        tags["mlflow.note.content"] = texts["model-card.md"]
    return RunRecord(
        key=key or card["stage_key"],
        run_key=card["stage_key"],
        experiment=experiment_of(dataset),
        parent_key=parent_key,
        name=name,
        params={k: text(v) for k, v in params.items()},
        tags=tags,
        metrics=[*final_metrics(values, rotated), *curves(card.get("history", ()))],
        datasets=datasets,
        artifacts=artifacts,
        texts=texts,
        model_folder=model_folder,
        model_name=" ".join(part for part in (what.method, what.levels, what.changed) if part),
        start_time=start_time,
        end_time=end_time,
    )


def benchmark_run(
    *,
    key: str,
    dataset: str,
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
    kept = {k: text(v) for k, v in (tags or {}).items()}
    kept |= {"kind": "benchmark", "dataset": dataset}
    if note:
        kept["mlflow.note.content"] = note
    return RunRecord(
        key=key,
        experiment=experiment_of(dataset),
        name=name,
        params={k: text(v) for k, v in {**params, "dataset": dataset}.items()},
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
        experiment=experiment_of(dataset),
        name=f"retraining {seq} · {decision}",
        params={k: text(v) for k, v in {**params, "dataset": dataset}.items()},
        tags=kept,
        metrics=[(name, value, 0) for name, value in sorted(metrics.items())],
        artifacts=artifacts,
        start_time=start_time,
        end_time=end_time,
    )


def run_name(method: str, levels: str | None, seed: int | None, changed: str = "") -> str:
    """What a run is called in lists: ``MRL-M · 4,8,16 · dim=64 · seed 0``."""
    parts = [method, levels, changed, None if seed is None else f"seed {seed}"]
    return " · ".join(part for part in parts if part)


def _board(what: Identity, params: Mapping[str, Any]) -> str:
    """What the run may be compared with: ``random · clean · ac458124``."""
    key = (what.split_key or "unknown split")[:8]
    return " · ".join(filter(None, [params.get("split"), what.protocol, key]))


def final_metrics(values: Iterable[Value], rotated: bool = False) -> list[Metric]:
    """Full-width metrics as ``recall_20``, narrower ones as ``recall_20_w16``; ``cosine`` is one,
    whatever the length of the list.

    The curve over widths is also one stepped metric, ``recall_20_by_width`` (step = width), which
    MLflow draws as it is. Those of rotated vectors end in ``_rotated``; at full width they are the
    model's own, and left out.
    """
    end = "_rotated" if rotated else ""
    rows = list(values)
    full = max((w for _, _, w, _ in rows if w is not None), default=None)
    out: list[Metric] = []
    if not rotated:
        whole = {_name(metric, k): value for metric, k, w, value in rows if w == full}
        out += [(name, value, 0) for name, value in whole.items()]
    for metric, k, width, value in rows:
        if width is not None and metric in WIDTH_METRICS and k == WIDTH_K:
            out.append((f"{metric}_{k}_by_width{end}", value, width))
            if width != full:
                out.append((f"{metric}_{k}_w{width}{end}", value, 0))
    return out


def _name(metric: str, k: int) -> str:
    return metric if metric == sequences.COSINE else f"{metric}_{k}"


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
