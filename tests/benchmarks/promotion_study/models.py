"""Many seeds of one recipe, plain and better by known shares, as per-user values.

Shapes: N models (seeds), M weights, E users judged, W widths, G slices of items.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import stage_key
from mrl4rec.data.interactions import Interactions
from mrl4rec.models import Trained
from mrl4rec.models.model_folder import Ids, Loaded, ModelCard
from mrl4rec.models.scorers import FactorModel
from mrl4rec.serving.promotion.duel import Field
from mrl4rec.serving.promotion.per_user import Duel, Recipe, Side
from mrl4rec.training.engine import create
from mrl4rec.training.group import Group
from mrl4rec.training.order import Pairs
from mrl4rec.training.request import Plan, TrainRequest, plan
from mrl4rec.training.tasks import Task
from tests.benchmarks.promotion_study.guide import Guide

CODE = 1
"""Raised when the kept values of a model change."""
PARTS = ("ndcg", "recall", "sliced")
log = logging.getLogger("mrl4rec")


def recipe(method: Trained, levels: tuple[int, ...] | None, epochs: int) -> Plan:
    """The plan of all models; each puts its own seed in."""
    asked = TrainRequest(method, levels=levels, seed=0, epochs=epochs, device="cpu")
    return plan(asked, Settings())  # type: ignore[call-arg]


def trained(data: Interactions, made: Plan, seed: int) -> Loaded:
    """The model of a seed after the plan's epochs, all of them, on the train fold."""
    made, group = replace(made, seed=seed), Group()
    assert made.epochs is not None
    users, items = (side.astype(np.int64) for side in data.pairs("train"))
    seen = data.csr("train")
    task = Task("refit", users, items, seen, None, None)
    learner = create(task, made, group)
    pairs = Pairs(task, seed, made.trained.batch, group.device)
    steps, batch = task.steps(made.trained.batch)
    for epoch in range(made.epochs):
        users_P, items_P = pairs.epoch(epoch)
        for step in range(steps):
            part = slice(step * batch, (step + 1) * batch)
            loss = learner.loss(users_P[part], items_P[part], epoch * steps + step)
            learner.update(loss)
    vectors = learner.vectors()
    users_V, items_V = (vectors[f"{side}_vectors"].astype(np.float32) for side in ("user", "item"))
    model = FactorModel(users_V, items_V, widths=made.method.widths(made.levels))
    card = ModelCard("", "study", {}, made.method.name, made.levels, seed)
    return Loaded(model, card, Ids(data.user_ids, data.item_ids), seen, seen)


@dataclass(frozen=True, eq=False)
class Bank:
    """What each user got from each model at each weight of the guide."""

    key: str
    """What the values are a function of."""
    method: str
    field: Field
    weights: tuple[float, ...]
    values: dict[str, NDArray[np.float32]]
    """By ``PARTS``: (M, N, E, W or G)."""

    @property
    def n_models(self) -> int:
        """Seeds there are."""
        return self.values["ndcg"].shape[1]

    def means(self) -> list[float]:
        """NDCG@20 at full width at each weight, over all users and seeds."""
        return self.values["ndcg"][..., 0].mean(axis=(1, 2), dtype=np.float64).tolist()

    def duel(
        self,
        weights: tuple[float, float],
        models: tuple[NDArray[np.int64], NDArray[np.int64]],
        users: NDArray[np.int64],
        counted: bool,
    ) -> Duel:
        """Champion and challenger at ``weights``; ``users`` are places among all judged.

        Where seeds are not ``counted`` the models pretend to draw nothing.
        """
        sides = [self._side(*side, users, counted) for side in zip(weights, models, strict=True)]
        judged = self.field.users_E[users]
        history = self.field.seen.degrees[judged].astype(np.int32)
        return Duel("", judged.astype(np.int32), history, self.field.widths, sides[0], sides[1])

    def _side(
        self, weight: float, models: NDArray[np.int64], users: NDArray[np.int64], counted: bool
    ) -> Side:
        at = self.weights.index(weight)
        parts = [
            self.values[name][at][models][:, users].transpose(1, 0, 2).astype(np.float64)
            for name in PARTS
        ]
        seeds = tuple(models.tolist()) if counted else (None,) * len(models)
        return Side(Recipe(self.method, None, "factors", ("",) * len(models), seeds), *parts)


def measure(
    data: Interactions,
    made: Plan,
    seeds: Sequence[int],
    guide: Guide,
    weights: Sequence[float],
    folder: Path,
) -> Bank:
    """Train and rank every seed; what is found in ``folder`` from an earlier call is taken."""
    widths = made.method.widths(made.levels)
    field = Field.of(data, (None, *(w for w in widths if w and w != made.dim)))
    rows = []
    inputs = {"data": data.digest(), "plan": made.as_dict()}
    for n, seed in enumerate(seeds):
        key = stage_key("study", CODE, inputs, {"seed": seed, "weights": weights})
        path = folder / f"{key[:24]}.npz"
        if not path.exists():
            one = trained(data, made, seed)
            _keep(path, [field.rank(guide.mixed_in(one, weight)) for weight in weights])
            log.info("model %d of %d is trained and ranked", n + 1, len(seeds))
        with np.load(path) as kept:
            rows.append({name: kept[name] for name in PARTS})
    values = {name: np.stack([row[name] for row in rows], axis=1) for name in PARTS}
    whole = stage_key("study", CODE, inputs, {"seeds": list(seeds), "weights": weights})
    return Bank(whole, made.method.name, field, tuple(weights), values)


def _keep(path: Path, found: list[tuple[NDArray[np.float64], ...]]) -> None:
    """Write (M, E, …) values of one seed."""
    arrays = {
        name: np.stack(parts).astype(np.float32)
        for name, parts in zip(PARTS, zip(*found, strict=True), strict=True)
    }
    partial = path.with_suffix(f".{os.getpid()}.partial.npz")
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    partial.rename(path)
