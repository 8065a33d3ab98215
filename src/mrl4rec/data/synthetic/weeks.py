"""A world that goes on week after week: people and things come, tastes move, nobody knows when.

Each week is a pure function of the spec and of the weeks before it, whoever asks for how many. What
is delivered of it, late, twice or poisoned, is ``deliveries``' affair.

Shapes: U users and I items that have come so far, N rows of a week.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.hashing import chain, chain_array
from mrl4rec.data.synthetic.spec import DAY
from mrl4rec.data.synthetic.world import Ints, Shelves, opinion, unit

# Streams of hashes of this room alone; the first word separates them from all other uses.
ROOM = 0x7765656B73  # "weeks"
(LEAF, WEIGHT, MOVE, TO, WHO, LEVEL, PICK, RATING, TIME, LATE, TWICE, POISON) = range(12)
USER, ITEM = range(2)

WEEK = 7 * DAY
"""Seconds."""
POISONS = ("shuffled", "flood")
"""``shuffled``: the item ids are permuted among the rows; ``flood``: one item takes a large share
of them."""
GENERATOR = 1
"""Raised whenever the same spec gives other dumps."""
PATIENCE = 64
"""Draws for a row, after which there is no room in the world."""


@dataclass(frozen=True)
class Weekly:
    """Weekly dumps as a pure function of these values. Raises UsageError where they do not fit.

    Dump 0 is the history; dump 1, 2, … bring a week each, for as long as anybody asks.
    """

    history: int = 8
    """Weeks that the first dump holds."""
    reviews: int = 5_000
    """New pairs of user and item a week."""
    users: int = 1_500
    """That are there when the history begins."""
    items: int = 1_000
    new_users: int = 50
    """That come each week after it."""
    new_items: int = 20
    branching: tuple[int, ...] = (4, 4)
    """Groups within groups: (4, 4) is 4 groups of 4 leaves."""
    reach: tuple[float, ...] = (0.6, 0.25, 0.15)
    """Shares of choices in the own leaf, the group around it, …, and anywhere (the last)."""
    busiest: float = 4.0
    """So many times as often as the idlest does the busiest user review; log-uniform between."""
    most_popular: float = 30.0
    """The same for how often an item is chosen among those of its group."""
    moving_users: float = 0.03
    """Share of users whose taste moves into another leaf each week."""
    moving_items: float = 0.01
    """Share of items that change their group each week."""
    late: float = 0.04
    """Share of rows that land one to three dumps after their week's."""
    repeated: float = 0.03
    """Rows a dump, as a share of the week's, that were delivered before, in it or the last one."""
    poisoned: int | None = None
    """Number of the dump that is poisoned, from 1 on; None: none is."""
    poison: str = "shuffled"
    """One of POISONS."""
    flood: float = 0.4
    """Share of the rows that one item takes in a flood."""
    start: str = "2020-01-06"
    """Day on which the history begins, UTC."""
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = (self.history, self.reviews, self.users, self.items, *self.branching)
        _need(all(n >= 1 for n in sizes), "sizes and weeks of history must be ≥ 1")
        _need(min(self.new_users, self.new_items) >= 0, "new users and items must be ≥ 0")
        _need(
            len(self.reach) == len(self.branching) + 1,
            f"reach needs {len(self.branching) + 1} shares, got {len(self.reach)}",
        )
        _need(math.isclose(sum(self.reach), 1), f"the shares of reach must sum to 1: {self.reach}")
        shares = {name: getattr(self, name) for name in
                  ("moving_users", "moving_items", "late", "repeated", "flood")}  # fmt: skip
        for name, share in {**shares, "reach": min(self.reach)}.items():
            _need(0 <= share <= 1, f"{name} is a share in [0, 1], got {share}")
        _need(min(self.busiest, self.most_popular) >= 1, "busiest and most_popular must be ≥ 1")
        _need(self.leaves > 1, "tastes need at least 2 leaves to move between")
        _need(
            self.leaves <= min(self.users, self.items),
            f"{self.leaves} leaves need at least as many users and items",
        )
        _need(self.reviews <= WEEK, f"a week has seconds for {WEEK:,} reviews")
        _need(self.poison in POISONS, f"poison is one of {', '.join(POISONS)}, got {self.poison!r}")
        _need(
            self.poisoned is None or self.poisoned >= 1,
            f"the poisoned week is {self.poisoned}: the first dump is the history, so 1 or later",
        )
        self.ends(0)

    @property
    def leaves(self) -> int:
        """Leaves of the tree."""
        return math.prod(self.branching)

    def begins(self, week: int) -> datetime:
        """First moment of a week, counted from the begin of the history on."""
        try:
            day = datetime.fromisoformat(self.start)
            return day.replace(tzinfo=UTC) + timedelta(weeks=week)
        except (ValueError, OverflowError) as error:
            raise UsageError(f"start must be a day like 2020-01-06, got {self.start!r}") from error

    def ends(self, dump: int) -> datetime:
        """The moment after the last one that a dump tells of."""
        return self.begins(self.history + dump)

    def dump_of(self, week: int) -> int:
        """The dump that a week's rows are due in."""
        return max(0, week - self.history + 1)

    def as_dict(self) -> dict[str, Any]:
        """The values, for JSON."""
        return {**asdict(self), "generator": GENERATOR}


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of numbers; each has a user, item and time (s since 1970) of its own."""

    user_N: NDArray[np.int32]
    item_N: NDArray[np.int32]
    rating_N: NDArray[np.int8]
    time_N: Ints

    def __len__(self) -> int:
        return len(self.user_N)

    def at(self, places: NDArray[Any]) -> Rows:
        """These of them, by place or by mask."""
        return Rows(*(column[places] for column in self.columns))

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """User, item, rating, time."""
        return self.user_N, self.item_N, self.rating_N, self.time_N

    @staticmethod
    def joined(parts: list[Rows]) -> Rows:
        """One after the other."""
        return Rows(*map(np.concatenate, zip(*(part.columns for part in parts), strict=True)))


@dataclass(frozen=True, eq=False)
class Week:
    """What is true of one week."""

    number: int
    """From the begin of the history on."""
    rows: Rows
    """In the order of time; no pair was there before, nor is here twice."""
    user_leaf_U: NDArray[np.int32]
    """Where each user's taste is in this week."""
    item_leaf_I: NDArray[np.int32]
    moved_users: int
    """How many changed their leaf since the week before."""
    moved_items: int


