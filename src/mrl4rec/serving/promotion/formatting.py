"""A decision in words: numbers as a person writes them, and as JSON holds them."""

from __future__ import annotations

from typing import Any

from mrl4rec.serving.promotion.change import Change
from mrl4rec.serving.promotion.seeds import Shares

DIGITS = 10
"""Of a number in JSON: more than any difference that matters, fewer than sums round to."""


def rounded(value: float) -> float:
    """A number for JSON."""
    return float(f"{float(value):.{DIGITS}g}")


def gain(change: Change, alpha: float) -> str:
    """``NDCG@20 .0412 → .0431 (+4.6 %), interval [+.0004, +.0034] at 95 %, 18,210 users``."""
    return f"NDCG@20 {_numbers(change, alpha)}, {change.n_users:,} users"


def not_above(low: float, needed: float, min_gain: float) -> str:
    """Why a gain is not enough."""
    if needed > 0:
        return (
            f"the interval begins at {signed(low)}, not above {signed(needed)}, the least gain "
            f"asked for ({percent(min_gain)} of the champion's)"
        )
    return f"the interval begins at {signed(low)}, not above 0: it may be chance"


def fall(kind: str, name: str, change: Change, alpha: float, margin: float) -> str:
    """Which width or slice falls, and how far."""
    return (
        f"{kind} {name} falls: {_numbers(change, alpha)}, {change.n_users:,} users; "
        f"{percent(-margin)} was allowed"
    )


def seeds(shares: Shares) -> list[str]:
    """What was not known about seeds; nothing where all of it was counted."""
    if shares.counted:
        return []
    return [f"seeds are not counted in full: {shares.note}"]


def seed_evidence(change: Change | None) -> dict[str, Any] | None:
    """What users and seeds each add to the variance of the difference."""
    if change is None:
        return None
    return {
        "counted": change.seeds.counted,
        "note": change.seeds.note,
        "variance_of_users": rounded(change.user_variance),
        "variance_of_seeds": rounded(change.seeds.variance),
        "degrees_of_freedom": rounded(change.freedom),
    }


def _numbers(change: Change, alpha: float) -> str:
    low, high = change.interval(alpha)
    share = "" if change.relative is None else f" ({percent(change.relative)})"
    return (
        f"{short(change.champion)} → {short(change.challenger)}{share}, "
        f"interval [{signed(low)}, {signed(high)}] at {100 * (1 - alpha):.4g} %"
    )


def short(value: float) -> str:
    """Four decimals, no zero before the point."""
    return f"{value:.4f}".replace("0.", ".", 1)


def signed(value: float) -> str:
    """The same with its sign."""
    return f"{value:+.4f}".replace("0.", ".", 1).replace("-", "−")


def percent(share: float) -> str:
    """``+4.6 %``."""
    return f"{100 * share:+.1f} %".replace("-", "−")
