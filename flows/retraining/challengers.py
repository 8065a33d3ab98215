"""Who challenges: every recipe, cold and warm, with every seed; the best on valid goes on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from flows.config.retrain import FIRST_METHOD, Recipe
from flows.config.run import Cell
from flows.retraining.stages import Stages
from mrl4rec.core.errors import UsageError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import Interactions
from mrl4rec.evaluation import valid
from mrl4rec.kernels.devices import resolve_device
from mrl4rec.models import Trained, default_levels, from_dict, model_folder, parse_levels, resolve
from mrl4rec.models.model_folder import ModelCard
from mrl4rec.serving.promotion.window import AS_IN_SERVICE, Window
from mrl4rec.training import warm
from mrl4rec.training.unseen import unseen

COLD, WARM = "cold", "warm"
LEAST_NEW = 50
"""Users with valid pairs new to the champion: fewer are too few to judge a warm start by."""
log = logging.getLogger("mrl4rec")


@dataclass(frozen=True)
class Champion:
    """The model in service, as far as its card tells."""

    key: str
    folder: AnyPath
    card: ModelCard

    @property
    def recipe(self) -> Recipe:
        """What it was made by."""
        return Recipe(from_dict(self.card.method), self.card.levels)


@dataclass(frozen=True)
class Contender:
    """One recipe with one start, trained with every seed on what is before the window."""

    recipe: Recipe
    start: str
    """``cold`` or ``warm``."""
    models: tuple[Commit, ...]
    cells: tuple[Cell, ...]
    valid_S: tuple[float | None, ...]
    """Recall@10 on valid of each seed; None where it was not asked."""

    @property
    def valid(self) -> float | None:
        """The mean over seeds."""
        return valid.mean(dict(enumerate(self.valid_S)))

    @property
    def best(self) -> int:
        """The place of the seed that goes into service: the best on valid, the first of equals."""
        return max(range(len(self.models)), key=lambda n: (self.valid_S[n] or 0.0, -n))

    def as_evidence(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "method": self.recipe.method.name,
            "levels": list(self.recipe.levels) if self.recipe.levels else None,
            "start": self.start,
            "seeds": [cell.seed for cell in self.cells],
            "models": [commit.key for commit in self.models],
            "epochs": [commit.summary["epoch"] for commit in self.models],
            valid.NAME: self.valid,
            f"{valid.NAME}_by_seed": list(self.valid_S),
            "seconds": round(sum(commit.summary["seconds"] for commit in self.models), 1),
        }


@dataclass(frozen=True)
class Field:
    """All contenders, and the one that challenges."""

    contenders: tuple[Contender, ...]
    chosen: Contender
    notes: tuple[str, ...]

    def as_evidence(self) -> dict[str, Any]:
        """JSON values."""
        rows = [
            {**contender.as_evidence(), "chosen": contender is self.chosen}
            for contender in self.contenders
        ]
        return {"contenders": rows, "notes": list(self.notes)}


def recipes(stages: Stages, champion: Champion | None) -> tuple[Recipe, ...]:
    """What was asked for; else the champion's own; else the first method's."""
    if stages.asked.recipes:
        return stages.asked.recipes
    if champion is not None:
        return (champion.recipe,)
    method = resolve(FIRST_METHOD)
    assert isinstance(method, Trained)
    assert isinstance(method.dim, int)
    return (Recipe(method, parse_levels(default_levels(method.dim), method.dim)),)


def read_sequences(stages: Stages, champion: Champion | None) -> bool:
    """Whether one of those that are compared reads sequences: then all are judged on a split of
    them.
    """
    both = [*recipes(stages, champion), *([champion.recipe] if champion is not None else [])]
    return any(recipe.method.consumes == "sequences" for recipe in both)


def train(stages: Stages, champion: Champion | None, window: Window) -> Field:
    """Train every contender on what is before the window, and choose on valid."""
    asked = recipes(stages, champion)
    warm, notes = _warm_start(stages, asked, champion, window)
    several = len(asked) > 1 or bool(warm)
    contenders = tuple(
        _train(stages, recipe, start, champion if warm else None, ask_valid=several)
        for recipe in asked
        for start in _starts(stages, recipe in warm)
    )
    chosen = max(contenders, key=lambda c: -1.0 if c.valid is None else c.valid)
    for contender in contenders:
        log.info(
            "%s · %s: %s %s%s",
            contender.recipe.label,
            contender.start,
            valid.NAME,
            "not asked" if contender.valid is None else f"{contender.valid:.4f}",
            ", it challenges" if contender is chosen else "",
        )
    return Field(contenders, chosen, tuple(notes))


def _starts(stages: Stages, can_be_warm: bool) -> tuple[str, ...]:
    if not can_be_warm:
        return (COLD,)
    return {"both": (COLD, WARM), "cold": (COLD,), "warm": (WARM,)}[stages.asked.start]


def _warm_start(
    stages: Stages, asked: tuple[Recipe, ...], champion: Champion | None, window: Window
) -> tuple[list[Recipe], list[str]]:
    """The recipes that may start from the champion, and why not where not."""
    if stages.asked.start == COLD:
        return [], []
    if champion is None:
        return [], ["cold start: there is no champion to start from"]
    if window.mode != AS_IN_SERVICE:
        return [], ["cold start: the champion was trained on a part of the window"]
    fitting, notes = [], []
    for recipe in asked:
        reason = _not_fitting(recipe, champion)
        if reason is None:
            fitting.append(recipe)
        else:
            notes.append(f"{recipe.label} starts cold: {reason}")
    if fitting:
        new = valid.users(_unseen(stages, champion))
        if new < LEAST_NEW:
            why = f"{new} users have new pairs in valid to choose by, {LEAST_NEW} are wanted"
            return [], [*notes, f"cold start: {why}"]
    return fitting, notes


def _not_fitting(recipe: Recipe, champion: Champion) -> str | None:
    method = recipe.method
    if not isinstance(method, Trained):
        return "it has no vectors to start from"
    try:
        warm.fitting(champion.folder, method, method.width(recipe.levels))
    except UsageError as error:
        return error.what
    return None


def _unseen(stages: Stages, champion: Champion | None) -> Interactions:
    return stages.data if champion is None else unseen(stages.data, champion.folder)


def _train(
    stages: Stages, recipe: Recipe, start: str, aside: Champion | None, *, ask_valid: bool
) -> Contender:
    """``aside`` is the champion whose pairs may not choose, where somebody starts from it."""
    cells = [Cell(recipe.method, recipe.levels, seed) for seed in recipe.seeds(stages.asked.seeds)]
    folder = aside.folder if aside is not None else None
    if recipe.method.closed_form:
        models = [stages.fit(cell) for cell in cells]
        values = [_closed_form(stages, cell, aside) if ask_valid else None for cell in cells]
    else:
        warm = folder if start == WARM else None
        models = [stages.fit(cell, warm=warm, unseen_by=folder) for cell in cells]
        cards = [model_folder.read_card(stages.folder(commit.key)) for commit in models]
        values = [valid.of_history(card.history) for card in cards]
    return Contender(recipe, start, tuple(models), tuple(cells), tuple(values))


def _closed_form(stages: Stages, cell: Cell, aside: Champion | None) -> float:
    return valid.of_closed_form(
        cell.method,
        _unseen(stages, aside),
        cell.seed,
        device=resolve_device(stages.request.device, stages.settings),
        memory_mb=stages.settings.ranking_memory_mb,
    )
