"""A sweep of implicit ALS, users and items once each: ours, and implicit's conjugate gradients."""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

import numpy as np

from mrl4rec.kernels.csr import Csr
from tests.benchmarks.probes.pairs import interactions

FOLDS = ("train", "valid")
SEED = 2022


def ours(data: dict[str, Any], dim: int, sweeps: int) -> dict[str, Any]:
    """Median seconds of a sweep, the first (which loads what was compiled) left out."""
    from mrl4rec.models import ials

    seen = interactions(**data).csr(*FOLDS)
    weights = ials.Weights(0.02, 0.01, 1.0)
    items, turn = ials.normal(seen.n_columns, dim, SEED, ials.ITEMS), np.eye(dim)
    by_item = ials.transposed(seen)
    seconds = []
    with ials.one_thread_of_blas():
        for _ in range(sweeps + 1):
            began = time.perf_counter()
            users, items, turn = ials.half(seen, items, turn, weights)
            items, users, turn = ials.half(by_item, users, turn, weights)
            seconds.append(time.perf_counter() - began)
    return {"seconds": statistics.median(seconds[1:]), **_shape(seen)}


def implicit(data: dict[str, Any], dim: int, sweeps: int) -> dict[str, Any]:
    """The same of implicit's default solver, with as many threads as it takes by itself."""
    # As implicit itself asks: its threads and those of the BLAS would fight.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import implicit as peer
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    seen = interactions(**data).csr(*FOLDS)
    threadpool_limits(1, "blas")
    liked = csr_matrix(
        (np.ones(len(seen.indices), np.float32), seen.indices, seen.indptr),
        shape=(seen.n_rows, seen.n_columns),
    )
    model = peer.cpu.als.AlternatingLeastSquares(
        factors=dim, regularization=0.01, iterations=sweeps + 1, random_state=SEED
    )
    seconds: list[float] = []

    def told(iteration: int, elapsed: float, loss: float) -> None:
        seconds.append(elapsed)

    model.fit(liked, show_progress=False, callback=told)
    return {"seconds": statistics.median(seconds[1:]), "version": peer.__version__}


def _shape(seen: Csr) -> dict[str, int]:
    return {"users": seen.n_rows, "items": seen.n_columns, "pairs": len(seen.indices)}
