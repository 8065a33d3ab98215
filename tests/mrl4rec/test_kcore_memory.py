"""The in-memory k-core: definition, against a naive peel, and the numbering."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec import kcore
from mrl4rec.errors import Mrl4recError

PAIRS = st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=50)


def naive(pairs: set[tuple[int, int]], k: int) -> set[tuple[int, int]]:
    """Drop one offender at a time until there is none."""
    pairs = set(pairs)
    while True:
        for side in (0, 1):
            names = [pair[side] for pair in pairs]
            poor = next((name for name in names if names.count(name) < k), None)
            if poor is not None:
                pairs = {pair for pair in pairs if pair[side] != poor}
                break
        else:
            return pairs


def arrays(pairs: set[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    rows = np.array(sorted(pairs), dtype=np.int32).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


@settings(deadline=None)  # the first call compiles
@given(PAIRS, st.integers(0, 4))
def test_core_is_the_largest_with_k_on_both_sides(pairs: set[tuple[int, int]], k: int) -> None:
    users, items = arrays(pairs)
    rows, rounds = kcore.peel(users, items, k)
    left = {(int(users[r]), int(items[r])) for r in rows}
    assert left == naive(pairs, k)
    assert list(rows) == sorted(rows)
    assert (rounds == 0) == (left == pairs)
    for codes in (users[rows], items[rows]):
        assert not len(codes) or np.unique(codes, return_counts=True)[1].min() >= k


def test_rounds_count_users_then_items() -> None:
    # Path u0-i0-u1-i1-u2 with k=2. Round 1: u0, u2 go, then i0 and i1 have one each: all empty.
    users, items = arrays({(0, 0), (1, 0), (1, 1), (2, 1)})
    rows, rounds = kcore.peel(users, items, 2)
    assert (len(rows), rounds) == (0, 1)


def test_distinct_keeps_the_smallest_place_and_time() -> None:
    pairs = kcore.Pairs(
        np.array([1, 0, 1, 1], np.int32),
        np.array([0, 0, 0, 1], np.int32),
        np.array([7, 3, 2, 9]),
        np.array([kcore.NEVER, 5, 8, kcore.NEVER]),
        pa.array(["a", "b"]),
        pa.array(["x", "y"]),
    )
    got = kcore.distinct(pairs)
    assert got.users_P.tolist() == [0, 1, 1]
    assert got.items_P.tolist() == [0, 0, 1]
    assert got.places_P.tolist() == [3, 2, 9]
    assert got.times_P.tolist() == [5, 8, kcore.NEVER]


@pytest.mark.parametrize("bad", ["007", "-1", "1.0", "x", "", "1e3", "99999999999"])
def test_integer_ids_must_be_plain_numbers(bad: str) -> None:
    with pytest.raises(Mrl4recError, match="not a plain number"):
        kcore.integers(pa.array(["3", bad]), "user")


def test_integer_ids_far_apart_are_refused() -> None:
    with pytest.raises(Mrl4recError, match="cannot be rows"):
        kcore.integers(pa.array(["3", "2000000"]), "user")
    assert kcore.integers(pa.array(["12", "0"]), "user").tolist() == [12, 0]
