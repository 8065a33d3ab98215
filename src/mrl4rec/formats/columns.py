"""Which of two unnamed columns holds the users: told by how Amazon spells its ids, or refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mrl4rec.errors import UsageError
from mrl4rec.formats.known import FORMATS, Format

USER = re.compile(r"A[0-9A-Z]{10,39}")
"""Amazon user ids: 11 to 21 letters and digits before 2023, 28 and more since."""
ITEM = re.compile(r"B[0-9A-Z]{9}|[0-9]{1,9}[0-9X]|[0-9]")
"""ASINs and ten-digit ISBNs, also those that lost leading zeros."""
SURE = 0.9
"""Share of rows that must look the part, in both columns."""


def headerless_csv(path: Path, rows: Sequence[Sequence[str]]) -> Format:
    """The form of a ratings CSV without a header: user first (2014) or item first (2018).

    ``rows`` are its cells. Raises UsageError where the columns do not tell.
    """
    first = [row[0] for row in rows]
    second = [row[1] for row in rows]
    if _share(USER, first) >= SURE and _share(ITEM, second) >= SURE:
        return FORMATS["amazon-ratings-user-item"]
    if _share(ITEM, first) >= SURE and _share(USER, second) >= SURE:
        return FORMATS["amazon-ratings-item-user"]
    raise UsageError(
        f"the columns do not tell which holds the users: the first holds {len(set(first))} ids "
        f"like {first[0]!r}, the second {len(set(second))} like {second[0]!r} in {len(rows)} rows",
        where=str(path),
        todo="say it: --format amazon-ratings-user-item or --format amazon-ratings-item-user",
    )


def _share(pattern: re.Pattern[str], ids: Sequence[str]) -> float:
    return sum(pattern.fullmatch(value) is not None for value in ids) / max(len(ids), 1)
