"""Methods with a caveat (a reconstruction without equations, say): marked wherever they stand."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from mrl4rec.core.errors import UsageError
from mrl4rec.evaluation.cut import ROTATED
from mrl4rec.models import resolve

SIGN = "‡"


@cache
def _caveat(name: str) -> str:
    try:
        return resolve(name).caveat
    except UsageError:  # a method of another version
        return ""


def signed(method: str) -> str:
    """``MTMI‡``, ``MTMI‡ rotated``; the name of a method without a caveat as it is."""
    name = method.removesuffix(ROTATED)
    return name + (SIGN if _caveat(name) else "") + method[len(name) :]


def notes(labels: Iterable[str]) -> list[str]:
    """What the sign means, a sentence for each caveat among these names."""
    found = dict.fromkeys(_caveat(label.split(SIGN)[0]) for label in labels if SIGN in label)
    return [f"{SIGN}: {caveat}" for caveat in found]
