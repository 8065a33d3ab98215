"""What to plant: sizes, the tree of groups, how far tastes reach, and what is to be wrong."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from mrl4rec.core.errors import UsageError

BAD_KINDS = (
    "not_json",
    "no_user",
    "no_item",
    "no_time",
    "bad_time",
    "negative_time",
    "future_time",
    "time_unit",
    "bad_rating",
    "rating_out_of_range",
)
"""Kinds of bad rows, named by the rule that ingest must find them to break."""

DAY = 86_400
GENERATOR = 1
"""Raised whenever the same spec gives another dump."""


@dataclass(frozen=True)
class Planted:
    """A dump as a pure function of these values.

    Users and items sit in the leaves of one tree. Each of a user's choices falls into the own leaf,
    its parent, …, or anywhere, and there on an item by popularity; no user chooses an item twice
    but for ``repeats``. Raises UsageError where the values do not fit together.
    """

    users: int = 2_000
    items: int = 1_500
    reviews: int = 60_000
    """Good rows, each a pair of its own."""
    branching: tuple[int, ...] = (4, 4, 4)
    """Groups within groups: (4, 4, 4) is 4 groups of 4 groups of 4 leaves, 64 leaves in all."""
    reach: tuple[float, ...] = (0.45, 0.25, 0.15, 0.15)
    """Shares of choices in the own leaf, the group around it, …, and anywhere (the last)."""
    popularity_skew: float = 0.8
    """The item of popularity rank r is chosen as r to the power of minus this (Zipf)."""
    activity_skew: float = 0.6
    """The same for how much each user reviews."""
    least: int = 5
    """Every user reviews at least so often."""
    start: str = "2010-01-01"
    """Day of the first review, UTC."""
    span_days: int = 1_500
    """Days from the first review to the last; times rise with the place in the file."""
    repeats: int = 0
    """Extra rows with a known pair at another time: accepted, and merged by the k-core."""
    duplicates: int = 0
    """Extra rows with a known (user, item, time); every second one with another rating."""
    bad: int = 0
    """Extra rows that break a rule, of each of BAD_KINDS in turn."""
    seed: int = 0

    def __post_init__(self) -> None:
        counts = (self.users, self.items, self.reviews, *self.branching)
        _need(all(n >= 1 for n in counts), "users, items, reviews and branching must be ≥ 1")
        _need(self.least >= 1, f"least must be ≥ 1, got {self.least}")
        _need(len(self.branching) >= 1, "branching needs at least one level")
        _need(
            len(self.reach) == len(self.branching) + 1,
            f"reach needs {len(self.branching) + 1} shares (own leaf … anywhere) for "
            f"{len(self.branching)} levels of branching, got {len(self.reach)}",
        )
        _need(
            all(share >= 0 for share in self.reach) and math.isclose(sum(self.reach), 1),
            f"the shares of reach must be ≥ 0 and sum to 1, got {self.reach}",
        )
        _need(
            self.leaves <= min(self.users, self.items),
            f"{self.leaves} leaves need at least as many users and items",
        )
        _need(
            self.reviews >= self.users * self.least,
            f"{self.users:,} users with at least {self.least} reviews need ≥ "
            f"{self.users * self.least:,} reviews, got {self.reviews:,}",
        )
        _need(
            self.reviews <= self.users * self.most,
            f"no user reviews more than half of the items: at most {self.users * self.most:,} "
            f"reviews, got {self.reviews:,}",
        )
        _need(min(self.repeats, self.duplicates, self.bad) >= 0, "extra rows must be ≥ 0")
        _need(self.repeats < self.reviews, "fewer repeats than reviews, please")
        _need(
            self.span_days * DAY >= self.reviews,
            f"{self.reviews:,} reviews at different seconds need span_days ≥ "
            f"{-(-self.reviews // DAY):,}, got {self.span_days}",
        )
        _need(
            self.first_second >= 0 and self.first_second + self.span_days * DAY < 2**31,
            "start and span_days must lie between 1970 and 2038",
        )

    @property
    def leaves(self) -> int:
        """Leaves of the tree."""
        return math.prod(self.branching)

    @property
    def most(self) -> int:
        """Largest number of reviews of one user: half of the items."""
        return max(self.items // 2, 1)

    @property
    def rows(self) -> int:
        """All rows of the dump."""
        return self.reviews + self.repeats + self.duplicates + self.bad

    @property
    def first_second(self) -> int:
        """``start`` in seconds since 1970 UTC."""
        try:
            day = datetime.fromisoformat(self.start)
        except ValueError as error:
            raise UsageError(f"start must be a day like 2010-01-01, got {self.start!r}") from error
        return int(day.replace(tzinfo=UTC).timestamp())

    def as_dict(self) -> dict[str, Any]:
        """The values, for JSON."""
        return asdict(self)


def _need(fits: bool, message: str) -> None:
    if not fits:
        raise UsageError(f"planted: {message}")
