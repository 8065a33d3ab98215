"""Compiled loops that hold no lock, on plain threads: stretches of rows, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mrl4rec.core import lazy

with lazy.imports():
    from mrl4rec.core import processes

T = TypeVar("T")


def spread(work: Callable[[int, int], T], n: int, at_once: int) -> list[T]:
    """``work(first, last)`` for every stretch of ``at_once`` of the n rows; answers in order."""
    starts = range(0, n, at_once)

    def part(first: int) -> T:
        return work(first, min(first + at_once, n))

    n_threads = processes.threads()
    if n_threads == 1 or len(starts) < 2:
        return [part(first) for first in starts]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(part, starts))