def play(spec: Weekly) -> Iterator[Week]:
    """Week after week, without end. Raises Mrl4recError where all pairs are taken."""
    leaf_U, leaf_I = (np.empty(0, dtype=np.int32) for _ in (USER, ITEM))
    taken = np.empty(0, dtype=np.int64)
    week = 0
    while True:
        leaf_U, moved_users = _moved(spec, USER, week, leaf_U, spec.moving_users)
        leaf_I, moved_items = _moved(spec, ITEM, week, leaf_I, spec.moving_items)
        leaf_U = _arrived(spec, USER, leaf_U, spec.users + week * spec.new_users)
        leaf_I = _arrived(spec, ITEM, leaf_I, spec.items + week * spec.new_items)
        rows, taken = _chosen(spec, week, leaf_U, leaf_I, taken)
        yield Week(week, rows, leaf_U, leaf_I, moved_users, moved_items)
        week += 1


def _arrived(spec: Weekly, side: int, leaf: NDArray[np.int32], n: int) -> NDArray[np.int32]:
    """Users or items are numbered as they come; each takes a leaf by hash."""
    numbers = np.arange(len(leaf), n)
    words = chain_array(chain(ROOM, spec.seed, LEAF, side), numbers)
    return np.concatenate([leaf, (words % np.uint64(spec.leaves)).astype(np.int32)])


