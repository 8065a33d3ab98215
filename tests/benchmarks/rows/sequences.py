"""Methods that read sequences: an epoch beside the two-tower's and beside other tools'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.benchmarks import probe
from tests.benchmarks.context import Context
from tests.benchmarks.row import Row, Target
from tests.benchmarks.rows.beside import Measured, against, row

FILE = "sequential/CGENet_retailrocket_all_train_seq.jsonl.gz"
INTERESTS, NEGATIVES, BATCH, EPOCHS = 4, 1280, 1024, 4
OF_PLACES = 128
"""Sequences a step of SASRec, which learns of every place."""


def epochs(context: Context) -> Iterator[Row]:
    """Epochs on RetailRocket's sessions; the metrics after as many are in the notes."""
    data: dict[str, Any] = {"users": 800, "items": 300} if context.small else {
        "file": str(context.real() / FILE)}  # fmt: skip
    negatives, batch = (50, 64) if context.small else (NEGATIVES, BATCH)
    sets = [f"candidates={negatives}", f"batch={batch}"]
    found = {name: probe.ask("epoch-sequences", data=data, method=name, sets=sets, epochs=EPOCHS)
             for name in ("YouTubeDNN", "ComiRec-SA", "MIND", "MTMI")}  # fmt: skip
    tower = found.pop("YouTubeDNN")
    yield row("epoch-sequences", "YouTubeDNN epoch", tower, note=figures(tower))
    for name, ours in found.items():
        peer = "the two-tower YouTubeDNN", tower
        target = Target("ratio", 2 * INTERESTS)
        yield against("epoch-sequences", f"{name} epoch, K=4", ours, peer, target, figures(ours))
    for name, theirs in (("ComiRec-SA", "ComirecSA"), ("MIND", "MIND")):
        other = probe.ask("epoch-rechub", data=data, model=theirs, epochs=2, negatives=negatives,
                          batch=batch, steps=3)  # fmt: skip
        peer = f"torch-rechub, {theirs}, as many negatives; of three steps, scaled", other
        yield against("epoch-sequences", f"{name} epoch, K=4", found[name], peer)
    sets = [f"batch={OF_PLACES}", "length=20"]
    ours = probe.ask("epoch-sequences", data=data, method="SASRec-bce", sets=sets, epochs=EPOCHS)
    other = probe.ask("epoch-rectools", data=data, epochs=EPOCHS, batch=OF_PLACES)
    peer = "RecTools, SASRec with the same loss", other
    note = f"ours {figures(ours)}; theirs {figures(other)}"
    yield against("epoch-sequences", "SASRec-bce epoch", ours, peer, note=note)


def figures(measured: Measured) -> str:
    """The metrics of a probe in words."""
    answer = measured[0]
    if "recall" not in answer:
        return "not measured"
    return ", ".join(f"{name}@20 {answer[name]:.4f}" for name in ("recall", "ndcg", "hr"))
