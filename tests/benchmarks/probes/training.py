"""Epochs of training, straight through the train stage; no table and no JVM is needed.

Shapes: U users, I items, P pairs.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mrl4rec import training
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.models import resolve
from tests.benchmarks.probes.pairs import interactions

SPLIT = Commit("split", "b" * 64, "splits", 0)
"""Stands for the split in the stage key; the interactions are handed over beside it."""
LEVELS = (4, 8, 16, 32, 64)


def epoch(
    data: dict[str, Any], method: str, engine: str, epochs: int = 7, device: str = "cpu"
) -> dict[str, Any]:
    """Median seconds of an epoch without evaluation; the first, which compiles, is left out."""
    seconds: list[float] = []
    reports = _train(data, method, engine, epochs, device)
    for report in reports["reports"]:
        plain = report.value is None and report.epoch > 0
        if plain:
            seconds.append(report.seconds)
    pairs, batch = reports["pairs"], getattr(resolve(method, []), "batch", 1)
    return {
        "seconds": statistics.median(seconds),
        "steps": max(1, pairs // batch),
        "epochs": epochs,
    }


def vectors(data: dict[str, Any], engine: str, epochs: int, out: str) -> dict[str, Any]:
    """Train MRL-M for some epochs and write its vectors, seen and held-out items as npz."""
    trained = _train(data, "MRL-M", engine, epochs, "cpu")
    pairs, model = trained["data"], trained["model"]
    seen, truth = pairs.csr("train", "valid"), pairs.csr("test")
    np.savez(
        out,
        users=model.user_vectors,
        items=model.item_vectors,
        seen_indptr=seen.indptr,
        seen_indices=seen.indices,
        truth_indptr=truth.indptr,
        truth_indices=truth.indices,
    )
    return {"users": int((truth.degrees > 0).sum()), "items": pairs.n_items}


def _train(
    data: dict[str, Any], method: str, engine: str, epochs: int, device: str
) -> dict[str, Any]:
    from mrl4rec.models import model_folder

    pairs = interactions(**data)
    request = training.TrainRequest(
        method=resolve(method, []),
        levels=LEVELS if method.startswith("MRL") else None,
        seed=2022,
        protocol="paper",
        epochs=epochs,
        device=device,
        engine=engine,
    )
    reports: list[Any] = []
    with tempfile.TemporaryDirectory(prefix="mrl4rec-bench-") as folder:
        settings = Settings(warehouse=Path(folder), checkpoint_seconds=3600)  # type: ignore[call-arg]
        commit = training.run("bench", SPLIT, request, settings, reports.append, data=lambda: pairs)
        model = model_folder.load(settings.storage.model_dir("bench", commit.key))[0]
    fitted = len(pairs.pairs("train", "valid")[0])
    return {"reports": reports, "data": pairs, "model": model, "pairs": fitted}
