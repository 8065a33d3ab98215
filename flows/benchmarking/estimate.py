"""About how long a run will take: a sentence for people, from what the stages took elsewhere."""

from __future__ import annotations

import math

from flows.config.run import Cell, RunConfig
from mrl4rec.data.catalog import CATALOG

DATA_SECONDS = 20.0
"""Ingest, k-core, split and their gates on a small dump, on DuckDB, two cores."""
OTHER_SECONDS = 25.0
"""Prefect, MLflow and the report."""
PAIR_SECONDS = {"uniform": 3e-6, "dns": 3.5e-6, "per_level": 8e-6}
"""Seconds of one training pair in one epoch of matrix factorisation, by negatives, two cores."""
LIGHTGCN_FACTOR = 1.5
EPOCHS = {"clean": 115, "paper": 80}
"""Epochs until early stopping, the refit of ``clean`` included, as most data sets need."""
TRAIN_SHARE = 0.8


def sentence(request: RunConfig) -> str:
    """``about 4 minutes on 2 cores``, or why it cannot be said before the dump was read."""
    known = CATALOG.get(request.dataset)
    if request.source or known is None or known.counts is None:
        return "how long depends on the dump; each training says what is left"
    seconds = DATA_SECONDS + OTHER_SECONDS
    seconds += sum(_training(request, cell, known.counts.reviews) for cell in request.cells)
    return f"about {max(1, math.ceil(seconds / 60))} minutes on 2 cores, if nothing is done yet"


def _training(request: RunConfig, cell: Cell, reviews: int) -> float:
    values = cell.method.as_dict()
    if cell.method.closed_form:
        return 10.0 * (1 + (request.trials or 0))
    epochs = min(EPOCHS[request.protocol], 2 * request.epochs) * (1 + (request.trials or 0) / 2)
    seconds = PAIR_SECONDS.get(str(values.get("negatives")), 8e-6) * reviews * TRAIN_SHARE * epochs
    return seconds * (LIGHTGCN_FACTOR if "lightgcn" in cell.method.name else 1.0)
