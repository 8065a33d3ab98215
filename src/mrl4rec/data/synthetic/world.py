"""Who likes what: the arrays behind a planted dump, each a pure function of the spec.

Shapes: U users, I items, L leaves, N good rows (*slots*, in the order of users). At the peak about
30 bytes a row are held; the rows themselves never are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.hashing import MIX_1, MIX_2, chain, chain_array, permutation
from mrl4rec.data.synthetic.spec import DAY, Planted

# Streams of hashes of this room alone; the first word separates them from all other uses.
ROOM = 0x706C616E74  # "plant"
(USER_LEAF, ITEM_LEAF, POPULARITY, ACTIVITY, LEVEL, PICK, ORDER, RATING, USER_ID, ITEM_ID, TIME,
 EXTRA) = range(12)  # fmt: skip

BLOCK_SLOTS = 1 << 18
PATIENT_TRIES = 8
"""After so many refused choices a user takes any item: the own corner is read through."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """Everything that a row is made of."""

    spec: Planted
    user_leaf_U: NDArray[np.int32]
    item_leaf_I: NDArray[np.int32]
    first_slot_U: Ints
    """Slot of each user's first review; one more entry closes the last."""
    item_N: NDArray[np.int32]
    level_N: NDArray[np.int8]
    """How far each choice reached: 0 own leaf, …, the last anywhere."""
    slot_N: NDArray[np.int32]
    """Slot of the n-th good row of the file."""

    def rows(self, n: Ints) -> tuple[Ints, NDArray[np.int32], NDArray[np.int8], Ints]:
        """User, item, rating and time (s since 1970) of the good rows at these places."""
        slot = self.slot_N[n]
        user = np.searchsorted(self.first_slot_U, slot, side="right") - 1
        return user, self.item_N[slot], self.rating(slot), self.time(n)

    def rating(self, slot: NDArray[np.integer], extra: int = 0) -> NDArray[np.int8]:
        """1…5: the nearer the choice, the better it was liked. ``extra`` gives another opinion."""
        dice = unit(chain(ROOM, self.spec.seed, RATING, extra), slot)
        return opinion(self.level_N[slot], len(self.spec.reach) - 1, dice)

    def time(self, n: Ints) -> Ints:
        """Seconds since 1970 of the n-th good row: strictly rising, one step of the span each."""
        step = self.spec.span_days * DAY // self.spec.reviews
        word = chain_array(chain(ROOM, self.spec.seed, TIME), n)
        return self.spec.first_second + n * step + (word % np.uint64(step)).astype(np.int64)


def build(spec: Planted) -> World:
    """Place users and items in the tree and let every user choose."""
    user_leaf = _leaves(spec, spec.users, USER_LEAF)
    item_leaf = _leaves(spec, spec.items, ITEM_LEAF)
    degrees = _degrees(spec)
    first_slot = np.concatenate([[0], np.cumsum(degrees)])
    shelves = Shelves(item_leaf, _popularity(spec), spec.branching)
    items = np.empty(spec.reviews, dtype=np.int32)
    levels = np.empty(spec.reviews, dtype=np.int8)
    start = 0
    while start < spec.users:
        end = int(np.searchsorted(first_slot, first_slot[start] + BLOCK_SLOTS, side="right")) - 1
        end = min(max(end, start + 1), spec.users)
        block = slice(first_slot[start], first_slot[end])
        users = np.repeat(np.arange(start, end), degrees[start:end])
        items[block], levels[block] = _choose(spec, shelves, users, user_leaf[users], block.start)
        start = end
    order = permutation(spec.reviews, ROOM, spec.seed, ORDER).astype(np.int32)
    return World(spec, user_leaf, item_leaf, first_slot, items, levels, order)


def opinion(level: NDArray[np.integer], most: int, dice: NDArray[np.float64]) -> NDArray[np.int8]:
    """1…5 of choices that reached ``level`` of ``most``: the nearer, the better they were liked."""
    liking = 5.2 - 1.6 * level / max(most, 1)  # most are 4 and 5, as in the dumps
    return np.clip(np.floor(liking + 2.4 * (dice - 0.6)), 1, 5).astype(np.int8)


class Shelves:
    """Items sorted by leaf with running weights, so that every group is one stretch of a line."""

    def __init__(
        self,
        item_leaf_I: NDArray[np.int32],
        weight_I: NDArray[np.float64],
        branching: tuple[int, ...],
    ) -> None:
        self.order = np.argsort(item_leaf_I, kind="stable")
        self.line = np.concatenate([[0], np.cumsum(weight_I[self.order])])
        leaves = math.prod(branching)
        self.starts = np.searchsorted(item_leaf_I[self.order], np.arange(leaves + 1))
        reversed_sizes = np.cumprod([1, *reversed(branching)])
        self.leaves_in = reversed_sizes.astype(np.int64)
        """Leaves in a group at each reach: 1 at the own leaf, all at the last."""

    def pick(
        self, leaf: NDArray[np.int32], level: NDArray[np.int8], dice: NDArray[np.float64]
    ) -> NDArray[np.int32]:
        """An item of the group around ``leaf`` at ``level``, by popularity."""
        size = self.leaves_in[level]
        group = leaf // size * size
        low = self.line[self.starts[group]]
        high = self.line[self.starts[group + size]]
        place = np.searchsorted(self.line, low + dice * (high - low), side="right") - 1
        last = self.starts[group + size] - 1  # rounding may carry the dice over the edge
        return self.order[np.clip(place, self.starts[group], last)].astype(np.int32)


