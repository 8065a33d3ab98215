"""What is remembered of a retraining: evidence, a run in MLflow, a page for people."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.config.retrain import RetrainConfig
from flows.retraining.challengers import Field
from flows.retraining.fresh import Intake
from flows.retraining.judging import Judged
from mrl4rec.checks import drift
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.evaluation import valid
from mrl4rec.formats.sources import SourceFile
from mrl4rec.serving.promotion.per_user import Duel
from mrl4rec.serving.promotion.window import Window
from mrl4rec.serving.registry import ledger
from mrl4rec.serving.registry.ledger import Entry, short
from mrl4rec.tracking import RunRecord, retraining_run

DUELS = "duels"
"""Folder of per-user values, within the data set's."""


def of_run(settings: Settings, dataset: str, key: str) -> Entry | None:
    """The row that a run of this key has left in the ledger."""
    return next((row for row in ledger.entries(settings, dataset) if row.run == key), None)


def evidence(
    request: RetrainConfig, judged: Judged, field: Field | None, window: Window | None
) -> dict[str, Any]:
    """All that the decision rests on, as JSON values."""
    return {
        **judged.evidence,
        "window": window and {**asdict(window), "since": window.since.isoformat()},
        **(field.as_evidence() if field is not None else {}),
        "asked": request.parameters(),
    }


def write_duel(settings: Settings, dataset: str, key: str, duel: Duel | None) -> str | None:
    """Write the per-user values; their path within the data set's folder."""
    if duel is None:
        return None
    path = Path(DUELS) / f"{key}.parquet"
    duel.write(settings.storage.dataset_dir(dataset) / path)
    return path.as_posix()


def dumps(intake: Intake) -> dict[str, list[str]]:
    """The dumps' paths by what became of them."""
    found = intake.found
    refused = [file for refusal in intake.refused for file in refusal.files]
    return {
        "taken": _paths(intake.good),
        "taken before": _paths(found.taken),
        "set aside": _paths(refused),
        "set aside before": _paths(found.set_aside),
    }


def _paths(files: Sequence[SourceFile]) -> list[str]:
    return [file.shown for file in files]


# ---------------------------------------------------------------------- MLflow


def mlflow_record(
    settings: Settings, dataset: str, row: Entry, page: AnyPath | None, began: float
) -> RunRecord:
    """The run of a retraining: both sides and the interval, the drift, the per-user values.

    ``page``: the report; None of a dump that was refused, which has a row and no more.
    """
    artifacts: list[tuple[AnyPath, str]] = [(page, "")] if page is not None else []
    if row.evidence_file is not None:
        artifacts.append((settings.storage.dataset_dir(dataset) / row.evidence_file, "per_user"))
    asked = dict(row.evidence.get("asked") or {})
    metrics = _numbers(row.evidence)
    if page is not None:  # else the newest dump's drift need not be this one's
        metrics |= _drift(settings, dataset)
    return retraining_run(
        key=row.run,
        dataset=dataset,
        decision=row.decision,
        seq=row.seq,
        params=asked,
        metrics=metrics,
        tags={
            "champion": row.champion,
            "champion_before": row.champion_before,
            "challenger": row.challenger,
        },
        versions=row.versions,
        artifacts=artifacts,
        note=markdown(dataset, row.decision, row.why, row.evidence),
        start_time=began,
        end_time=time.time(),
    )


def _numbers(evidence: Mapping[str, Any]) -> dict[str, float]:
    """Metrics by name; what the evidence does not hold is left out."""
    found: dict[str, Any] = {}
    for side in ("champion", "challenger"):
        told = evidence.get(side) or {}
        found |= {
            f"{side}_ndcg_20": told.get("ndcg@20"),
            f"{side}_recall_20": told.get("recall@20"),
        }
    difference = evidence.get("difference") or {}
    found |= {f"gain_{name}": difference.get(name) for name in ("difference", "low", "high")}
    for row in evidence.get("widths") or ():
        found[f"gain_w{row['name']}"] = row.get("difference")
    found["users"] = evidence.get("users")
    for contender in evidence.get("contenders") or ():
        name = f"{contender['method']}_{contender['start']}"
        found[f"valid_recall_10_{name}"] = contender.get(valid.NAME)
        found[f"seconds_{name}"] = contender.get("seconds")
    return {name: float(value) for name, value in found.items() if value is not None}


def _drift(settings: Settings, dataset: str) -> dict[str, float]:
    """The newest dump's drift."""
    rows = drift.rows(settings, dataset)
    if not rows:
        return {}
    row = rows[-1]
    found = {f"drift_{name}": value for name, value in row["change"].items()}
    found |= {"drift_rows": row["rows"], "drift_champion_auc": row["champion_auc"]}
    return {name: float(value) for name, value in found.items() if value is not None}


# ---------------------------------------------------------------------- for people


def markdown(dataset: str, said: str, why: str, evidence: Mapping[str, Any]) -> str:
    """The decision on a page: what was compared, on what, and what came of it."""
    lines = [f"## {dataset}: {said}", "", *(f"- {reason}" for reason in why.split("; ")), ""]
    window = evidence.get("window")
    if window:
        lines += [
            f"Window: from {window['since']} on, {window['pairs']:,} pairs of {window['users']:,} "
            f"users ({window['why']}). Champion: {evidence.get('champion_is', '–')}.",
            "",
        ]
    lines += _sides(evidence) + _changes(evidence) + _contenders(evidence)
    return "\n".join(lines) + "\n"


def _sides(evidence: Mapping[str, Any]) -> list[str]:
    rows = []
    for side in ("champion", "challenger"):
        told = evidence.get(side)
        if told:
            levels = ",".join(map(str, told["levels"])) if told["levels"] else "–"
            models = ", ".join(short(key) for key in told["models"])
            numbers = f"{told['ndcg@20']:.4f} | {told['recall@20']:.4f}"
            rows.append(f"| {side} | {told['method']} | {levels} | {numbers} | `{models}` |")
    if not rows:
        return []
    head = "| | method | levels | NDCG@20 | Recall@20 | models |"
    return [head, "|---|---|---|---|---|---|", *rows, ""]


def _changes(evidence: Mapping[str, Any]) -> list[str]:
    rows = []
    difference = evidence.get("difference")
    told = [*([difference] if difference else []), *(evidence.get("widths") or ()),
            *(evidence.get("slices") or ())]  # fmt: skip
    for row in told:
        if not row.get("judged"):
            rows.append(f"| {row['kind']} {row['name']} | {row['users']:,} | – | – | too few |")
            continue
        interval = f"[{row['low']:+.4f}, {row['high']:+.4f}]"
        state = "falls" if row.get("fell") else ""
        rows.append(
            f"| {row['kind']} {row['name']} | {row['users']:,} | {row['difference']:+.4f} "
            f"| {interval} | {state} |"
        )
    if not rows:
        return []
    head = "| NDCG@20, challenger − champion | users | difference | interval | |"
    return [head, "|---|---|---|---|---|", *rows, ""]


def _contenders(evidence: Mapping[str, Any]) -> list[str]:
    rows = []
    for told in evidence.get("contenders") or ():
        value = told.get(valid.NAME)
        shown = "–" if value is None else f"{value:.4f}"
        chosen = "✓" if told["chosen"] else ""
        rows.append(
            f"| {chosen} | {told['method']} | {told['start']} | {shown} | {told['seconds']:.1f} |"
        )
    notes = [f"- {note}" for note in evidence.get("notes") or ()]
    if not rows:
        return notes
    head = "| challenges | method | start | Recall@10 on valid | seconds |"
    return [head, "|---|---|---|---|---|", *rows, "", *notes]
