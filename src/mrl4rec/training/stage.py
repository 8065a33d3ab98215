"""The train stage: look for the finished model folder, else train and put it in place."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from mrl4rec import __version__
from mrl4rec.core import lazy, nodes
from mrl4rec.core.cost import Meter, total
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data import known
from mrl4rec.data.interactions import Interactions, load
from mrl4rec.evaluation import sequences
from mrl4rec.models import Method, fit, model_folder
from mrl4rec.models.model_folder import ModelCard
from mrl4rec.models.scorers import Scorer
from mrl4rec.tables.splits import FOLDS
from mrl4rec.training import warm
from mrl4rec.training.checkpoint import Store
from mrl4rec.training.group import Group
from mrl4rec.training.progress import Line, Progress
from mrl4rec.training.request import Plan, TrainRequest, plan, plan_key
from mrl4rec.training.unseen import unseen

with lazy.imports():
    from mrl4rec.training import job, launch

if TYPE_CHECKING:
    from mrl4rec.training.job import Job


def run(
    dataset: str,
    split: Commit,
    request: TrainRequest,
    settings: Settings,
    progress: Progress | None = None,
    *,
    data: Callable[[], Interactions] | None = None,
) -> Commit:
    """Train one model, or find it trained: ``<warehouse>/<dataset>/models/<stage key>/``.

    ``data`` gives the split's interactions where the caller has them; it is called only when there
    is work. Raises UsageError for a request that cannot be served, Interrupted after SIGTERM,
    Mrl4recError where training fails.
    """
    made = plan(request, settings)
    key = plan_key(split, made)
    folder = settings.storage.model_dir(dataset, key)
    if model_folder.is_complete(folder):
        return _commit(folder, model_folder.read_card(folder), 0.0, found=True)
    began = time.monotonic()
    origin = request.warm if made.warm else None
    old = model_folder.read_card(origin) if origin else None
    if old and not made.everything:
        warm.check_unseen(old, split)
    model: Scorer
    epoch: int | None
    history: list[dict[str, Any]]
    before: dict[str, float]
    interactions = data() if data is not None else load(settings, dataset, split)
    store_folder = settings.storage.checkpoints_dir(dataset, key)
    # A process imports once: that is nothing of this model's cost.
    if not made.method.closed_form:
        import_module("mrl4rec.training.job")
    meter = Meter(made.where)
    if made.method.closed_form:
        model = fit(made.method, interactions, made.folds, made.seed, made.where)
        model = sequences.bound(model, interactions)
        epoch, history, before = None, [], {}
    else:
        start = warm.read(origin, interactions) if origin else None
        order = job.Job(made, key, store_folder, settings, start)
        aside = request.unseen_by if made.unseen_by else None
        trained_on = unseen(interactions, aside) if aside else interactions
        if takes_part(made.method, settings):
            return _help(order, trained_on, progress, folder, began)
        model, found = _train(order, trained_on, progress)
        epoch, history, before = found.epoch, found.history, found.cost_before
    until = _newest(interactions, made.folds)
    until = warm.latest(until, old.trained_until) if old else until
    card = replace(
        _card(key, dataset, split, made, epoch, history, until), cost=total(before, meter.read())
    )
    ids = (interactions.user_ids, interactions.item_ids)
    seen = interactions.csr(*made.folds)
    consumed = known.consumed(settings, dataset, split, interactions)
    model_folder.save(folder, model, card, ids, seen, consumed)
    Store(store_folder, {}, 0).clear()
    return _commit(folder, card, time.monotonic() - began, found=False)


def takes_part(method: Method, settings: Settings) -> bool:
    """Whether this machine helps another one to train: that one holds the lock and stores it."""
    return settings.node > 0 and not method.closed_form


def _help(
    order: Job, data: Interactions, progress: Progress | None, folder: AnyPath, began: float
) -> Commit:
    """Train along; the model comes from machine 0."""

    def is_there() -> bool:
        return model_folder.is_complete(folder)

    took_part = nodes.wait_for_first(order.settings, is_there)
    if took_part:
        launch.launch(order, data, progress)
        nodes.wait_for_model(order.settings, is_there)
    card = model_folder.read_card(folder)
    return _commit(folder, card, time.monotonic() - began, found=not took_part)


def _train(order: Job, data: Interactions, progress: Progress | None) -> tuple[Scorer, job.Trained]:
    made = order.plan
    line = Line() if progress is None else None
    try:
        if made.ranks > 1:
            trained = launch.launch(order, data, progress or line)
        else:
            trained = job.train_here(order, data, Group(device=made.where), progress or line)
    finally:
        if line is not None:
            line.close()
    vectors = {name: np.asarray(array, dtype=np.float32) for name, array in trained.vectors.items()}
    everybody = data.sequences.events if data.sequences else None
    model = made.trained.scorer(vectors, made.method.widths(made.levels), everybody)
    return model, trained


def _card(
    key: str,
    dataset: str,
    split: Commit,
    made: Plan,
    epoch: int | None,
    history: list[dict[str, Any]],
    until: str | None,
) -> ModelCard:
    return ModelCard(
        stage_key=key,
        dataset=dataset,
        method=made.method.as_dict(),
        method_name=made.method.name,
        levels=made.levels,
        seed=made.seed,
        protocol=made.protocol,
        epoch=epoch,
        epochs_asked=made.epochs,
        code=made.method.code,
        versions={"split_key": split.key, split.table: split.version, **split.outputs},
        engine=made.engine,
        device=made.device,
        ranks=made.ranks,
        dtype=made.dtype,
        history=history,
        trained_until=until,
        folds=tuple(fold for fold in made.folds if fold in FOLDS),
        warm=made.warm,
        created_with={
            "mrl4rec": __version__,
            "python": sys.version.split()[0],
            "torch": version("torch"),
            "numpy": np.__version__,
        },
    )


def _newest(data: Interactions, folds: tuple[str, ...]) -> str | None:
    """The newest interaction of these folds, ISO 8601 in UTC, or None where there are no times."""
    if data.reviewed_at_P is None:
        return None
    times = data.reviewed_at_P[data.in_folds(*folds)]
    times = times[~np.isnat(times)]
    if not len(times):
        return None
    return np.datetime_as_string(times.max(), unit="us").removesuffix(".000000") + "Z"


def _commit(folder: AnyPath, card: ModelCard, seconds: float, *, found: bool) -> Commit:
    values = [row[name] for row in card.history for name in row if "recall@" in name]
    summary = {
        "epoch": card.epoch,
        "best": max(values) if values else None,
        "seconds": round(seconds, 3),
        "folder": str(folder),
    }
    return Commit(
        stage="train",
        key=card.stage_key,
        table=f"models/{card.stage_key}",
        version=0,
        summary=summary,
        found=found,
    )
