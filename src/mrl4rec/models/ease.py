"""EASE^R (Steck 2019): the item-item matrix that best rebuilds X under a zero diagonal.

P = (XᵀX + λI)⁻¹, B = −P / diag(P) column by column, diag(B) = 0; a user's scores are x_u B.
U users, I items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.models.item_pairs import ItemItem, free_bytes, matrix
from mrl4rec.models.values import Span, value

with lazy.imports():
    import torch
    from scipy.linalg import lapack

if TYPE_CHECKING:
    from mrl4rec.kernels.csr import Csr

BLOCK = 1024
LAM = Span(5.0, 5000.0, log=True)


@dataclass(frozen=True)
class Ease(ItemItem):
    """Item-item weights under a zero diagonal."""

    on_device: ClassVar[bool] = True

    model: str = "ease"
    lam: float = value(200.0, "λ, added to the diagonal of XᵀX, in users; > 0", low=1e-9, tune=LAM)

    def weights(self, seen: Csr, device: str) -> Any:
        """(I, I) weights."""
        return weights(seen, self.lam, device)

    def needed_bytes(self, n_items: int) -> int:
        """Of the dense matrices."""
        return needed_bytes(n_items)


def weights(seen: Csr, lam: float, device: str = "cpu") -> NDArray[np.float32]:
    """(I, I) B, float32; solved in float64 by Cholesky, on a torch device where one is named.

    Raises Mrl4recError where memory does not suffice or the matrix cannot be factorised.
    """
    gram_II = gram(seen, lam)
    if device != "cpu":
        found = solved_on_device(gram_II, device)
        if found is None:
            raise _singular(lam)
        return found
    factor_II, info = lapack.dpotrf(gram_II, lower=1, overwrite_a=1, clean=0)
    if info == 0:
        inverse_II, info = lapack.dpotri(factor_II, lower=1, overwrite_c=1)
    if info != 0:
        raise _singular(lam)
    return _scaled(inverse_II)


def gram(seen: Csr, lam: float) -> NDArray[np.float64]:
    """(I, I) XᵀX + λI, by columns."""
    n_items = seen.n_columns
    check_memory(n_items)
    x_UI = matrix(seen)
    gram_II = np.zeros((n_items, n_items), order="F")
    (x_UI.T @ x_UI).toarray(out=gram_II)
    gram_II[np.diag_indices(n_items)] += lam
    return gram_II


def _singular(lam: float) -> Mrl4recError:
    what = f"XᵀX + λI cannot be inverted (λ = {lam:g})"
    return Mrl4recError(what, todo="raise it: --set EASE.lam=200")


def needed_bytes(n_items: int) -> int:
    """Peak memory: the float64 inverse and the float32 result, with room for the sparse XᵀX."""
    return 2 * 8 * n_items * n_items


def check_memory(n_items: int) -> None:
    """Raise Mrl4recError where the matrices would not fit into the memory that is free."""
    needed, free = needed_bytes(n_items), free_bytes()
    if needed > free:
        raise Mrl4recError(
            f"EASE on {n_items:,} items needs {needed / 2**30:.1f} GiB of memory, "
            f"{free / 2**30:.1f} are free",
            todo="leave EASE out of --methods, or raise --kcore to have fewer items",
        )


def _scaled(inverse_II: NDArray[np.float64]) -> NDArray[np.float32]:
    """−P / diag(P) with zero diagonal, from the lower triangle of the symmetric P."""
    n_items = len(inverse_II)
    diagonal_I = inverse_II.diagonal().copy()
    out_II = np.empty((n_items, n_items), dtype=np.float32)
    for start in range(0, n_items, BLOCK):
        rows = slice(start, start + BLOCK)
        lower = inverse_II[rows, : start + BLOCK].copy()
        here = np.arange(start, min(start + BLOCK, n_items))
        square = lower[:, start:]
        lower[:, start:] = np.tril(square) + np.tril(square, -1).T
        whole = np.concatenate([lower, inverse_II[start + BLOCK :, rows].T], axis=1)
        out_II[rows] = -whole / diagonal_I
        out_II[here, here] = 0.0
    return out_II


def solved_on_device(gram_II: NDArray[np.float64], device: str) -> NDArray[np.float32] | None:
    """(I, I) −P / diag(P) with zero diagonal, P the inverse; None where there is none.

    Raises Mrl4recError where the device has too little memory.
    """
    try:
        return _inverted(torch.from_numpy(gram_II.T).to(device))
    except torch.OutOfMemoryError as error:
        raise Mrl4recError(
            f"EASE on {len(gram_II):,} items does not fit into the memory of {device}",
            todo="--device cpu, or leave EASE out of --methods",
        ) from error


def _inverted(gram_II: torch.Tensor) -> Any:
    with torch.inference_mode():
        factor_II, info = torch.linalg.cholesky_ex(gram_II)
        if info.item():
            return None
        inverse_II = torch.cholesky_inverse(factor_II)
        inverse_II /= -inverse_II.diagonal().clone()
        inverse_II.fill_diagonal_(0)
        return inverse_II.to(torch.float32).cpu().numpy()


VARIANTS = (Ease("EASE"),)
