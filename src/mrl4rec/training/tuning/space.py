"""Where to look for a method's values: the tuning ranges of its fields."""

from __future__ import annotations

from typing import Any

from mrl4rec.core.errors import UsageError
from mrl4rec.models import Method, resolve
from mrl4rec.models.values import Span

COMMON = ("lr", "l2", "candidates")
"""Values of every trained method, searched after its own: the proposer draws in this order."""


def space(method: Method) -> dict[str, Span]:
    """``spans``. Raises UsageError where nothing is left to search."""
    found = spans(method)
    if not found:
        raise UsageError(
            f"{method.name} has nothing to tune",
            where=f"the fields of {type(method).__module__}",
            todo="tune a method with ranges, or fix fewer of its values by --set",
        )
    return found


def spans(method: Method) -> dict[str, Span]:
    """What is searched for this method: its ranges, without what ``--set`` has fixed.

    A range is widened to hold the default.
    """
    now, defaults = method.as_dict(), resolve(method.name).as_dict()
    found: dict[str, Span] = {}
    for name, item in method.items().items():
        span, default = item.metadata.get("tune"), defaults.get(name)
        if span and default is not None and now[name] == default and _searched(name, span, default):
            found[name] = Span(min(span.low, default), max(span.high, default), span.log)
    return {name: found[name] for name in sorted(found, key=_place)}


def _place(name: str) -> int:
    return COMMON.index(name) + 1 if name in COMMON else 0


def _searched(name: str, span: Span, default: Any) -> bool:
    """Neither the draws of what draws one, nor by ratio from 0."""
    if name == "candidates" and default == 1:
        return False
    return not span.log or default > 0
