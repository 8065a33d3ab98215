"""Which model a person means by a name: the one place where names are resolved.

A name is that of a method (``MRL-M``, ``MRL-M@lightgcn-1``, ``MRL-M#256``), also with its levels as
in the leaderboard (``MRL-M · 4,8,64``); ``champion`` or ``challenger``; the first digits of the
stage key of a training or an evaluation; an MLflow run id; an MLflow address (``models:/…``,
``runs:/…``); or the path of a model folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mrl4rec.core import lazy, stage
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.models import model_folder, resolve
from mrl4rec.serving.models.listing import APART, ListedModel, listed
from mrl4rec.serving.registry import agree, ledger
from mrl4rec.serving.registry.aliases import TAG_KEY, TAG_MODEL
from mrl4rec.tracking import Tracker

with lazy.imports():
    from mlflow import exceptions as mlflow_exceptions

DIGITS = re.compile(r"[0-9a-z]{1,64}")
RUN_ID = re.compile(r"[0-9a-f]{32}")
"""A stage key has 64 digits."""
ADDRESS = re.compile(r"(models|runs):/+([^/@]+)(?:[/@](.*))?")
WORDS = {"epochs_asked": "epochs", "trained_at": "trained"}
MOST = 20
"""Candidates that a message lists."""


class Named(NamedTuple):
    """A model of a data set."""

    dataset: str
    key: str
    """Stage key of its training."""
    folder: AnyPath


def find(
    settings: Settings,
    text: str,
    dataset: str | None = None,
    among: Collection[str] | None = None,
) -> Named:
    """The one model that ``text`` names, among those of ``dataset``, or of all where it is None.

    ``among`` are stage keys that it must be one of. Raises UsageError where there is none, or more
    than one: then with a list of them.
    """
    found = matching(settings, text, dataset)
    found = [one for one in found if among is None or one.key in among]
    if len(found) == 1:
        return found[0]
    if not found:
        raise _unknown(settings, text, dataset)
    raise _ambiguous(text, _with_facts(settings, found))


def find_all(settings: Settings, text: str, dataset: str) -> list[Named]:
    """The models that ``text`` names, the same but for their seeds.

    Raises UsageError as ``find``, where they differ otherwise.
    """
    found = matching(settings, text, dataset)
    if not found:
        raise _unknown(settings, text, dataset)
    models = _with_facts(settings, found)
    apart = [name for name in APART if name not in ("seed", "trained_at")]
    if len({tuple(getattr(one, name) for name in apart) for one in models}) > 1:
        raise _ambiguous(text, models)
    return found


def matching(settings: Settings, text: str, dataset: str | None) -> list[Named]:
    """All models that ``text`` may mean: what the first reading of it that fits anything finds."""
    text = text.strip()
    if dataset is not None and not _is_folder(text) and not _with_models(settings, dataset):
        settings.storage.chosen([dataset])  # raises for one that there is not
    readings = (_by_path, _by_alias, _by_address, _by_method, _by_key, _by_evaluation, _by_run)
    for reading in readings:
        found = reading(settings, text, dataset)
        if found:
            return sorted(set(found))
    return []


def _datasets(settings: Settings, dataset: str | None, table: str) -> list[str]:
    return [name for name in settings.storage.datasets(table) if dataset in (None, name)]


def _with_models(settings: Settings, dataset: str | None) -> list[str]:
    folders = settings.storage.model_dirs(dataset=dataset)
    return sorted({folder.parents[1].name for folder in folders})


def _named(settings: Settings, dataset: str, key: str) -> Named:
    return Named(dataset, key, settings.storage.model_dir(dataset, key))


# ---------------------------------------------------------------------------- readings of a name


def _by_path(settings: Settings, text: str, dataset: str | None) -> list[Named]:
    if not _is_folder(text):
        return []
    card = model_folder.read_card(Path(text))
    return [Named(card.dataset, card.stage_key, Path(text))]


def _is_folder(text: str) -> bool:
    """Whether it is meant as a folder; one of a model, or a path that leads to any."""
    folder = Path(text)
    return (folder / "model.json").is_file() or ("/" in text and folder.is_dir())


def _by_alias(settings: Settings, text: str, dataset: str | None) -> list[Named]:
    if text.lower() not in ("champion", "challenger"):
        return []
    found = []
    for name in _datasets(settings, dataset, "promotions"):
        rows = ledger.entries(settings, name)
        key = rows[-1].champion if rows else None
        if text.lower() == "challenger":
            key = agree.challenger(settings, name, rows)
        found += [_named(settings, name, key)] if key is not None else []
    return found


def _by_method(settings: Settings, text: str, dataset: str | None) -> list[Named]:
    name, _, levels = (part.strip() for part in text.partition(" · "))
    try:
        name = resolve(name).name
    except UsageError:
        return []
    return [
        Named(one.dataset, one.key, one.folder)
        for place in _with_models(settings, dataset)
        for one in listed(settings, place)
        if one.name == name and levels in ("", one.levels)
    ]


def _by_key(settings: Settings, text: str, dataset: str | None) -> list[Named]:
    if not DIGITS.fullmatch(text):
        return []
    folders = settings.storage.model_dirs(text, dataset)
    return [Named(folder.parents[1].name, folder.name, folder) for folder in folders]


def _by_evaluation(settings: Settings, text: str, dataset: str | None) -> list[Named]:
    if not DIGITS.fullmatch(text):
        return []
    return [
        _named(settings, name, str(commit.summary["model"]))
        for name in _datasets(settings, dataset, "results")
        for commit in stage.history(settings.storage.table_uri(name, "results"), "results")
        if commit.key.startswith(text)
    ]


def _by_run(settings: Settings, text: str, dataset: str | None) -> list[Named]:
    if not RUN_ID.fullmatch(text):
        return []
    tags = _asked(settings, lambda client: _tags_of_run(client, text))
    return _of_tags(settings, tags, dataset, TAG_MODEL)


def _by_address(settings: Settings, text: str, dataset: str | None) -> list[Named]:
    parts = ADDRESS.fullmatch(text)
    if parts is None:
        return []
    kind, name, rest = parts.groups()
    if kind == "runs":
        return _of_tags(
            settings,
            _asked(settings, lambda client: _tags_of_run(client, name)),
            dataset,
            TAG_MODEL,
        )
    if rest is None:  # a logged model
        tags = _asked(
            settings,
            lambda client: _tags_of_run(client, client.get_logged_model(name).source_run_id),
        )
        return _of_tags(settings, tags, dataset, TAG_MODEL)

    def version(client: Any) -> dict[str, str]:
        by_alias = text.rpartition(rest)[0].endswith("@")
        get = client.get_model_version_by_alias if by_alias else client.get_model_version
        return dict(get(name, rest).tags)

    return _of_tags(settings, _asked(settings, version), dataset, TAG_KEY)


def _tags_of_run(client: Any, run_id: str) -> dict[str, str]:
    return dict(client.get_run(run_id).data.tags)


def _asked(settings: Settings, question: Callable[[Any], dict[str, str]]) -> dict[str, str]:
    """Tags from MLflow; none where it does not know the place."""
    tracker = Tracker(settings)
    try:
        if not tracker.exists():
            return {}
        client = tracker.client()
    except OSError as error:
        raise UsageError(
            "MLflow is away, so a run or an address cannot be looked up",
            where=tracker.place,
            todo="give the first digits of the model's stage key: `mrl4rec models`",
        ) from error
    try:
        return question(client)
    except mlflow_exceptions.MlflowException:
        return {}


def _of_tags(
    settings: Settings, tags: dict[str, str], dataset: str | None, key: str
) -> list[Named]:
    if key not in tags or (dataset or tags.get("dataset")) != tags.get("dataset"):
        return []
    return [_named(settings, tags["dataset"], tags[key])]


# ------------------------------------------------------------------------------------- refusals


def _with_facts(settings: Settings, found: Iterable[Named]) -> list[ListedModel]:
    keys = {(one.dataset, one.key) for one in found}
    return [
        model
        for dataset in sorted({dataset for dataset, _ in keys})
        for model in listed(settings, dataset)
        if (model.dataset, model.key) in keys
    ]


def _ambiguous(text: str, models: Sequence[ListedModel]) -> UsageError:
    """Each candidate with what differs among them; the time where nothing else does."""
    differ = [name for name in APART if len({getattr(one, name) for one in models}) > 1]
    if len(differ) > 1:
        differ = [name for name in differ if name != "trained_at"]
    lines = [f"{one.key[:12]}  {one.name}  {_said(one, differ)}" for one in models[:MOST]]
    if len(models) > MOST:
        lines.append(f"… and {len(models) - MOST} more: `mrl4rec models` lists them")
    return UsageError(
        f"{text!r} names {len(models)} models",
        where=", ".join(sorted({one.dataset for one in models})),
        todo="give the first digits of one of them:\n    " + "\n    ".join(lines),
    )


def _said(one: ListedModel, differ: Sequence[str]) -> str:
    words = []
    for name in differ:
        value = getattr(one, name)
        if name == "settings":
            words.append(value or "default settings")
        else:
            words.append(f"{WORDS.get(name, name)} {'none' if value is None else value}")
    return " · ".join(words)


def _unknown(settings: Settings, text: str, dataset: str | None) -> UsageError:
    models = [one for place in _with_models(settings, dataset) for one in listed(settings, place)]
    where = str(settings.storage.dataset_dir(dataset) if dataset else settings.warehouse)
    if not models:
        return UsageError(
            f"there is no model {text!r}: none is trained yet",
            where=where,
            todo="train one: `mrl4rec run`",
        )
    known = list(dict.fromkeys(one.name for one in models))
    return UsageError(
        f"there is no model {text!r}",
        where=where,
        todo="see `mrl4rec models`; " + nearest(text, known),
    )
