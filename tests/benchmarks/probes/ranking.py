"""Ranking the same vectors three ways: ours with all metrics, implicit's and torch's without.

Shapes: U users, I items, E users with held-out items, d dimensions.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from mrl4rec.kernels.csr import Csr
from tests.benchmarks.probe import best_of

TIMES = 5
TOP = 50


def ours(file: str, widths: list[int] | None) -> dict[str, Any]:
    """Our evaluation: metrics at three cut-offs, at these widths."""
    from mrl4rec.evaluation.ranking.evaluate import evaluate
    from mrl4rec.models.scorers import FactorModel

    users, items, seen, truth = _load(file)
    model = FactorModel(users, items)
    chosen: list[int | None] = [*widths] if widths else [None]

    def rank() -> None:
        evaluate(model, seen, truth, ks=(10, 20, TOP), widths=chosen)

    rank()  # compiled kernels are loaded
    return {"seconds": best_of(TIMES, rank)}


def interests(file: str, interests: int) -> dict[str, Any]:
    """Our evaluation of as many vectors a user: their own, and those of users beside them."""
    from mrl4rec.evaluation.ranking.evaluate import evaluate
    from mrl4rec.models.scorers import InterestModel

    users, items, seen, truth = _load(file)
    vectors = np.stack([np.roll(users, shift, axis=0) for shift in range(interests)], axis=1)
    model = InterestModel(vectors, items)

    def rank() -> None:
        evaluate(model, seen, truth, ks=(10, 20, TOP))

    rank()
    return {"seconds": best_of(TIMES, rank)}


def each_interest(file: str, interests: int) -> dict[str, Any]:
    """The same vectors as as many models of one vector a user, one after another."""
    from mrl4rec.evaluation.ranking.evaluate import evaluate
    from mrl4rec.models.scorers import FactorModel

    users, items, seen, truth = _load(file)
    models = [FactorModel(np.roll(users, shift, axis=0), items) for shift in range(interests)]

    def rank() -> None:
        for model in models:
            evaluate(model, seen, truth, ks=(10, 20, TOP))

    rank()
    return {"seconds": best_of(TIMES, rank)}


def implicit(file: str) -> dict[str, Any]:
    """implicit's ``recommend`` for all of them at once, seen items filtered."""
    # As implicit itself asks: its threads and those of the BLAS would fight.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import implicit as peer
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    users, items, seen, truth = _load(file)
    threadpool_limits(1, "blas")
    model = peer.cpu.als.AlternatingLeastSquares(factors=users.shape[1])
    model.user_factors, model.item_factors = users, items
    liked = csr_matrix(
        (np.ones(len(seen.indices), np.float32), seen.indices, seen.indptr),
        shape=(len(users), len(items)),
    )
    asked = np.flatnonzero(truth.degrees > 0).astype(np.int32)

    def rank() -> None:
        model.recommend(asked, liked[asked], N=TOP, filter_already_liked_items=True)

    rank()
    return {"seconds": best_of(TIMES, rank), "version": peer.__version__}


def torch_chunks(file: str) -> dict[str, Any]:
    """Matrix product, mask and ``topk`` in chunks of 1,024 users."""
    import torch

    users, items, seen, truth = _load(file)
    user_t, item_t = torch.from_numpy(users), torch.from_numpy(items)
    asked = np.flatnonzero(truth.degrees > 0)

    def rank() -> None:
        for begin in range(0, len(asked), 1024):
            part = asked[begin : begin + 1024]
            scores = user_t[part] @ item_t.T
            rows = [seen.row(user) for user in part]
            places = np.repeat(np.arange(len(part)), [len(row) for row in rows])
            scores[places, np.concatenate(rows)] = -torch.inf
            scores.topk(min(TOP, scores.shape[1]), dim=1)

    rank()
    return {"seconds": best_of(TIMES, rank), "version": torch.__version__}


def _load(file: str) -> tuple[np.ndarray, np.ndarray, Csr, Csr]:
    with np.load(file) as found:
        n_items = len(found["items"])
        seen = Csr(found["seen_indptr"], found["seen_indices"], n_items)
        truth = Csr(found["truth_indptr"], found["truth_indices"], n_items)
        return found["users"], found["items"], seen, truth
