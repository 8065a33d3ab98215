"""EASE^R (Steck 2019): the item-item matrix that best rebuilds X under a zero diagonal.

P = (XᵀX + λI)⁻¹, B = −P / diag(P) column by column, diag(B) = 0; a user's scores are x_u B.
U users, I items.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from mrl4rec.errors import Mrl4recError
from mrl4rec.interactions import Csr

BLOCK = 1024


def weights(seen: Csr, lam: float, device: str = "cpu") -> NDArray[np.float32]:
    """(I, I) B, float32; solved in float64 by Cholesky, on a torch device where one is named.

    Raises Mrl4recError where memory does not suffice or the matrix cannot be factorised.
    """
    gram_II = _gram(seen, lam)
    if device != "cpu":
        from mrl4rec.closed_form.ease_device import solved

        found = solved(gram_II, device)
        if found is None:
            raise _singular(lam)
        return found
    factor_II, info = lapack.dpotrf(gram_II, lower=1, overwrite_a=1, clean=0)
    if info == 0:
        inverse_II, info = lapack.dpotri(factor_II, lower=1, overwrite_c=1)
    if info != 0:
        raise _singular(lam)
    return _scaled(inverse_II)


def _gram(seen: Csr, lam: float) -> NDArray[np.float64]:
    """(I, I) XᵀX + λI, by columns."""
    n_items = seen.n_columns
    check_memory(n_items)
    pairs = (np.ones(len(seen.indices)), seen.indices, seen.indptr)
    matrix_UI = sparse.csr_matrix(pairs, shape=(seen.n_rows, n_items))
    gram_II = np.zeros((n_items, n_items), order="F")
    (matrix_UI.T @ matrix_UI).toarray(out=gram_II)
    gram_II[np.diag_indices(n_items)] += lam
    return gram_II


def _singular(lam: float) -> Mrl4recError:
    what = f"XᵀX + λI cannot be inverted (λ = {lam:g})"
    return Mrl4recError(what, todo="raise it: --set EASE.lam=200")


def needed_bytes(n_items: int) -> int:
    """Peak memory: the float64 inverse and the float32 result, with room for the sparse XᵀX."""
    return 2 * 8 * n_items * n_items


def free_bytes() -> int:
    """Memory this process may still take: the machine's, or what its container's limit leaves."""
    free = int(psutil.virtual_memory().available)
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.stat")
    if limit.exists() and used.exists() and (text := limit.read_text().strip()).isdigit():
        held = dict(line.split() for line in used.read_text().splitlines())  # file cache gives way
        free = min(free, int(text) - int(held.get("anon", 0)))
    return max(free, 0)


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
