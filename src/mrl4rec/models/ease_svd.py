"""EASE's scores in d numbers a user and an item: the truncated SVD of X B, a factor model.

X B is dense and tall, so its right singular vectors are found as the eigenvectors of BᵀXᵀX B by
Lanczos (ARPACK), from products alone: B is held once, X stays sparse. U users, I items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.models import ease
from mrl4rec.models.base import FittedVectors
from mrl4rec.models.item_pairs import matrix
from mrl4rec.models.rotation import rotate
from mrl4rec.models.values import value

with lazy.imports():
    from scipy.sparse import linalg

if TYPE_CHECKING:
    from mrl4rec.kernels.csr import Csr
    from mrl4rec.models.scorers import Floats

FEW = 8
"""Up to so many items a dimension all eigenvectors are computed: Lanczos wants room."""


@dataclass(frozen=True)
class EaseSvd(FittedVectors):
    """The best d numbers for EASE's scores."""

    on_device: ClassVar[bool] = True

    model: str = "ease-svd"
    lam: float = value(200.0, "EASE's λ, in users; > 0", low=1e-9, tune=ease.LAM)
    rotated: bool = True
    """An SVD's prefixes are the best there are: turning it changes nothing."""

    def solve(self, seen: Csr, seed: int, device: str) -> tuple[Floats, Floats]:
        """(U, d) and (I, d) for these pairs."""
        return vectors(seen, self.lam, self.dim, device)


def vectors(seen: Csr, lam: float, dim: int, device: str = "cpu") -> tuple[Floats, Floats]:
    """(U, d), (I, d): every prefix is the best of its width for the scores of EASE.

    ``device`` is where EASE is solved. Raises Mrl4recError where it does not fit into memory.
    """
    weights_II = ease.weights(seen, lam, device)
    x_UI = matrix(seen, np.float32)
    right_Id = _right(x_UI, weights_II, dim)
    users, items = rotate(x_UI @ (weights_II @ right_Id), right_Id)
    return _widened(users, dim), _widened(items, dim)


def _right(x_UI: Any, weights_II: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    n_items = len(weights_II)
    together_II = (x_UI.T @ x_UI).tocsr()
    if n_items <= FEW * dim:
        _, basis = np.linalg.eigh((weights_II.T @ (together_II @ weights_II)).astype(np.float64))
        return basis[:, ::-1][:, :dim].astype(np.float32)

    def product(vector: NDArray[np.float32]) -> Any:
        return weights_II.T @ (together_II @ (weights_II @ vector.reshape(-1)))

    operator = linalg.LinearOperator((n_items, n_items), matvec=product, dtype=np.float32)
    start = np.ones(n_items, np.float32)  # else it is drawn anew each time
    _, basis = linalg.eigsh(operator, k=dim, which="LM", v0=start)
    return np.ascontiguousarray(basis, dtype=np.float32)


def _widened(vectors: Floats, dim: int) -> Floats:
    """Zeros up to ``dim`` columns, where there are fewer items than that."""
    out = np.zeros((len(vectors), dim), np.float32)
    out[:, : vectors.shape[1]] = vectors
    return out


VARIANTS = (EaseSvd("EASE-SVD"),)
