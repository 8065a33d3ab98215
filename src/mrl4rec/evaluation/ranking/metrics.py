"""Ranking metrics of top-K lists, for each user and each cut-off in one walk down the list.

With T = the user's test items, hits counted among the first k places (docs/methods.md#metrics):
recall = hits/|T|; precision = hits/k; hr = 1 where there is a hit; mrr = 1/rank of the first hit;
ndcg = Σ 1/log2(rank + 1) over hits, divided by its value for min(k, |T|) hits on top;
map = Σ precision at the rank of each hit / min(k, |T|). Lists are short where nearly all is seen:
what is missing counts as misses.

Shapes: B users, W widths, K places, C cut-offs, M metrics. The walk is ``kernels.metrics``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mrl4rec.kernels.metrics import walk

PER_USER = ("recall", "ndcg", "hr", "mrr", "map", "precision")
METRICS = (*PER_USER, "coverage")
"""Coverage is no user's: the share of items that stand in anybody's list."""


def discounts(k: int) -> NDArray[np.float64]:
    """1/log2(rank + 1) for ranks 1 … k."""
    return 1.0 / np.log2(np.arange(2, k + 2, dtype=np.float64))


def ndcg_hits(
    values_BWCM: NDArray[np.float64], n_truth_B: NDArray[np.integer], cutoffs_C: Sequence[int]
) -> NDArray[np.float64]:
    """(B, W, C) the NDCG of public code of models with several interests; not comparable.

    Its ideal has the hits that there are on top, not the min(k, |T|) that there could be: one hit
    at rank 1 gives 1, however many are missed. ``values_BWCM`` are those of ``per_user`` (or
    ``Evaluation.values_EWCM``), ``n_truth_B`` the numbers |T|.
    """
    n_truth_B11 = np.asarray(n_truth_B, dtype=np.int64)[:, None, None]
    cutoffs = np.asarray(cutoffs_C, dtype=np.int64)
    ideal = np.concatenate([[0.0], np.cumsum(discounts(int(cutoffs.max())))])
    hits = np.rint(values_BWCM[..., PER_USER.index("recall")] * n_truth_B11).astype(np.int64)
    dcg = values_BWCM[..., PER_USER.index("ndcg")] * ideal[np.minimum(cutoffs, n_truth_B11)]
    return np.divide(dcg, ideal[hits], out=np.zeros_like(dcg), where=hits > 0)


def per_user(
    items_BWK: NDArray[np.int32],
    truth_B2: NDArray[np.int64],
    truth_indices: NDArray[np.int32],
    cutoffs_C: NDArray[np.int64],
    shown_WCI: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """(B, W, C, M) values of ``PER_USER``.

    ``truth_B2`` has begin and end of each user's rows in ``truth_indices``; cut-offs ascend and may
    exceed K. Marks in ``shown_WCI`` every item that stands between one cut-off and the one before.
    """
    n_users, n_widths, _ = items_BWK.shape
    out = np.zeros((n_users, n_widths, len(cutoffs_C), len(PER_USER)))
    gain = discounts(int(cutoffs_C[-1]))
    ideal = np.cumsum(gain)
    walk(items_BWK, truth_B2, truth_indices, cutoffs_C, gain, ideal, shown_WCI, out)
    return out
