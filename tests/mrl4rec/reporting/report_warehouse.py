"""A small warehouse made by hand: every table, with commits as the stages leave them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit, properties
from mrl4rec.tables import TABLES

DAY = datetime(2014, 1, 1, tzinfo=UTC)
WIDTHS = (4, 8, 16, 32, 64)
METRICS = ("recall", "ndcg", "hr", "mrr", "map", "precision", "coverage")


@dataclass(frozen=True)
class Model:
    """One evaluated model to put into the warehouse."""

    method: str
    recall: float
    levels: str | None = None
    seed: int | None = None
    protocol: str = "clean"
    epoch: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    folder: bool = True
    train: str | None = None
    """Stage key of its training; None: one of its own."""
    widths: tuple[int, ...] | None = None
    """Where it is evaluated; None: at those of its method."""
    extra: Mapping[str, float] = field(default_factory=dict)
    """Further metrics, the same at every k and width."""
    on_valid: float | None = None
    """What its learning curve comes near to; None: ``recall``."""


@dataclass(frozen=True)
class Counts:
    """What the commits of k-core and split say."""

    users: int = 4
    items: int = 3
    train: int = 5
    valid: int = 1
    test: int = 2
    strategy: str = "random"
    sequences: Mapping[str, Any] | None = None
    """What the stage of sequences said, where these were split; None: pairs were."""


def commit(
    settings: Settings, dataset: str, table: str, rows: list[dict[str, Any]], said: Commit | None
) -> int:
    """Append rows to a table in one commit; answer the version."""
    uri = settings.storage.table_uri(dataset, table)
    data = pa.Table.from_pylist(rows, schema=TABLES[table].schema)
    extra = {"commit_properties": properties(said.metadata())} if said else {}
    write_deltalake(uri, data, mode="append", **extra)
    from deltalake import DeltaTable

    return DeltaTable(uri).version()


def stage(name: str, table: str, key: str, outputs: Mapping[str, int], said: Any) -> Commit:
    """A commit of a stage, not yet written."""
    return Commit(stage=name, key=key, table=table, version=-1, outputs=outputs, summary=said)


def dump(settings: Settings, dataset: str, counts: Counts = Counts()) -> None:
    """Reviews, quarantine, sources, users, items, interactions and splits of a tiny dump."""
    pairs = [(u, i) for u in range(4) for i in range(3) if (u + i) % 3][:8]
    reviews = [
        {"user_id": f"U{u}", "item_id": f"I{i}", "rating": float(1 + (u + i) % 5),
         "reviewed_at": DAY + timedelta(days=90 * u + i), "source_sha256": "ab" * 32,
         "record_no": n}
        for n, (u, i) in enumerate(pairs)
    ]  # fmt: skip
    bad = [
        {"source_sha256": "ab" * 32, "record_no": 90, "record": "{", "rule": "not_json",
         "detail": "Expecting property name <b>"},
        {"source_sha256": "ab" * 32, "record_no": 91, "record": "{}", "rule": "no_user",
         "detail": None},
        {"source_sha256": "ab" * 32, "record_no": 92, "record": "{}", "rule": "no_user",
         "detail": None},
    ]  # fmt: skip
    outputs = {
        "reviews": commit(settings, dataset, "reviews", reviews, None),
        "quarantine": commit(settings, dataset, "quarantine", bad, None),
    }
    source = {"path": "/data/dump.json.gz", "format": "amazon_2014", "rows_read": 12,
              "rows_accepted": 8, "rows_duplicate": 1, "rows_quarantined": 3}  # fmt: skip
    total = {k: v for k, v in source.items() if k.startswith("rows")} | {"users": 4, "items": 3}
    said = {"sources": [source], "total": total, "ids": "first_appearance", "rules": {"no_user": 2}}
    ingest = stage("ingest", "sources", "1" * 64, outputs, said)
    row = {**source, "source_sha256": "ab" * 32, "source_no": 0, "bytes": 12_345}
    commit(settings, dataset, "sources", [row], ingest)

    users = [{"user_idx": u, "user_id": f"U{u}"} for u in range(4)]
    items = [{"item_idx": i, "item_id": f"I{i}"} for i in range(3)]
    outputs = {
        "users": commit(settings, dataset, "users", users, None),
        "items": commit(settings, dataset, "items", items, None),
    }
    number = counts.train + counts.valid + counts.test
    said = {"users": counts.users, "items": counts.items, "interactions": number, "rounds": 2,
            "k": 2, "min_rating": None}  # fmt: skip
    core = stage("kcore", "interactions", "2" * 64, outputs, said)
    rows = [{"user_idx": u, "item_idx": i, "reviewed_at": DAY} for u, i in pairs]
    version = commit(settings, dataset, "interactions", rows, core)

    folds = ["train"] * 5 + ["valid", "test", "test"]
    said = {"train": counts.train, "valid": counts.valid, "test": counts.test,
            "strategy": counts.strategy, "split_seed": 0, "test_users": 2}  # fmt: skip
    if counts.sequences is not None:
        said |= {"of": "sequences"}
        made = stage("sequences", "sequences", "5" * 64, {}, counts.sequences)
        outputs["sequences"] = commit(settings, dataset, "sequences", [], made)
    split = stage("split", "splits", "3" * 64, {**outputs, "interactions": version}, said)
    rows = [{**row, "fold": fold, "strategy": counts.strategy, "split_seed": 0}
            for row, fold in zip(rows, folds, strict=True)]  # fmt: skip
    commit(settings, dataset, "splits", rows, split)


def results(settings: Settings, dataset: str, models: Sequence[Model]) -> list[dict[str, Any]]:
    """Evaluations and model folders; answers every row written."""
    written = []
    for number, model in enumerate(models):
        key, train = f"{number:08x}" + "e" * 56, model.train or f"{number:08x}" + "d" * 56
        widths = _widths(model)
        rows = [
            {"stage_key": key, "metric": metric, "k": k, "width": width, "dataset": dataset,
             "method": model.method, "levels": model.levels, "seed": model.seed,
             "protocol": model.protocol, "epoch": model.epoch, "run_id": None,
             "value": value(model.recall, metric, k, width)}
            for metric in METRICS for k in (10, 20, 50) for width in widths
        ]  # fmt: skip
        rows += [
            {**row, "metric": metric, "value": value_}
            for row in rows if row["metric"] == "recall"
            for metric, value_ in model.extra.items()
        ]  # fmt: skip
        said = {"model": train, "split": "3" * 64, "users": 2}
        commit(settings, dataset, "results", rows, stage("evaluate", "results", key, {}, said))
        if model.folder:
            _folder(settings.storage.model_dir(dataset, train), model)
        written += rows
    return written


def value(recall: float, metric: str, k: int, width: int | None) -> float:
    """An invented value that rises with k and width; Recall@20 at full width is ``recall``."""
    part = {"recall": 1.0, "ndcg": 0.55}.get(metric, 0.3 + 0.01 * METRICS.index(metric))
    return recall * part * (k / 20) ** 0.5 * (1 if width is None else (width / 64) ** 0.2)


def gate(settings: Settings, dataset: str, verdict: str, table: str, docs: Path | None) -> None:
    """A verdict."""
    row = {"table": table, "version": "0", "suite": table, "verdict": verdict, "declared": 5,
           "evaluated": 5, "failed": 0 if verdict == "pass" else 1, "seen": "{}",
           "data_docs": str(docs) if docs else None, "judged_at": DAY}  # fmt: skip
    commit(settings, dataset, "gates", [row], None)


def _widths(model: Model) -> list[int | None]:
    if model.widths:
        return list(model.widths)
    if model.levels:
        return [int(level) for level in model.levels.split(",")]
    return [None] if model.method in ("EASE", "Pop") else list(WIDTHS)


def _folder(folder: Path, model: Model) -> None:
    reached = model.recall if model.on_valid is None else model.on_valid
    history = [] if model.epoch is None else [
        {"epoch": e, "phase": "search", "loss": 0.69 * 0.97**e}
        | ({"valid_recall@10": reached * (1 - 0.9 ** (e + 1))} if e % 5 == 0 else {})
        for e in range(model.epoch + 1)
    ]  # fmt: skip
    card = {"stage_key": folder.name, "method": {"name": model.method, **model.settings},
            "history": history, "engine": "autograd", "device": "cpu", "ranks": 1,
            "created_with": {"mrl4rec": "0.1.0", "torch": "2.13.0"}}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(card))
