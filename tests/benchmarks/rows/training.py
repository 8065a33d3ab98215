"""Training: an epoch by each engine, and a step as the item table grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks import probe
from tests.benchmarks.context import MILLION, Context, engines
from tests.benchmarks.row import Row, Target
from tests.benchmarks.rows.beside import Measured, against, row

PLAIN = "PyTorch, a plain loop: candidates drawn in Python, dense Adam"
AUTHORS = "the authors' code"
EPOCHS = 12
GPU_EPOCH = 0.1


def epoch(context: Context) -> Iterator[Row]:
    """An epoch without evaluation, the median of several; engines against each other and others."""
    data = context.training_data()
    for method in ("MRL-M", "BPR-D"):
        found = {engine: _epoch(data, method, engine, "cpu") for engine in engines()}
        plain = probe.ask("epoch-plain", data=data, method=method)
        yield from _epoch_rows(context, method, found, plain)
    ours = _epoch(data, "BPR", "fused", "cpu")
    peer = ("implicit, BPR", probe.ask("epoch-implicit", data=data, epochs=EPOCHS))
    yield against("epoch", "BPR epoch, fused", ours, peer)
    recbole = probe.ask("epoch-recbole", data=data, model="BPR", folder=context.scratch)
    yield against("epoch", "BPR epoch, fused", ours, ("RecBole, BPR", recbole))
    if Path("/dev/nvidiactl").exists():
        ours = _epoch(data, "MRL-M", "autograd", "cuda")
        target = None if context.small else Target("seconds", GPU_EPOCH)
        yield row("epoch", "MRL-M epoch, autograd, on the GPU", ours, target)


def _epoch(
    data: dict[str, Any], method: str, engine: str, device: str, epochs: int = EPOCHS
) -> Measured:
    return probe.ask("epoch", data=data, method=method, engine=engine, device=device, epochs=epochs)


def _epoch_rows(
    context: Context, method: str, found: dict[str, Measured], plain: Measured
) -> Iterator[Row]:
    """Each engine against a plain loop, fused against autograd, and the authors' own code."""
    for engine, ours in found.items():
        work = f"{method} epoch, {engine}"
        nested = engine == "fused" and method == "MRL-M"
        target = Target("ratio", 1 / 50) if nested else None
        yield against("epoch", work, ours, (PLAIN, plain), target)
        if nested and context.authors and not context.small:
            authors = probe.ask("epoch-authors", clone=context.authors)
            note = f"their evaluation took {authors[0].get('testing', float('nan')):.0f} s"
            yield against("epoch", work, ours, (AUTHORS, authors), note=note)
        if engine != "autograd":
            target = Target("ratio", 1 / 7) if method == "MRL-M" else None
            yield against("epoch", work, ours, ("our autograd engine", found["autograd"]), target)


def lightgcn(context: Context) -> Iterator[Row]:
    """An epoch on one layer of LightGCN, on MovieLens 100K: the nested model, and plain BPR beside
    RecBole's.
    """
    data = context.training_data("ml100k")
    recbole = probe.ask("epoch-recbole", data=data, model="LightGCN", folder=context.scratch)
    for method in ("MRL-M@lightgcn-1", "BPR@lightgcn-1"):
        found = {engine: _epoch(data, method, engine, "cpu") for engine in engines()}
        ours = found.pop("fused")
        work = f"{method} epoch, fused"
        target = Target("ratio", 1 / 4) if method.startswith("MRL") else None
        yield against("lightgcn", work, ours, ("our autograd engine", found["autograd"]), target)
        if method.startswith("BPR"):
            peer = ("RecBole, LightGCN of one layer, one negative", recbole)
            yield against("lightgcn", work, ours, peer)


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
