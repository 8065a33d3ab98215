"""Loops over (user, item) pairs on the CPU (numba): order, repeats, peeling; none is parallel.

Shapes: P pairs, U users, I items; codes are 0 … U - 1 and 0 … I - 1.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Codes = NDArray[np.int32]
Ints = NDArray[np.int64]

FEW = 48
"""So many rows of a user are put in order by insertion, more by a sort."""


@njit(cache=True, nogil=True)
def sort_pairs(
    users_P: Codes, items_P: Codes, places_P: Ints, times_P: Ints, n_users: int
) -> tuple[Codes, Codes, Ints, Ints]:
    """The pairs by (user, item), one of each, with the smallest place and time of its repeats.

    Each row is moved once, to its user's stretch; there the few rows are put in order by item.
    """
    ends_U = np.zeros(n_users + 1, dtype=np.int64)
    for user in users_P:
        ends_U[user + 1] += 1
    for user in range(n_users):
        ends_U[user + 1] += ends_U[user]
    users, items = np.empty_like(users_P), np.empty_like(items_P)
    places, times = np.empty_like(places_P), np.empty_like(times_P)
    for row in range(len(users_P)):
        to = ends_U[users_P[row]]
        ends_U[users_P[row]] += 1
        items[to], places[to], times[to] = items_P[row], places_P[row], times_P[row]
    n = np.int64(0)
    start = np.int64(0)
    for user in range(n_users):
        end = ends_U[user]
        _sort_stretch(items, places, times, start, end)
        for row in range(start, end):
            if row > start and items[row] == items[n - 1]:
                places[n - 1] = min(places[n - 1], places[row])
                times[n - 1] = min(times[n - 1], times[row])
            else:
                users[n], items[n] = user, items[row]
                places[n], times[n] = places[row], times[row]
                n += 1
        start = end
    return users[:n].copy(), items[:n].copy(), places[:n].copy(), times[:n].copy()


@njit(cache=True, nogil=True)
def _sort_stretch(items: Codes, places: Ints, times: Ints, start: int, end: int) -> None:
    """Put rows start … end - 1 in order of their items."""
    if end - start > FEW:
        order = start + np.argsort(items[start:end])
        items[start:end] = items[order]
        places[start:end] = places[order]
        times[start:end] = times[order]
        return
    for row in range(start + 1, end):
        item, place, time = items[row], places[row], times[row]
        to = row
        while to > start and items[to - 1] > item:
            items[to], places[to], times[to] = items[to - 1], places[to - 1], times[to - 1]
            to -= 1
        items[to], places[to], times[to] = item, place, time


@njit(cache=True, nogil=True)
def peel(users_P: Codes, items_P: Codes, n_users: int, n_items: int, k: int) -> tuple[Ints, int]:
    """The rows of the k-core, ascending, and the rounds it took; ``mrl4rec.kcore`` defines both.

    Every pass looks only at what is left, and brings the degrees of the other side up to date.
    """
    degree_U, degree_I = np.zeros(n_users, np.int64), np.zeros(n_items, np.int64)
    for row in range(len(users_P)):
        degree_U[users_P[row]] += 1
        degree_I[items_P[row]] += 1
    rows = np.arange(len(users_P))
    users, items = users_P.copy(), items_P.copy()
    left, rounds = len(rows), 0
    while left:
        kept = _pass(rows, left, users, items, degree_U, degree_I, k)
        kept = _pass(rows, kept, items, users, degree_I, degree_U, k)
        if kept == left:
            break
        left, rounds = kept, rounds + 1
    return rows[:left].copy(), rounds


@njit(cache=True, nogil=True)
def _pass(
    rows: Ints, left: int, codes: Codes, others: Codes, degree: Ints, degree_other: Ints, k: int
) -> int:
    """Of the first ``left`` pairs move those whose code has k of them to the front; how many."""
    kept = 0
    for n in range(left):
        code, other = codes[n], others[n]
        rows[kept], codes[kept], others[kept] = rows[n], code, other
        if degree[code] >= k:
            kept += 1
        else:
            degree_other[other] -= 1
    return kept


@njit(cache=True, nogil=True)
def first_places(codes_P: Codes, places_P: Ints, n_codes: int, never: int) -> Ints:
    """The smallest place of each code, (n_codes,); ``never`` for a code without a pair."""
    first = np.full(n_codes, never, dtype=np.int64)
    for row in range(len(codes_P)):
        code = codes_P[row]
        first[code] = min(first[code], places_P[row])
    return first
