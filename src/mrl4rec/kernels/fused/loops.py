"""Loops inside the loops, compiled into both."""

from __future__ import annotations

from typing import Any

from numba import njit

from mrl4rec.kernels.fused.memory import CHUNKS
from mrl4rec.kernels.vector import add_scaled, prefetch


@njit(inline="always")
def prefetch_row(tables: Any, row: int) -> None:
    """Ask for a row, its moments and the step it is at."""
    prefetch(tables.at_R, row, 1)
    prefetch(tables.rows, row, tables.rows.shape[1])


@njit(inline="always")
def block(c: int, n: int) -> tuple[int, int]:
    """The c-th of ``CHUNKS`` stretches of ``range(n)``, neighbours far apart in c.

    Threads take neighbouring c; popular items are neighbours; so each thread gets some of them.
    """
    reversed_ = 0
    for bit in range(6):
        reversed_ |= ((c >> bit) & 1) << (5 - bit)
    return reversed_ * n // CHUNKS, (reversed_ + 1) * n // CHUNKS


@njit(inline="always")
def add_tails(
    out: Any, row: int, sign: Any, batch: Any, b: int, source: Any, place: int, recipe: Any
) -> None:
    """``out[row] += sign · Σ_p slope_p · source[place, :w_p]``: what an item that serves all pairs
    of example b gives, each stretch between two widths at once.
    """
    low = 0
    for p in range(recipe.widths_P.shape[0]):
        high = recipe.widths_P[p]
        if high > low:
            add_scaled(out, row, sign * batch.tails_BP[b, p], source, place, low, high)
            low = high


@njit(inline="always")
def add_negative(
    out: Any, row: int, k: int, batch: Any, b: int, source: Any, place: int, recipe: Any
) -> None:
    """What the k-th negative of example b gives: its own pair's part, or all where it is alone."""
    if recipe.widths_L.shape[0] == recipe.widths_P.shape[0]:
        width = recipe.widths_P[k]
        add_scaled(out, row, batch.slopes_BP[b, k], source, place, 0, width)
    else:
        add_tails(out, row, batch.slopes_BP.dtype.type(1), batch, b, source, place, recipe)