def _choose(
    spec: Planted, shelves: Shelves, user_S: Ints, leaf_S: NDArray[np.int32], first_slot: int
) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """One item for each of the S slots of a block of users, none twice for one user.

    A slot whose item its user has already draws again; the lower slot wins a tie.
    """
    n = len(user_S)
    item, level = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int8)
    shares = np.cumsum(spec.reach)[:-1]
    taken = np.empty(0, dtype=np.int64)
    open_ = np.arange(n)
    attempt = 0
    while len(open_):
        slot = first_slot + open_
        far = unit(chain(ROOM, spec.seed, LEVEL, attempt), slot)
        reach = np.searchsorted(shares, far, side="right").astype(np.int8)
        if attempt < PATIENT_TRIES:
            dice = unit(chain(ROOM, spec.seed, PICK, attempt), slot)
            picked = shelves.pick(leaf_S[open_], reach, dice)
        else:
            reach[:] = len(shares)
            words = chain_array(chain(ROOM, spec.seed, PICK, attempt), slot)
            picked = (words % np.uint64(spec.items)).astype(np.int32)
        key = user_S[open_] * spec.items + picked
        _, first = np.unique(key, return_index=True)
        won = np.zeros(len(open_), dtype=bool)
        won[first] = True
        won &= ~np.isin(key, taken)
        item[open_[won]], level[open_[won]] = picked[won], reach[won]
        taken = np.concatenate([taken, key[won]])
        open_ = open_[~won]
        attempt += 1
    return item, level


def _leaves(spec: Planted, n: int, stream: int) -> NDArray[np.int32]:
    """A leaf for each of n, as evenly as can be, by a hashed permutation."""
    leaf = np.empty(n, dtype=np.int32)
    leaf[permutation(n, ROOM, spec.seed, stream)] = np.arange(n) * spec.leaves // n
    return leaf


def _popularity(spec: Planted) -> NDArray[np.float64]:
    """How likely each item is chosen among those of its group, by Zipf."""
    rank = np.empty(spec.items)
    rank[permutation(spec.items, ROOM, spec.seed, POPULARITY)] = np.arange(1, spec.items + 1)
    return np.asarray(rank**-spec.popularity_skew)


def _degrees(spec: Planted) -> Ints:
    """How often each user reviews: ``least`` and a share of the rest by Zipf, never above most."""
    weight = np.empty(spec.users)
    ranks = np.arange(1, spec.users + 1, dtype=np.float64)
    weight[permutation(spec.users, ROOM, spec.seed, ACTIVITY)] = ranks**-spec.activity_skew
    degrees = np.full(spec.users, spec.least, dtype=np.int64)
    left = spec.reviews - int(degrees.sum())
    while left > 0:
        room = spec.most - degrees
        weight[room == 0] = 0
        more = np.minimum(np.floor(left * weight / weight.sum()).astype(np.int64), room)
        if not more.any():  # fewer left than the shares can divide: one each for the most active
            best = np.lexsort((np.arange(spec.users), -weight))[:left]
            more[best[room[best] > 0]] = 1
        degrees += more
        left -= int(more.sum())
    return degrees


def unit(prefix: int, place: NDArray[np.integer]) -> NDArray[np.float64]:
    """A number in [0, 1) for each place."""
    return (chain_array(prefix, place) >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def external(spec: Planted, stream: int, n: int) -> list[str]:
    """The ids as the dump spells them: A and 13 hex digits for users, B and 9 for items."""
    return spelled(spec.seed, stream, n)


def spelled(seed: int, stream: int, n: int) -> list[str]:
    """Ids of the first n users or items, of any world with this seed.

    A bijection of the numbers, so no two are alike, and their order says nothing.
    """
    prefix, digits = ("A", 13) if stream == USER_ID else ("B", 9)
    bits = 4 * digits
    mask, half = np.uint64((1 << bits) - 1), np.uint64(bits // 2)
    x = (np.arange(n, dtype=np.uint64) + np.uint64(chain(ROOM, seed, stream))) & mask
    for odd in (MIX_1, MIX_2):
        x = (x * np.uint64(odd)) & mask
        x ^= x >> half
    return [f"{prefix}{value:0{digits}X}" for value in x.tolist()]
