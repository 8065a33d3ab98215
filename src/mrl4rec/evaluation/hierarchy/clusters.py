"""Clusters of vectors by direction, and how two ways of putting things into groups agree.

Shapes: N users or items, d dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.hashing import permutation

with lazy.imports():
    import sklearn.cluster
    import sklearn.metrics

Labels = NDArray[np.integer]
STARTS = 3
"""Times that k-means begins; the tightest clusters are kept."""


def clusters(vectors_Nd: NDArray[Any], k: int, seed: int) -> NDArray[np.int32]:
    """(N,) cluster of each vector, by k-means of their directions.

    Lengths tell of popularity, not of taste, so vectors are scaled to length 1 (zeros stay zero).
    """
    vectors = np.asarray(vectors_Nd, dtype=np.float64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    model = sklearn.cluster.KMeans(
        n_clusters=min(k, len(vectors)), n_init=STARTS, random_state=seed
    )
    return np.asarray(model.fit_predict(directions), dtype=np.int32)


def agreement(found_N: Labels, true_N: Labels) -> float:
    """Adjusted mutual information: 1 where the groups are the same, about 0 by chance.

    (I − E[I]) / (mean of the two entropies − E[I]), E[I] under random groups of these sizes
    (Vinh, Epps and Bailey 2010).
    """
    return float(sklearn.metrics.adjusted_mutual_info_score(true_N, found_N))


def contained(narrow_N: Labels, wide_N: Labels, seed: int) -> float:
    """How far clusters of a wide prefix lie inside those of a narrow one.

    The share of things that are in the narrow cluster which most of their wide cluster is in,
    against what it is when the narrow labels are shuffled: 1 where every wide cluster is a part of
    one narrow cluster, about 0 by chance.
    """
    shuffled_N = np.asarray(narrow_N)[permutation(len(narrow_N), seed, 0x6E657374)]
    chance = _majority(shuffled_N, wide_N)
    if chance == 1:
        return 1.0
    return (_majority(narrow_N, wide_N) - chance) / (1 - chance)


def _majority(narrow_N: Labels, wide_N: Labels) -> float:
    _, narrow = np.unique(narrow_N, return_inverse=True)
    _, wide = np.unique(wide_N, return_inverse=True)
    table = np.zeros((int(wide.max()) + 1, int(narrow.max()) + 1), dtype=np.int64)
    np.add.at(table, (wide, narrow), 1)
    return float(table.max(axis=1).sum() / len(narrow))
