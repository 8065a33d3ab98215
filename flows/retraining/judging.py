"""Champion against challenger on the window: admitted, ranked for the same users, decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.config.retrain import Recipe
from flows.config.run import Cell
from flows.retraining.challengers import Champion, Contender
from flows.retraining.stages import Stages
from mrl4rec.core.files import AnyPath
from mrl4rec.kernels.devices import resolve_device
from mrl4rec.models import model_folder, resolve
from mrl4rec.serving.promotion.decision import admissible, decide
from mrl4rec.serving.promotion.duel import duel
from mrl4rec.serving.promotion.per_user import Duel
from mrl4rec.serving.promotion.window import AS_IN_SERVICE, Window

STAND_IN = "Pop"
"""Who is to be beaten where there is no champion yet."""
PROMOTE, KEEP, REFUSE = "promote", "keep", "refuse"


@dataclass(frozen=True)
class Judged:
    """What came of the duel, or why there was none."""

    verdict: str
    """``promote``, ``keep`` or ``refuse``."""
    reasons: tuple[str, ...]
    evidence: dict[str, Any] = field(default_factory=dict)
    duel: Duel | None = None

    @property
    def why(self) -> str:
        """All of it in one text."""
        return "; ".join(self.reasons)


def judge(
    stages: Stages, champion: Champion | None, challenger: Contender, window: Window
) -> Judged:
    """Decide on the window, which neither side has trained on."""
    ours = [stages.folder(commit.key) for commit in challenger.models]
    theirs, who = _champions(stages, champion, window)
    reasons = _refused(stages, theirs, ours, window)
    if reasons:
        return Judged(REFUSE, tuple(reasons), {"champion_is": who})
    found = stages.step("duel", _duel, stages, theirs, ours)
    decision = decide(found, stages.asked.rules())
    evidence = {**decision.evidence, "champion_is": who}
    return Judged(decision.verdict, tuple(decision.reasons), evidence, found)


def _champions(
    stages: Stages, champion: Champion | None, window: Window
) -> tuple[list[AnyPath], str]:
    """The folders of the champion's side, and how it comes to be judged."""
    if champion is None:
        recipe = Recipe(resolve(STAND_IN), None)
        return _trained(stages, recipe), f"none yet: {STAND_IN} stands in"
    if window.mode == AS_IN_SERVICE:
        return [champion.folder], "as it is in service"
    return _trained(stages, champion.recipe), "its recipe, trained again before the window"


def _trained(stages: Stages, recipe: Recipe) -> list[AnyPath]:
    seeds = recipe.seeds(stages.asked.seeds)
    models = [stages.fit(Cell(recipe.method, recipe.levels, seed)) for seed in seeds]
    return [stages.folder(commit.key) for commit in models]


def _refused(
    stages: Stages, theirs: Sequence[AnyPath], ours: Sequence[AnyPath], window: Window
) -> list[str]:
    """Reasons not even to compare, each once."""
    data = stages.data
    pairs = [(theirs[0], challenger) for challenger in ours]
    pairs += [(champion, ours[0]) for champion in theirs[1:]]
    found: dict[str, None] = {}
    for champion, challenger in pairs:
        reasons = admissible(
            champion,
            challenger,
            data.user_ids,
            data.item_ids,
            data.split_key,
            since=window.since,
        )
        found.update(dict.fromkeys(reasons))
    return list(found)


def _duel(stages: Stages, theirs: Sequence[AnyPath], ours: Sequence[AnyPath]) -> Duel:
    return duel(
        [model_folder.load(folder) for folder in theirs],
        [model_folder.load(folder) for folder in ours],
        stages.data,
        device=resolve_device(stages.request.device, stages.settings),
        memory_mb=stages.settings.ranking_memory_mb,
    )
