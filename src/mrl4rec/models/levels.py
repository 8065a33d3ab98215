"""Level sets: the nested widths of a method."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from mrl4rec.core.errors import UsageError

NARROWEST = 4


def default_levels(dim: int) -> tuple[int, ...]:
    """4, 8, 16, … doubled while below ``dim``, then ``dim``."""
    levels = []
    level = NARROWEST
    while level < dim:
        levels.append(level)
        level *= 2
    return (*levels, dim)


def parse_levels(
    levels: str | Sequence[int], dim: int | str | None, option: str = "--levels"
) -> tuple[int, ...]:
    """A level set, validated: positive whole numbers that rise strictly, the last equal to ``dim``.

    ``dim`` None or ``levels``: the dimension follows the list. Raises UsageError.
    """
    if isinstance(levels, str):
        words: list[Any] = [word.strip() for word in levels.split(",")]
    else:
        words = list(levels)
    shown = ",".join(str(word) for word in words)
    example = "e.g. 4,8,16,32,64"
    if not words or not all(re.fullmatch(r"\d{1,9}", str(word)) for word in words):
        raise UsageError(
            f"level set {shown!r} is not a list of whole numbers", where=option, todo=example
        )
    numbers = tuple(int(word) for word in words)
    if numbers[0] < 1 or any(a >= b for a, b in pairwise(numbers)):
        raise UsageError(
            f"level set {shown!r} does not rise strictly from 1 or more",
            where=option,
            todo=example,
        )
    if isinstance(dim, int) and numbers[-1] != dim:
        raise UsageError(
            f"level set {shown!r} ends at {numbers[-1]}, and the vectors have {dim} dimensions",
            where="--levels",
            todo=f"end it with {dim}, or change the dimension: --set METHOD.dim={numbers[-1]}",
        )
    return numbers
