"""Which model a person means: by stage key, its beginning, or a run of MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mrl4rec.core import lazy, stage
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.serving.registry.aliases import TAG_MODEL
from mrl4rec.tracking import Tracker

with lazy.imports():
    from mlflow import exceptions as mlflow_exceptions

RUN_ID = 32
"""Letters of an MLflow run id; a stage key has 64."""


class Named(NamedTuple):
    """A model of a data set."""

    dataset: str
    key: str


def model(settings: Settings, text: str, dataset: str | None = None) -> Named:
    """The one model that ``text`` names, among those of ``dataset``, or of all where it is None.

    ``text`` is the stage key of its training or its evaluation, the beginning of either, or the id
    of its MLflow run. Raises UsageError where there is none or more than one.
    """
    found: set[Named] = set()
    if text.isalnum():
        found = _by_folder(settings, text, dataset) or _by_result(settings, text, dataset)
        if not found and len(text) == RUN_ID:
            found = _by_run(settings, text, dataset)
    if len(found) == 1:
        return found.pop()
    known = sorted(named.key[:12] for named in _by_folder(settings, "", dataset))
    raise UsageError(
        f"{len(found) or 'no'} models match {text!r}",
        where=str(settings.storage.dataset_dir(dataset) if dataset else settings.warehouse),
        todo="give more of the stage key, an MLflow run id, or one of: "
        + (", ".join(known[:20]) or "none yet; train one by `mrl4rec run`"),
    )


def _by_folder(settings: Settings, text: str, dataset: str | None) -> set[Named]:
    return {_named(folder) for folder in settings.storage.model_dirs(text, dataset)}


def _by_result(settings: Settings, text: str, dataset: str | None) -> set[Named]:
    found = set()
    for name in settings.storage.datasets("results"):
        if dataset in {None, name}:
            for commit in stage.history(settings.storage.table_uri(name, "results"), "results"):
                if commit.key.startswith(text):
                    found.add(Named(name, str(commit.summary["model"])))
    return found


def _by_run(settings: Settings, text: str, dataset: str | None) -> set[Named]:
    tracker = Tracker(settings)
    if not tracker.reachable():
        raise UsageError("MLflow is away, so a run cannot be looked up",
                         todo="give the model's stage key instead")  # fmt: skip
    try:
        tags = tracker.client().get_run(text).data.tags
    except mlflow_exceptions.MlflowException:
        return set()
    if TAG_MODEL not in tags or (dataset or tags.get("dataset")) != tags.get("dataset"):
        return set()
    return {Named(tags["dataset"], tags[TAG_MODEL])}


def _named(folder: Path) -> Named:
    return Named(folder.parents[1].name, folder.name)
