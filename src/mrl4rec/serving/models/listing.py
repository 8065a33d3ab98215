"""The trained models of a data set with what sets them apart, from their cards and results."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from mrl4rec.core import stage
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.masking import scrub
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.evaluation import valid
from mrl4rec.evaluation.cut import ROTATED
from mrl4rec.models import model_folder, resolve
from mrl4rec.models.model_folder import ModelCard
from mrl4rec.serving.registry.aliases import Aliases
from mrl4rec.tables.versions import failed_versions

METRIC, K = "recall", 20
APART = (
    "dataset", "levels", "seed", "protocol", "split", "settings", "epochs_asked", "trained_at",
)  # fmt: skip
"""What is said of models of one name where it differs."""

log = logging.getLogger("mrl4rec.serving.models")


@dataclass(frozen=True)
class ListedModel:
    """A trained model, whether it was evaluated or not."""

    dataset: str
    name: str
    """Of its method, ``MRL-M@lightgcn-1`` or ``MRL-M#256``."""
    levels: str | None
    seed: int | None
    protocol: str
    split: str
    """Strategy of the split it was trained on, with its seed where that is not 0."""
    split_key: str | None
    settings: str
    """Settings that are not the method's defaults, ``lam=5``; empty: none."""
    epochs_asked: int | None
    epoch: int | None
    trained_at: str
    """ISO 8601, UTC."""
    key: str
    folder: AnyPath
    valid_recall_10: float | None
    """The best of its learning curve, by which the epoch was chosen; None for a closed form."""
    test_recall_20: float | None = None
    """At full width; None where it was not evaluated."""
    version: str | None = None
    """Of the registered model in MLflow; None where it is not registered."""
    aliases: tuple[str, ...] = ()
    """champion, challenger."""


def listed(settings: Settings, dataset: str) -> list[ListedModel]:
    """The models of a data set, oldest first. Folders whose card cannot be read are left out."""
    splits = _split_words(settings, dataset)
    results = _test_values(settings, dataset)
    found = []
    for folder in settings.storage.model_dirs(dataset=dataset):
        try:
            card = model_folder.read_card(folder)
        except Mrl4recError as error:
            log.warning("%s is left out: %s", error.where or folder, error.what)
            continue
        found.append(_of_card(folder, card, splits, results.get(folder.name)))
    return sorted(found, key=lambda one: (one.trained_at, one.key))


def with_versions(settings: Settings, dataset: str, models: list[ListedModel]) -> list[ListedModel]:
    """The models with their version and aliases in MLflow; as they were where it is away."""
    aliases = Aliases(settings, dataset)
    try:
        versions, names = aliases.registered()
    except Mrl4recError as error:  # it is not installed: a notebook needs none
        log.info("registered versions are left out: %s", error.what)
        return models
    except Exception as error:  # whatever MLflow raises
        reason = scrub(f"{type(error).__name__}: {str(error).strip()[:200]}", settings)
        log.warning("registered versions are left out: MLflow is away (%s)", reason)
        return models
    return [
        replace(one, version=version, aliases=tuple(names.get(version, ())))
        for one in models
        for version in [versions.get(one.key)]
    ]


def _of_card(
    folder: AnyPath, card: ModelCard, splits: Mapping[str, str], test: float | None
) -> ListedModel:
    made = datetime.fromtimestamp((folder / "model.json").stat().st_mtime, UTC)
    split_key = card.versions.get("split_key")
    return ListedModel(
        dataset=folder.parents[1].name,
        name=card.method_name,
        levels=",".join(map(str, card.levels)) if card.levels else None,
        seed=card.seed,
        protocol=card.protocol,
        split=splits.get(str(split_key), "unknown"),
        split_key=split_key,
        settings=_settings(card),
        epochs_asked=card.epochs_asked,
        epoch=card.epoch,
        trained_at=made.isoformat(timespec="seconds"),
        key=folder.name,
        folder=folder,
        valid_recall_10=valid.of_history(card.history),
        test_recall_20=test,
    )


def _settings(card: ModelCard) -> str:
    """What differs from the method's defaults, and from a usual training."""
    try:
        usual = resolve(card.method_name).as_dict()
    except UsageError:  # a method that this version does not have
        usual = {}
    known = {name: card.method[name] for name in usual if name in card.method}
    said = [
        f"{name}={value}"
        for name, value in known.items()
        if stage.canonical(usual[name]) != stage.canonical(value)
    ]
    said += [f"warm start from {card.warm[:8]}"] if card.warm else []
    said += [f"trained on {' and '.join(card.folds)}"] if "test" in card.folds else []
    said += [f"device={card.device}"] if card.device not in (None, "cpu") else []
    return ", ".join(said)


def _split_words(settings: Settings, dataset: str) -> dict[str, str]:
    """By stage key of the split."""
    uri = settings.storage.table_uri(dataset, "splits")
    return {commit.key: split_words(commit.summary) for commit in stage.history(uri, "splits")}


def split_words(summary: Mapping[str, Any]) -> str:
    """``global_time``, or ``last_out of sequences``; with its seed where that is not 0."""
    seed = summary.get("split_seed")
    of = " of sequences" if summary.get("of") == "sequences" else ""
    return f"{summary.get('strategy', 'unknown')}{of}" + (f", seed {seed}" if seed else "")


def _test_values(settings: Settings, dataset: str) -> dict[str, float]:
    """Recall@20 at full width by the stage key of the model; the newest evaluation counts."""
    uri = settings.storage.table_uri(dataset, "results")
    delta = open_table(uri)
    if delta is None:
        return {}
    failed = failed_versions(settings, dataset)
    commits = {commit.key: commit for commit in reversed(stage.history(uri, "results"))}
    found: dict[str, tuple[int, int, float]] = {}
    columns = ["stage_key", "method", "metric", "k", "width", "value"]
    for row in read_table(delta, columns).to_pylist():
        commit = commits.get(row["stage_key"])
        whole = (row["metric"], row["k"]) == (METRIC, K) and not row["method"].endswith(ROTATED)
        if commit is None or not whole or ("results", str(commit.version)) in failed:
            continue
        model = str(commit.summary.get("model"))
        here = (row["width"] or 0, commit.version, float(row["value"]))
        found[model] = max(found.get(model, here), here)
    return {model: value for model, (_, _, value) in found.items()}