def _moved(
    spec: Weekly, side: int, week: int, leaf: NDArray[np.int32], share: float
) -> tuple[NDArray[np.int32], int]:
    """The leaves after this week's moves, and how many moved: each into any other leaf."""
    numbers = np.arange(len(leaf))
    moves = unit(chain(ROOM, spec.seed, MOVE, side, week), numbers) < share
    words = chain_array(chain(ROOM, spec.seed, TO, side, week), numbers)
    steps = 1 + (words % np.uint64(spec.leaves - 1)).astype(np.int32)
    there = np.where(moves, (leaf + steps) % spec.leaves, leaf)
    return there.astype(np.int32), int(moves.sum())


def _weights(spec: Weekly, side: int, n: int) -> NDArray[np.float64]:
    most = (spec.busiest, spec.most_popular)[side]
    return np.asarray(most ** unit(chain(ROOM, spec.seed, WEIGHT, side), np.arange(n)))


def _chosen(
    spec: Weekly,
    week: int,
    leaf_U: NDArray[np.int32],
    leaf_I: NDArray[np.int32],
    taken: Ints,
) -> tuple[Rows, Ints]:
    """The rows of a week, and all pairs taken so far, sorted; one that is taken is drawn again."""
    shelves = Shelves(leaf_I, _weights(spec, ITEM, len(leaf_I)), spec.branching)
    busy = np.cumsum(_weights(spec, USER, len(leaf_U)))
    shares = np.cumsum(spec.reach)[:-1]
    user, item = (np.empty(spec.reviews, dtype=np.int32) for _ in (USER, ITEM))
    level = np.empty(spec.reviews, dtype=np.int8)
    open_ = np.arange(spec.reviews)
    for attempt in range(PATIENCE):
        if not len(open_):
            break
        place = (spec.seed, week, attempt)
        dice, far, who = (unit(chain(ROOM, stream, *place), open_) for stream in (PICK, LEVEL, WHO))
        drawn = np.searchsorted(busy, who * busy[-1], side="right").clip(max=len(busy) - 1)
        reached = np.searchsorted(shares, far, side="right").astype(np.int8)
        reached = _stocked(shelves, leaf_U[drawn], reached)
        picked = shelves.pick(leaf_U[drawn], reached, dice)
        key = (drawn.astype(np.int64) << 32) | picked
        won = np.zeros(len(open_), dtype=bool)
        won[np.unique(key, return_index=True)[1]] = True
        won &= ~_has(taken, key)
        here = open_[won]
        user[here], item[here], level[here] = drawn[won], picked[won], reached[won]
        taken = np.sort(np.concatenate([taken, key[won]]), kind="stable")
        open_ = open_[~won]
    else:
        raise Mrl4recError(
            f"week {week}: {len(open_):,} reviews find no pair that is new",
            todo="plant fewer reviews a week, or more users and items",
        )
    n = np.arange(spec.reviews)
    rating = opinion(level, len(shares), unit(chain(ROOM, spec.seed, RATING, week), n))
    return Rows(user, item, rating, _times(spec, week, n)), taken


def _has(taken: Ints, key: Ints) -> NDArray[np.bool_]:
    """Which of the keys are among the sorted ones."""
    at = np.searchsorted(taken, key)
    return np.asarray(np.append(taken, -1)[at] == key)


def _stocked(
    shelves: Shelves, leaf: NDArray[np.int32], level: NDArray[np.int8]
) -> NDArray[np.int8]:
    """The same levels, but further out where there is no item in the group."""
    out = level
    for reach, size in enumerate(shelves.leaves_in[:-1]):
        group = leaf // size * size
        bare = shelves.starts[group] == shelves.starts[group + size]
        out = np.where((out == reach) & bare, np.int8(reach + 1), out)
    return out


def _times(spec: Weekly, week: int, n: Ints) -> Ints:
    """Strictly rising within the week, one step of it each."""
    step = WEEK // spec.reviews
    words = chain_array(chain(ROOM, spec.seed, TIME, week), n)
    first = int(spec.begins(week).timestamp())
    return first + n * step + (words % np.uint64(step)).astype(np.int64)


def _need(fits: bool, message: str) -> None:
    if not fits:
        raise UsageError(f"weekly dumps: {message}")
