"""Exact rotation of trained vectors, so that every prefix is the best of its width."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError
from mrl4rec.models.scorers.interests import InterestModel

Floats = NDArray[np.float32]


def rotate(user_vectors: NDArray[Any], item_vectors: NDArray[Any]) -> tuple[Floats, Floats]:
    """Vectors with the same inner products, whose first w coordinates are the best w (U V^T ≈).

    U = Q1 R1, V = Q2 R2; R1 R2^T = A S B^T; U' = Q1 A S^½, V' = Q2 B S^½: by Eckart and Young no
    other w numbers a user and an item come nearer to the scores in Frobenius norm. Computed in
    float64; the sign of each column is fixed by its largest item coordinate, so the result does
    not hang on the LAPACK at hand. Fewer users or items than dimensions leave zero columns.
    """
    users, items = np.asarray(user_vectors, np.float64), np.asarray(item_vectors, np.float64)
    if users.ndim != 2 or items.ndim != 2 or users.shape[1] != items.shape[1]:
        raise UsageError(
            f"vectors of shapes {users.shape} and {items.shape} have no common dimensions to rotate"
        )
    dim = users.shape[1]
    basis_u, factor_u = np.linalg.qr(users)
    basis_i, factor_i = np.linalg.qr(items)
    left, strength, right = np.linalg.svd(factor_u @ factor_i.T, full_matrices=False)
    root = np.sqrt(strength)
    turned_u, turned_i = basis_u @ left * root, basis_i @ right.T * root
    largest = np.abs(turned_i).argmax(axis=0)
    sign = np.where(turned_i[largest, np.arange(len(largest))] < 0, -1.0, 1.0)
    return _wide(turned_u * sign, dim), _wide(turned_i * sign, dim)


def rotate_interests(model: InterestModel) -> InterestModel:
    """All vectors of all users turned together: the same scores at full width.

    Prefixes are not renormalised, because they are no longer those trained on the unit sphere.
    """
    whole = model.cut(None)
    users, items = rotate(whole.flat().user_vectors, whole.item_vectors)
    shape = model.user_interests.shape
    return InterestModel(users.reshape(shape), items, model.widths, model.pooling)


def _wide(vectors: NDArray[np.float64], dim: int) -> Floats:
    out = np.zeros((len(vectors), dim), dtype=np.float32)
    out[:, : vectors.shape[1]] = vectors
    return out
