"""Evaluated models as the results table and the model folders hold them, and seeds put together."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import history
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.evaluation.cut import ROTATED
from mrl4rec.reporting.caveats import signed
from mrl4rec.tables.versions import failed_versions

Place = tuple[str, int, int | None]
"""(metric, k, width)"""


@dataclass(frozen=True)
class Run:
    """One evaluated model, with all its evaluations: at other widths it is the same run."""

    stage_key: str
    """Of its newest evaluation."""
    dataset: str
    method: str
    levels: str | None
    seed: int | None
    protocol: str
    epoch: int | None
    run_id: str | None
    values: Mapping[Place, float]
    age: int
    """Version of the results table that it came with."""
    model: str | None = None
    """Stage key of its training, the name of its model folder."""
    split: str | None = None
    """Stage key of the split it was trained and evaluated on."""
    users: int | None = None
    """Users with test items."""
    card: Mapping[str, Any] | None = None
    """The model folder's model.json; None where the folder is gone."""
    earlier: Mapping[Place, str] = field(default_factory=dict)
    """Stage keys of the values that only an earlier evaluation has."""

    def evaluation(self, place: Place) -> str:
        """Stage key of the evaluation that a value is of."""
        return self.earlier.get(place, self.stage_key)

    @property
    def evaluations(self) -> list[str]:
        """Stage keys of all evaluations that a value is of, the newest first."""
        return list(dict.fromkeys([self.stage_key, *self.earlier.values()]))

    @property
    def full(self) -> int | None:
        """The widest it was evaluated at; None for a model without prefixes."""
        return max((w for _, _, w in self.values if w is not None), default=None)

    @property
    def rotated(self) -> bool:
        """Whether the model's vectors were rotated before they were evaluated."""
        return self.method.endswith(ROTATED)

    @property
    def curve(self) -> Sequence[Mapping[str, Any]]:
        """The learning curve, one entry an epoch; empty where it is not known."""
        return list((self.card or {}).get("history") or [])

    def get(self, metric: str, k: int, width: int | None) -> float | None:
        """One value, or None."""
        return self.values.get((metric, k, width))


@dataclass(frozen=True)
class Stat:
    """Mean and spread over seeds."""

    mean: float
    sd: float | None
    """Sample standard deviation; None for fewer than two values."""
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Stat | None:
        """That of some values; None of none."""
        if not values:
            return None
        sd = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), sd, len(values))


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed only."""

    method: str
    levels: str | None
    protocol: str
    variant: str
    """What sets it apart from other groups of the same method (``lam=100``), or empty."""
    runs: list[Run] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Method and what is special about it."""
        name = signed(self.method)
        return f"{name} ({self.variant})" if self.variant else name

    @property
    def name(self) -> str:
        """Method, speciality and level set."""
        return f"{self.label} · {self.levels}" if self.levels else self.label

    @property
    def rotated(self) -> bool:
        """Whether its models' vectors were rotated before they were evaluated."""
        return any(run.rotated for run in self.runs)

    @property
    def full(self) -> int | None:
        """The widest width of its runs."""
        return self.runs[0].full

    @property
    def widths(self) -> list[int]:
        """All widths, ascending; empty for a model without prefixes."""
        return sorted({w for run in self.runs for _, _, w in run.values if w is not None})

    @property
    def seeds(self) -> list[int]:
        """The seeds, ascending; empty for a deterministic method."""
        return sorted(run.seed for run in self.runs if run.seed is not None)

    def stat(self, metric: str, k: int, width: int | None) -> Stat | None:
        """Mean and sd over the runs that have the value; None where none has."""
        return Stat.of([v for run in self.runs if (v := run.get(metric, k, width)) is not None])


def load_runs(settings: Settings, dataset: str) -> list[Run]:
    """The evaluated models of a data set, oldest first; those a gate failed are left out."""
    uri = settings.storage.table_uri(dataset, "results")
    delta = open_table(uri)
    if delta is None:
        return []
    failed = failed_versions(settings, dataset)
    commits = {commit.key: commit for commit in reversed(history(uri, "results"))}
    by_key: dict[str, list[dict[str, Any]]] = {}
    for row in read_table(delta).to_pylist():
        by_key.setdefault(row["stage_key"], []).append(row)
    runs: list[Run] = []
    for key, rows in by_key.items():
        commit = commits.get(key)
        if commit is not None and ("results", str(commit.version)) in failed:
            continue
        summary = dict(commit.summary) if commit else {}
        model = summary.get("model")
        card = read_card(settings.storage.model_dir(dataset, str(model))) if model else None
        runs.append(
            Run(
                stage_key=key,
                values={(r["metric"], r["k"], r["width"]): r["value"] for r in rows},
                age=commit.version if commit else -1,
                model=model,
                split=summary.get("split") or _split_of(card),
                users=summary.get("users"),
                card=card,
                **{name: rows[0][name] for name in _FIELDS},
            )
        )
    return _one_a_model(sorted(runs, key=lambda run: (run.age, run.stage_key)))


def _one_a_model(evaluated: Iterable[Run]) -> list[Run]:
    """Evaluations, oldest first, with those of one model put together; the newest value counts.

    A rotated model stays beside the one it was made from: its prefixes are others.
    """
    found: dict[Any, Run] = {}
    for run in evaluated:
        model = (run.model, run.split, run.method) if run.model else run.stage_key
        old = found.get(model)
        found[model] = run if old is None else _with_earlier(run, old)
    return list(found.values())


