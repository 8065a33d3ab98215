"""Training: an epoch by each engine, and a step as the item table grows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.benchmarks import probe
from tests.benchmarks.context import MILLION, Context, engines
from tests.benchmarks.row import Row, Target
from tests.benchmarks.rows.beside import Measured, against, row

AUTHORS_EPOCH = 15.0
"""Seconds of an MRL-M epoch on Phones by the paper authors' code on two cores
(docs/performance.md#the-authors-code)."""
AUTHORS = "the authors' code (published figure)"
EPOCHS = 12
GPU_EPOCH = 0.1


def epoch(context: Context) -> Iterator[Row]:
    """An epoch without evaluation, the median of several; engines against each other."""
    data = context.training_data()
    for method in ("MRL-M", "BPR-D"):
        found = {engine: _epoch(data, method, engine, "cpu") for engine in engines()}
        yield from _epoch_rows(context, method, found)
    if Path("/dev/nvidiactl").exists():
        ours = _epoch(data, "MRL-M", "autograd", "cuda")
        target = None if context.small else Target("seconds", GPU_EPOCH)
        yield row("epoch", "MRL-M epoch, autograd, on the GPU", ours, target)


def _epoch(
    data: dict[str, Any], method: str, engine: str, device: str, epochs: int = EPOCHS
) -> Measured:
    return probe.ask("epoch", data=data, method=method, engine=engine, device=device, epochs=epochs)


def _epoch_rows(context: Context, method: str, found: dict[str, Measured]) -> Iterator[Row]:
    """Each engine against the authors (on their data), and the others against autograd."""
    published = {"seconds": AUTHORS_EPOCH}, found["autograd"][1]
    for engine, ours in found.items():
        work = f"{method} epoch, {engine}"
        if method == "MRL-M" and not context.small:
            target = Target("ratio", 1 / 50) if engine == "fused" else None
            line = against("epoch", work, ours, (AUTHORS, published), target)
            yield replace(line, peer_cpu_seconds=None, peer_peak_gb=None)
        elif engine == "autograd":
            yield row("epoch", work, ours)
        if engine != "autograd":
            target = Target("ratio", 1 / 7) if method == "MRL-M" else None
            yield against("epoch", work, ours, ("our autograd engine", found["autograd"]), target)


def growth(context: Context) -> Iterator[Row]:
    """The same pairs and batch, items drawn from a small and from a large table.

    Of the fused engine alone: a dense step of ``autograd`` goes over the whole table by design.
    """
    users, pairs = (500, 8_000) if context.small else (20_000, 400_000)
    tables = (1_000, 5_000) if context.small else (10_000, MILLION)
    steps = []
    for items in tables:
        data = {"kind": "random", "users": users, "items": items, "pairs": pairs}
        answer, outcome = _epoch(data, "MRL-M", "fused", "cpu", 5)
        steps.append(({**answer, "seconds": answer["seconds"] / answer["steps"]}, outcome))
    small, large = steps
    peer = (f"the same with {tables[0]:,} items", small)
    work = f"one step of MRL-M, fused, {tables[1]:,} items"
    yield against("epoch-growth", work, large, peer, Target("ratio", 1.5))
