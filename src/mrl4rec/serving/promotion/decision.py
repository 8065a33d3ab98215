"""Promote or keep: a pure function of a duel and the rules.

The challenger is promoted where the interval of its gain in NDCG@20 at full width lies above zero
(and above ``min_gain``), and no width and no slice falls by more than its margin beyond chance.
What the interval counts: ``mrl4rec.serving.promotion.change`` and ``seeds``; docs/promotion.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.evaluation.ranking.bootstrap import resampled_means
from mrl4rec.evaluation.slices import POPULARITY, by_activity
from mrl4rec.serving.promotion import formatting
from mrl4rec.serving.promotion.admissible import admissible
from mrl4rec.serving.promotion.change import Change
from mrl4rec.serving.promotion.per_user import SIDES, Duel
from mrl4rec.serving.promotion.rules import Rules
from mrl4rec.serving.promotion.seeds import shares

__all__ = ["Decision", "Rules", "admissible", "decide"]

Verdict = Literal["promote", "keep"]
WIDTHS, ACTIVITY, ITEMS = "width", "users by training pairs", "items by popularity"
OTHER_WIDTHS, SLICES = "widths", "slices"
"""The families in which chance is shared out."""


@dataclass(frozen=True)
class Decision:
    """What came of a duel."""

    verdict: Verdict
    reasons: list[str]
    """In words, with numbers; the first is the difference itself."""
    evidence: dict[str, Any]
    """All that was looked at: JSON values only."""


@dataclass(eq=False)
class _Guard:
    """A width or a slice that may not fall."""

    kind: str
    name: str
    margin: float
    values: tuple[NDArray[np.float64], NDArray[np.float64]]
    """(E, S) of champion and challenger; NaN for users who are not in the slice."""
    change: Change | None = None
    """None for a slice of too few users."""
    alpha: float | None = None
    """Of the interval, after Holm."""
    fell: bool = False
    n_users: int = field(init=False)

    def __post_init__(self) -> None:
        self.n_users = int((~np.isnan(self.values[0][:, 0])).sum())


def decide(duel: Duel, rules: Rules | None = None) -> Decision:
    """``promote`` or ``keep``, with reasons and evidence; the same for the same duel and rules.

    Raises Mrl4recError where there is no user or a value is not finite.
    """
    rules = rules or Rules()
    _check(duel)
    guards = _guards(duel, rules)
    _compare(duel, guards, rules)
    whole, widths, slices = guards[0], _of(guards, OTHER_WIDTHS), _of(guards, SLICES)
    for family in (widths, slices):
        _judge(family, rules)
    change = whole.change
    if change is None:
        said = f"{duel.n_users} user was judged, and one gives no interval"
        return Decision("keep", [said], _evidence(duel, guards, rules))
    needed = max(0.0, rules.min_gain * change.champion)
    low, _ = change.interval(rules.alpha)
    reasons = [formatting.gain(change, rules.alpha)]
    if not low > needed:
        reasons.append(formatting.not_above(low, needed, rules.min_gain))
    reasons += [formatting.fall(g.kind, g.name, g.change, g.alpha, g.margin)
                for g in (*widths, *slices) if g.fell and g.change and g.alpha]  # fmt: skip
    promoted = len(reasons) == 1
    reasons += formatting.seeds(change.seeds)
    verdict: Verdict = "promote" if promoted else "keep"
    return Decision(verdict, reasons, _evidence(duel, guards, rules))


def _check(duel: Duel) -> None:
    if not duel.n_users:
        raise Mrl4recError("there is no user to judge by", todo="take a wider window (--window)")
    for name, side in zip(SIDES, duel.sides, strict=True):
        in_no_slice = np.isnan(side.sliced_ESG).all(axis=2)
        if not (np.isfinite(side.ndcg_ESW).all() and np.isfinite(side.recall_ESW).all()):
            raise Mrl4recError(f"values of the {name} are not finite (NaN or infinite)")
        if in_no_slice.any():
            raise Mrl4recError(f"users of the {name} have test items in no slice of items")


def _guards(duel: Duel, rules: Rules) -> list[_Guard]:
    """The whole model first, then the other widths, then the slices."""
    ndcg = [side.ndcg_ESW for side in duel.sides]
    sliced = [side.sliced_ESG for side in duel.sides]
    found = []
    for w, width in enumerate(duel.widths):
        both = (ndcg[0][:, :, w], ndcg[1][:, :, w])
        found.append(_Guard(WIDTHS, str(width or "whole"), rules.width_margin, both))
    for name, inside_E in by_activity(duel.history_E).items():
        part = [np.where(inside_E[:, None], side[:, :, 0], np.nan) for side in ndcg]
        found.append(_Guard(ACTIVITY, name, rules.slice_margin, (part[0], part[1])))
    for g, name in enumerate(POPULARITY):
        both = (sliced[0][:, :, g], sliced[1][:, :, g])
        found.append(_Guard(ITEMS, name, rules.slice_margin, both))
    return found


def _of(guards: Sequence[_Guard], family: str) -> list[_Guard]:
    return [guard for guard in guards[1:] if (guard.kind == WIDTHS) == (family == OTHER_WIDTHS)]


def _compare(duel: Duel, guards: Sequence[_Guard], rules: Rules) -> None:
    """Fill in the changes: one bootstrap for all of them."""
    judged = [
        guard
        for guard in guards
        if guard.n_users >= (2 if guard.kind == WIDTHS else rules.min_slice_users)
    ]
    if not judged:
        return
    order = np.argsort(duel.users_E, kind="stable")  # the draws must not hang on the file's order
    means = [np.stack([v.mean(axis=1) for v in guard.values]) for guard in judged]
    gains_EC = np.stack([challenger - champion for champion, challenger in means], axis=1)
    draws_BC = resampled_means(gains_EC[order], rules.draws, rules.seed)
    recipes = [side.recipe for side in duel.sides]
    fixed = (recipes[0].deterministic, recipes[1].deterministic)
    alike = recipes[0].kind == recipes[1].kind
    for guard, sides, draws_B in zip(judged, means, draws_BC.T, strict=True):
        inside = ~np.isnan(sides[0])
        values = [side[inside] for side in guard.values]
        added = shares(values[0], values[1], fixed, alike)
        champion, challenger = (float(side[inside].mean()) for side in sides)
        guard.change = Change(champion, challenger, guard.n_users, draws_B, added)


def _judge(family: Sequence[_Guard], rules: Rules) -> None:
    """Holm (1979) over the family: a fall counts where its interval lies below zero at α/(m − i).

    What counts must also be larger than the margin. The p-values only set the order.
    """
    changes = [(guard, guard.change) for guard in family if guard.change is not None]
    changes.sort(key=lambda pair: pair[1].chance_of_fall())
    beyond_chance = True
    for rank, (guard, change) in enumerate(changes):
        guard.alpha = rules.alpha / (len(changes) - rank)
        beyond_chance = beyond_chance and change.interval(guard.alpha)[1] < 0
        guard.fell = beyond_chance and change.difference < -guard.margin * change.champion


def _evidence(duel: Duel, guards: Sequence[_Guard], rules: Rules) -> dict[str, Any]:
    whole = guards[0]
    sides = {
        name: {
            "method": side.recipe.method,
            "levels": list(side.recipe.levels) if side.recipe.levels else None,
            "models": list(side.recipe.models),
            "seeds": list(side.recipe.seeds),
            "ndcg@20": formatting.rounded(side.ndcg_ESW[:, :, 0].mean()),
            "ndcg@20_by_seed": [formatting.rounded(v) for v in side.ndcg_ESW[:, :, 0].mean(axis=0)],
            "recall@20": formatting.rounded(side.recall_ESW[:, :, 0].mean()),
        }
        for name, side in zip(SIDES, duel.sides, strict=True)
    }
    return {
        "metric": "ndcg@20",
        "split_key": duel.split_key,
        "users": duel.n_users,
        **sides,
        "difference": _row(whole, rules.alpha),
        "seeds": formatting.seed_evidence(whole.change),
        "widths": [_row(guard, guard.alpha) for guard in _of(guards, OTHER_WIDTHS)],
        "slices": [_row(guard, guard.alpha) for guard in _of(guards, SLICES)],
        "rules": rules.as_dict(),
    }


def _row(guard: _Guard, alpha: float | None) -> dict[str, Any]:
    """One comparison, with None where too few users say nothing."""
    row: dict[str, Any] = {"kind": guard.kind, "name": guard.name, "users": guard.n_users}
    change = guard.change
    if change is None or alpha is None:
        return {**row, "judged": False}
    low, high = change.interval(alpha)
    numbers = {
        "champion": change.champion,
        "challenger": change.challenger,
        "difference": change.difference,
        "relative": change.relative,
        "low": low,
        "high": high,
        "level": 1 - alpha,
        "margin": guard.margin,
    }
    rounded = {name: None if v is None else formatting.rounded(v) for name, v in numbers.items()}
    return {**row, "judged": True, **rounded, "fell": guard.fell}
