"""What tuning came to, kept in the table ``tunings``: so that a leaderboard can tell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.tables import TUNINGS
from mrl4rec.tables.store import commit_rows

if TYPE_CHECKING:
    from mrl4rec.models.values import Span
    from mrl4rec.training.tuning.trial import Asked, Trial


@dataclass(frozen=True)
class Best:
    """The setting that reached most on valid."""

    settings: Mapping[str, Any]
    """All of the method's values."""
    value: float
    epoch: int | None
    trial: int


@dataclass(frozen=True)
class Tuning:
    """One study as it stands."""

    study: str
    dataset: str
    split: str
    method: str
    levels: str | None
    seed: int | None
    metric: str
    searched: tuple[str, ...]
    """Names of the values that were searched."""
    tried: int
    pruned: int
    failed: int
    seconds: float
    """Of all trials."""
    best: Best | None
    default: float | None
    """What the defaults reached; None where they failed."""

    @property
    def flags(self) -> list[str]:
        """The best setting as ``--set`` takes it."""
        if self.best is None:
            return []
        return [f"{self.method}.{name}={self.best.settings[name]}" for name in self.searched]


def row(asked: Asked, spans: Mapping[str, Span], trial: Trial) -> dict[str, Any]:
    """A trial as a row of the table."""
    return {
        "study": asked.study,
        "trial": trial.number,
        "dataset": asked.dataset,
        "split": asked.split.key,
        "method": trial.method.name,
        "levels": asked.levels,
        "seed": None if trial.method.deterministic else asked.request.seed,
        "settings": json.dumps(trial.method.as_dict(), sort_keys=True),
        "searched": json.dumps({name: asdict(span) for name, span in spans.items()}),
        "metric": "recall@10",
        "value": trial.value,
        "epoch": trial.epoch,
        "state": trial.state,
        "detail": trial.detail,
        "seconds": trial.seconds,
    }


def write(settings: Settings, dataset: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep trials; those that are kept already change nothing."""
    known = {(row["study"], row["trial"]) for row in _rows(settings, dataset)}
    fresh = [dict(row) for row in rows if (row["study"], row["trial"]) not in known]
    if fresh:
        uri = settings.storage.table_uri(dataset, TUNINGS.name)
        commit_rows(uri, TUNINGS, pa.Table.from_pylist(fresh, schema=TUNINGS.schema))


def tunings(settings: Settings, dataset: str) -> list[Tuning]:
    """Every study of a data set, by name."""
    return _read(settings, dataset, None)


def of_study(settings: Settings, dataset: str, study: str) -> Tuning | None:
    """One study, or None where nothing was tried."""
    found = _read(settings, dataset, study)
    return found[0] if found else None


def best_settings(found: list[Tuning], split: str | None) -> list[tuple[Mapping[str, Any], Tuning]]:
    """The best setting of each study on this split, with its study."""
    return [(one.best.settings, one) for one in found if one.split == split and one.best]


def _read(settings: Settings, dataset: str, study: str | None) -> list[Tuning]:
    studies: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(settings, dataset):
        if study in (None, row["study"]):
            studies.setdefault(row["study"], []).append(row)
    return [_tuning(rows) for rows in studies.values()]


def _rows(settings: Settings, dataset: str) -> list[dict[str, Any]]:
    delta = open_table(settings.storage.table_uri(dataset, TUNINGS.name))
    rows = read_table(delta).to_pylist() if delta else []
    return sorted(rows, key=lambda row: (row["study"], row["trial"]))


def _tuning(rows: list[dict[str, Any]]) -> Tuning:
    first = rows[0]
    done = [row for row in rows if row["state"] == "complete"]
    top = max(done, key=lambda row: (row["value"], -row["trial"]), default=None)
    return Tuning(
        **{name: first[name] for name in ("study", "dataset", "split", "method", "levels", "seed",
                                          "metric")},
        searched=tuple(json.loads(first["searched"])),
        tried=len(rows),
        pruned=sum(row["state"] == "pruned" for row in rows),
        failed=sum(row["state"] == "failed" for row in rows),
        seconds=sum(row["seconds"] for row in rows),
        best=_best(top) if top else None,
        default=first["value"],
    )  # fmt: skip


def _best(row: Mapping[str, Any]) -> Best:
    return Best(json.loads(row["settings"]), row["value"], row["epoch"], row["trial"])
