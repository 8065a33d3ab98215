"""Values of a configuration: each with its default, unit, bounds and tuning range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Self

from mrl4rec.core.errors import UsageError, nearest

DIGITS = 4
"""Significant digits of a value that is tried: what is printed can be typed."""


@dataclass(frozen=True)
class Span:
    """A tuning range: whole numbers where both ends are."""

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


def value(
    default: Any,
    unit: str,
    low: float | None = None,
    high: float | None = None,
    tune: Span | None = None,
) -> Any:
    """A field that ``--set`` can change: default, unit (and special values), bounds, tuning range.

    Without ``tune`` it is not tuned.
    """
    return field(default=default, metadata={"unit": unit, "low": low, "high": high, "tune": tune})


@dataclass(frozen=True)
class Values:
    """A configuration: values of its own, and those of its parts, which are Values too."""

    def items(self) -> dict[str, Field[Any]]:
        """The fields by name, those of the parts among them."""
        found: dict[str, Field[Any]] = {}
        for item in fields(self):
            part = getattr(self, item.name)
            found |= part.items() if isinstance(part, Values) else {item.name: item}
        return found

    def as_dict(self) -> dict[str, Any]:
        """Flat names and values, as in stage keys, model.json and MLflow."""
        found: dict[str, Any] = {}
        for item in fields(self):
            part = getattr(self, item.name)
            found |= part.as_dict() if isinstance(part, Values) else {item.name: part}
        return found

    def parameters(self) -> dict[str, str]:
        """What ``--set`` can change, each with its unit."""
        return {name: item.metadata["unit"] for name, item in self.items().items() if item.metadata}

    def changed(self, **values: Any) -> Self:
        """A copy with other values, by their flat names."""
        parts: dict[str, Values] = {}
        for item in fields(self):
            part = getattr(self, item.name)
            if isinstance(part, Values):
                own = {name: values.pop(name) for name in part.items() if name in values}
                parts[item.name] = part.changed(**own)
        return replace(self, **parts, **values)

    def check(self, owner: str) -> None:
        """Raise UsageError, naming the ``owner``, where a number is none or out of its bounds."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Values):
                value.check(owner)
            else:
                _check_kind(owner, item, value)
                _check_bounds(owner, item, value)


def _check_kind(owner: str, item: Field[Any], value: Any) -> None:
    """Words, those for a number (``auto``, ``levels``) too, are checked by their owner."""
    if not item.metadata or not isinstance(item.default, int | float):
        return
    if isinstance(value, str) and item.name in ("dim", "lag"):
        return
    kind: Any = int if isinstance(item.default, int) else int | float
    if isinstance(value, bool) or not isinstance(value, kind):
        raise UsageError(
            f"{owner}.{item.name} is {value!r}, which is no{' whole' * (kind is int)} number",
            where=f"--set {owner}.{item.name}",
            todo=item.metadata["unit"],
        )


def _check_bounds(owner: str, item: Field[Any], value: Any) -> None:
    low, high = item.metadata.get("low"), item.metadata.get("high")
    if isinstance(value, str) or (low is None and high is None):
        return
    finite = value == value and abs(value) != float("inf")
    if not finite or (low is not None and value < low) or (high is not None and value > high):
        allowed = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
        raise UsageError(
            f"{owner}.{item.name} is {value}",
            where=f"--set {owner}.{item.name}",
            todo=f"{item.metadata['unit']} ({allowed})",
        )


def check_word(owner: str, name: str, value: str, known: Sequence[str]) -> None:
    """Raise UsageError, with the nearest known word, where a word is not known."""
    if value not in known:
        raise UsageError(f"{owner}.{name} is {value!r}", todo=nearest(str(value), known))