def _with_earlier(run: Run, old: Run) -> Run:
    only = {place: old.evaluation(place) for place in old.values if place not in run.values}
    return replace(
        run,
        values={**old.values, **run.values},
        earlier=only,
        age=old.age,
        run_id=run.run_id or old.run_id,
    )


UNKNOWN = "settings unknown"
_FIELDS = ("dataset", "method", "levels", "seed", "protocol", "epoch", "run_id")


def read_card(folder: AnyPath) -> Mapping[str, Any] | None:
    """A model folder's model.json, or None where it is not there or cannot be read."""
    try:
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return card if isinstance(card, dict) else None


def gate_rows(settings: Settings, dataset: str) -> list[dict[str, Any]]:
    """The verdicts of a data set, oldest first."""
    delta = open_table(settings.storage.table_uri(dataset, "gates"))
    rows = read_table(delta).to_pylist() if delta else []
    return sorted(rows, key=lambda row: (row["judged_at"], row["table"], row["suite"]))


def group(runs: Iterable[Run], variants: Mapping[str, str] | None = None) -> list[Group]:
    """Runs of one split put together over their seeds; the best Recall (or first metric) first.

    ``variants``: those of more runs than these (``variants``), where they stand beside others.
    """
    runs = list(runs)
    variants = variants_of(runs) if variants is None else variants
    groups: dict[tuple[Any, ...], Group] = {}
    for run in runs:
        place = (run.protocol, run.method, run.levels, variants[run.stage_key])
        empty = Group(run.method, run.levels, run.protocol, variants[run.stage_key])
        groups.setdefault(place, empty).runs.append(run)
    for found in groups.values():
        found.runs.sort(key=lambda run: (run.seed is not None, run.seed))
    metric, k = headline(runs)
    return sorted(
        groups.values(),
        key=lambda g: (g.protocol, -(s.mean if (s := g.stat(metric, k, g.full)) else -1), g.name),
    )


def at_full_width(groups: Sequence[Group]) -> list[Group]:
    """The groups without those that say nothing new of whole vectors: rotated ones score as the
    models they are made from, but for their prefixes.
    """
    plain = {(run.model, run.full) for g in groups if not g.rotated for run in g.runs if run.model}
    return [
        group
        for group in groups
        if not (group.rotated and all((run.model, run.full) in plain for run in group.runs))
    ]


def headline(runs: Sequence[Run]) -> tuple[str, int]:
    """The metric that sorts and is drawn: Recall@20 where there is one, else the first."""
    places = sorted({(metric, k) for run in runs for metric, k, _ in run.values})
    if not places or ("recall", 20) in places:
        return "recall", 20
    recalls = [place for place in places if place[0] == "recall"]
    return (recalls or places)[0]


def variants_of(runs: Sequence[Run]) -> dict[str, str]:
    """What sets runs apart that share protocol, method and levels, by stage key.

    First their settings (those of a model whose folder is gone are unknown); where models of one
    split and seed share those, each stands alone under its key, none of them in place of another.
    """
    out: dict[str, str] = {}
    alike: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        alike.setdefault((run.protocol, run.method, run.levels), []).append(run)
    for same in alike.values():
        chosen_ = [_settings_of(run) for run in same]
        known = [values for values in chosen_ if values]
        names = sorted({name for values in known for name in values})
        differ = [n for n in names if len({repr(v[n]) for v in known if n in v}) > 1]
        for run, values in zip(same, chosen_, strict=True):
            said = ", ".join(f"{n}={values.get(n, 'unknown')}" for n in differ)
            out[run.stage_key] = said if values or not known else UNKNOWN
        taken: dict[tuple[str | None, str, int | None], list[Run]] = {}
        for run in same:
            taken.setdefault((run.split, out[run.stage_key], run.seed), []).append(run)
        for twins in taken.values():
            for run in twins if len(twins) > 1 else ():
                sign = f"model {(run.model or run.stage_key)[:8]}"
                out[run.stage_key] = ", ".join(filter(None, [out[run.stage_key], sign]))
    return out


def _settings_of(run: Run) -> dict[str, Any]:
    """All that a model is a function of, besides its split, protocol, levels and seed.

    What an older card does not hold is left out.
    """
    if run.card is None:
        return {}
    method = {k: v for k, v in dict(run.card.get("method") or {}).items() if k != "name"}
    if "epochs" in method:  # what was asked of this run, not the method's default
        method["epochs"] = run.card.get("epochs_asked") or method["epochs"]
    said = {name: run.card.get(name) for name in ("engine", "device", "ranks")}
    said |= {name: v for name in ("dtype", "code") if (v := run.card.get(name)) is not None}
    folds = run.card.get("folds") or ("train", "valid")
    return method | said | {"warm": str(run.card.get("warm") or "no")[:8], "folds": "+".join(folds)}


def _split_of(card: Mapping[str, Any] | None) -> str | None:
    versions = dict((card or {}).get("versions") or {})
    found = versions.get("split") or versions.get("split_key")
    return found if isinstance(found, str) else None


def need_runs(runs: Sequence[Run], where: str) -> None:
    """Raise Mrl4recError where nothing was evaluated."""
    if not runs:
        raise Mrl4recError(
            "no model has been evaluated yet",
            where=where,
            todo="run `mrl4rec run` or `mrl4rec evaluate` for the data set",
        )
