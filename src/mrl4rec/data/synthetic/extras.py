"""Rows on request: repeats, duplicates and bad rows, and where in the file they come."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.hashing import chain, chain_array, permutation
from mrl4rec.data.synthetic.spec import BAD_KINDS, Planted
from mrl4rec.data.synthetic.world import EXTRA, ROOM, Ints

REPEAT, DUPLICATE, DUPLICATE_RATED, BAD = range(4)


@dataclass(frozen=True)
class Extras:
    """X extra rows in the order of the file; each comes after good row ``after_X``."""

    kind_X: NDArray[np.int8]
    source_X: Ints
    """The good row it is made of."""
    after_X: Ints
    bad_X: NDArray[np.int8]
    """Which of BAD_KINDS, -1 for the others."""

    def between(self, start: int, end: int) -> slice:
        """The extras that come after the good rows start … end - 1."""
        low, high = np.searchsorted(self.after_X, [start, end])
        return slice(int(low), int(high))


def plan(spec: Planted) -> Extras:
    """Place the extra rows; every count is exact."""
    # A repeat takes the time of a later row, so its time is new; each has a source of its own,
    # so no two repeats are one key. The last row has no later one.
    order = permutation(spec.reviews, ROOM, spec.seed, EXTRA, REPEAT)
    repeated = order[order < spec.reviews - 1][: spec.repeats]
    n_same = spec.duplicates + spec.bad
    place = np.arange(n_same)
    source = _below(spec, 0, place, np.full(n_same, spec.reviews))
    sources = np.concatenate([repeated, source])
    least = np.concatenate([repeated + 1, source])
    after = least + _below(spec, 1, np.arange(len(least)), spec.reviews - least)
    kinds = np.full(len(sources), BAD, dtype=np.int8)
    kinds[: spec.repeats] = REPEAT
    same = slice(spec.repeats, spec.repeats + spec.duplicates)
    kinds[same] = np.where(np.arange(spec.duplicates) % 2, DUPLICATE_RATED, DUPLICATE)
    bad = np.full(len(sources), -1, dtype=np.int8)
    bad[same.stop :] = np.arange(spec.bad) % len(BAD_KINDS)
    at = np.argsort(after, kind="stable")
    return Extras(kinds[at], sources[at], after[at], bad[at])


def spoil(kind: str, user: str, item: str, rating: int, second: int) -> str:
    """A record that would be good but for one thing, as a JSON line without its end."""
    record: dict[str, object] = {
        "overall": float(rating),
        "verified": True,
        "reviewerID": user,
        "asin": item,
        "unixReviewTime": second,
    }
    if kind == "not_json":
        return json.dumps(record)[:-9]  # cut off in the middle of the time
    changes: dict[str, tuple[str, object]] = {
        "no_user": ("reviewerID", "  "),
        "no_item": ("asin", None),
        "no_time": ("unixReviewTime", None),
        "bad_time": ("unixReviewTime", "last week"),
        "negative_time": ("unixReviewTime", -second),
        "future_time": ("unixReviewTime", second + 5_000_000_000),  # 158 years later
        "time_unit": ("unixReviewTime", second * 1000),
        "bad_rating": ("overall", "five stars"),
        "rating_out_of_range": ("overall", 0.0 if second % 2 else 6.0),
    }
    name, value = changes[kind]
    return json.dumps({**record, name: value})


def _below(spec: Planted, stream: int, place: Ints, limit: Ints) -> Ints:
    """A whole number in [0, limit) for each place."""
    words = chain_array(chain(ROOM, spec.seed, EXTRA, BAD + 1 + stream), place)
    return (words % limit.astype(np.uint64)).astype(np.int64)
