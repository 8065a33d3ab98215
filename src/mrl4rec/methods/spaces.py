"""Where to look for a method's hyper-parameters: ranges as data, by class of method and name.

A parameter that is not named here is not tuned. Ranges hold the defaults and the settings that the
methods' own papers searched; a method takes those of its class and of the classes it is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mrl4rec.errors import UsageError
from mrl4rec.methods.base import Method
from mrl4rec.methods.known import resolve

DIGITS = 4
"""Significant digits of a value that is tried: what is printed can be typed."""


@dataclass(frozen=True)
class Span:
    """A range: whole numbers where both ends are."""

    low: float
    high: float
    log: bool = False
    """Searched by ratio, not by difference."""

    @property
    def whole(self) -> bool:
        """Only whole numbers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def tidy(self, value: float) -> float:
        """The value as it is tried: whole, or of four digits and inside the range."""
        if self.whole:
            return round(value)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


SPACES: Mapping[str, Mapping[str, Span]] = {
    "Factors": {
        "lr": Span(2e-4, 1e-2, log=True),
        "l2": Span(1e-6, 1e-1, log=True),
        "candidates": Span(2, 64, log=True),
    },
    "Ease": {"lam": Span(5.0, 5000.0, log=True)},
    "EaseSvd": {"lam": Span(5.0, 5000.0, log=True)},
    "ItemCf": {"shrink": Span(0.0, 200.0)},
    "Rp3Beta": {"alpha": Span(0.2, 2.0), "beta": Span(0.0, 1.0)},
    "Slim": {"l1": Span(1e-2, 20.0, log=True), "l2": Span(1.0, 2000.0, log=True)},
    "Ials": {"a0": Span(3e-3, 3e-1, log=True), "lam": Span(1e-3, 1e-1, log=True)},
    "RecentPopularity": {"half_life": Span(7.0, 3650.0, log=True)},
    "Uib": {"a": Span(0.1, 0.9)},
    "Ssm": {"tau": Span(5e-2, 1.0, log=True)},
    "Bsl": {"tau": Span(5e-2, 1.0, log=True), "ratio": Span(0.8, 2.0)},
    "DirectAu": {"gamma": Span(1e-1, 10.0, log=True)},
    "Popular": {"power": Span(0.0, 1.5)},
    "DnsMn": {"top": Span(1, 8)},
    "Ahns": {"alpha": Span(1e-1, 2.0), "beta": Span(1e-2, 1.0, log=True), "p": Span(-4.0, -1.0)},
    "Dens": {"gamma": Span(1e-2, 1.0, log=True)},
    "XSimGcl": {"lam": Span(1e-2, 1.0, log=True), "tau": Span(5e-2, 1.0, log=True)},
    "Dgcf": {"cor": Span(1e-3, 1e-1, log=True)},
    "Dccf": {"lam": Span(1e-2, 1.0, log=True), "tau": Span(1e-1, 2.0, log=True)},
    "Macrid": {"beta": Span(5e-2, 1.0, log=True), "drop": Span(0.2, 0.8)},
}
"""By the name of a method's class."""


def space(method: Method) -> dict[str, Span]:
    """What is searched for this method: its ranges, without what ``--set`` has fixed.

    A range is widened to hold the default. Raises UsageError where nothing is left to search.
    """
    usual = resolve(method.name)
    defaults = {item.name: getattr(usual, item.name) for item in fields(usual)}
    found: dict[str, Span] = {}
    for kind in type(method).__mro__:
        for name, span in SPACES.get(kind.__name__, {}).items():
            default: Any = defaults.get(name)
            free = default is not None and getattr(method, name) == default
            if free and name not in found and _searched(name, span, default):
                low, high = min(span.low, default), max(span.high, default)
                found[name] = Span(low, high, span.log)
    if not found:
        raise UsageError(
            f"{method.name} has nothing to tune",
            where="src/mrl4rec/methods/spaces.py",
            todo="tune a method with hyper-parameters, or fix fewer of them by --set",
        )
    return found


def _searched(name: str, span: Span, default: Any) -> bool:
    """What chooses among one draw has no number to search; a ratio is never searched from 0."""
    if name == "candidates" and default == 1:
        return False
    return not span.log or default > 0
