"""What is measured inside one process: an epoch of training, the ranking of its vectors."""

from __future__ import annotations

import functools
import json
import statistics
import time
from pathlib import Path
from typing import Any

from flows.request import CUTOFFS
from mrl4rec import model_folder, training
from mrl4rec.interactions import load
from mrl4rec.methods import resolve
from mrl4rec.ranking.evaluate import evaluate
from mrl4rec.settings import Settings
from mrl4rec.stage import history

EPOCHS = 7
AUTHORS_EPOCH = 15.0
"""Seconds of one MRL-M epoch on Phones with the paper authors' code, on two cores."""


def main(warehouse: str) -> None:
    """Print one JSON list of {work, seconds, target, note}."""
    settings = Settings(warehouse=Path(warehouse))
    split = history(settings.table_uri("phones", "splits"), "splits")[0]
    data = load(settings, "phones", split)
    rows = []
    for name, target in (("MRL-M", 2.5), ("BPR-D", None)):
        seconds: list[float] = []
        request = training.TrainRequest(
            method=resolve(name, []),
            levels=(4, 8, 16, 32, 64) if name == "MRL-M" else None,
            seed=2022,
            protocol="paper",
            epochs=EPOCHS,
        )
        commit = training.run(
            "phones", split, request, settings, lambda r, s=seconds: s.append(r.seconds)
        )
        # The first epoch also loads the compiled kernels; those with an evaluation are not epochs.
        plain = [s for epoch, s in enumerate(seconds) if epoch % 5 and epoch != EPOCHS - 1]
        best = statistics.median(plain)
        note = f"{AUTHORS_EPOCH / best:.0f} × the authors' 15 s" if name == "MRL-M" else ""
        rows.append(_row(f"{name} epoch, autograd", best, target, note))
        if name == "MRL-M":
            rows += _ranking(settings, data, commit)
    print(json.dumps(rows))


def _ranking(settings: Settings, data: Any, commit: Any) -> list[dict[str, Any]]:
    folder = settings.dataset_dir("phones") / "models" / commit.key
    model = model_folder.load(folder)[0]
    seen, truth = data.csr("train", "valid"), data.csr("test")
    times = {}
    for name, widths in (("one width", [64]), ("five widths", None)):
        rank = functools.partial(evaluate, model, seen, truth, ks=CUTOFFS, widths=widths)
        times[name] = min(_seconds(rank) for _ in range(3))
    one, five = times["one width"], times["five widths"]
    work = "ranking 20,899 users × 10,429 items, all metrics"
    return [
        _row(work, one, 1.5, ""),
        _row("the same at five widths", five, None, f"{five / one:.2f} × one width"),
    ]


def _seconds(function: Any) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _row(work: str, seconds: float, target: float | None, note: str) -> dict[str, Any]:
    return {"work": work, "seconds": seconds, "target": target, "note": note}
