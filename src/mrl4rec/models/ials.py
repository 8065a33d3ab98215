"""Implicit ALS (Hu 2008; regulariser and settings of Rendle 2022), solved exactly in turns.

Of all user vectors x_u and item vectors y_i it lowers
Σ_S (s − 1)² + a0 Σ_all s² + λ Σ_u (n_u + a0 I)^ν ‖x_u‖² + λ Σ_i (n_i + a0 U)^ν ‖y_i‖², s = x_uᵀy_i,
S the pairs, n_u and n_i their numbers. ``mrl4rec.kernels.ials`` says how a row is solved.

U users, I items, d dimensions; R rows of the side that is solved, N of the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.hashing import SALT_INIT, chain, chain_array
from mrl4rec.kernels.csr import csr
from mrl4rec.kernels.devices import exact_products
from mrl4rec.models.base import FittedVectors
from mrl4rec.models.rotation import rotate
from mrl4rec.models.threads import spread
from mrl4rec.models.values import Span, value

with lazy.imports():
    import threadpoolctl
    import torch
    from scipy.linalg import lapack

    from mrl4rec.kernels import ials as kernel
    from mrl4rec.kernels import ials_torch

if TYPE_CHECKING:
    from mrl4rec.kernels.csr import Csr
    from mrl4rec.models.scorers import Floats

ROWS_AT_ONCE, STRETCH = 256, 4096
"""Rows solved, and rows multiplied, by a thread at once."""
MOST = 96
"""Systems up to this size are solved by compiled loops on threads, larger ones by LAPACK."""
ITEMS = 1
"""The table of the items, in the place of a first value."""
STANDARD_DEVIATION = 0.1
"""Times √d, of a first value."""


@dataclass(frozen=True)
class Ials(FittedVectors):
    """Users, then items solved, so many times over."""

    on_device: ClassVar[bool] = True

    model: str = "ials"
    a0: float = value(
        0.02,
        "weight of a pair that is not there, beside 1 of one that is",
        low=1e-6,
        tune=Span(3e-3, 3e-1, log=True),
    )
    lam: float = value(
        0.01, "λ, weight of the squared norms; > 0", low=1e-9, tune=Span(1e-3, 1e-1, log=True)
    )
    nu: float = value(1.0, "ν: a row of n pairs counts (n + a0 · columns)^ν in the norms", low=0)
    sweeps: int = value(16, "times that users, then items are solved", low=1)
    rotated: bool = False
    """Turned by the exact SVD rotation once it is trained, so that every prefix is the best."""

    @property
    def deterministic(self) -> bool:
        """It starts from random item vectors."""
        return False

    def solve(self, seen: Csr, seed: int, device: str) -> tuple[Floats, Floats]:
        """(U, d) and (I, d) for these pairs."""
        weights = Weights(self.a0, self.lam, self.nu)
        users, items = fit(seen, self.dim, weights, self.sweeps, seed, device)
        return rotate(users, items) if self.rotated else (users, items)


@dataclass(frozen=True)
class Weights:
    """The numbers of the objective."""

    a0: float
    lam: float
    nu: float

    def ridge(self, degrees: NDArray[np.integer], n_columns: int) -> NDArray[np.float64]:
        """(R,) what is added to the diagonal for rows of so many pairs, of so many columns."""
        return np.asarray(self.lam * (degrees + self.a0 * n_columns) ** self.nu, np.float64)


def fit(
    seen: Csr, dim: int, weights: Weights, sweeps: int, seed: int, device: str = "cpu"
) -> tuple[Floats, Floats]:
    """(U, d) and (I, d) after so many sweeps, each users first, from the hashed item vectors.

    On a torch device where one is named. Here all is done in a basis that turns with each
    half-sweep, and turned back at the end: the vectors are those of the same sweeps in the basis of
    the first values.
    """
    if device != "cpu":
        return fit_on_device(seen, dim, weights, sweeps, seed, device)
    by_item = transposed(seen)
    items = normal(seen.n_columns, dim, seed, ITEMS)
    users = np.empty((seen.n_rows, dim), np.float32)
    turn = np.eye(dim)
    with one_thread_of_blas():
        for _ in range(sweeps):
            users, items, turn = half(seen, items, turn, weights)
            items, users, turn = half(by_item, users, turn, weights)
        return _turned(users, turn.T), _turned(items, turn.T)


def fit_on_device(
    seen: Csr, dim: int, weights: Weights, sweeps: int, seed: int, device: str
) -> tuple[Floats, Floats]:
    """The same on a torch device, but for rounding."""
    by_user, by_item = (
        ials_torch.side(
            pairs, dim, weights.ridge(pairs.degrees, pairs.n_columns), torch.device(device)
        )
        for pairs in (seen, transposed(seen))
    )
    with exact_products():
        first_Id = normal(seen.n_columns, dim, seed, ITEMS)
        users, items = ials_torch.sweep((by_user, by_item), first_Id, weights.a0, sweeps)
    return users, items


def one_thread_of_blas() -> Any:
    """Within it products run on the thread that asks, so that the threads here are all there are.

    The BLAS' own would wait for each other by spinning, which on a busy machine takes far longer
    than the work; and sums would depend on how many there are.
    """
    lazy.load(lapack)  # a BLAS that is loaded later has all its threads
    return threadpoolctl.threadpool_limits(1, "blas")


def half(
    pairs: Csr, fixed_Nd: Floats, turn: NDArray[np.float64], weights: Weights
) -> tuple[Floats, Floats, NDArray[np.float64]]:
    """Solve one side: its vectors, those held fixed in the same new basis, and its whole turn."""
    strength_d, basis = np.linalg.eigh(_squares(fixed_Nd))
    spectrum_d = weights.a0 * np.maximum(strength_d, 0)
    fixed_Nd = _turned(fixed_Nd, basis)
    ridge_R = weights.ridge(pairs.degrees, pairs.n_columns)
    out_Rd = np.zeros((pairs.n_rows, fixed_Nd.shape[1]), np.float32)

    def some(first: int, last: int) -> None:
        given = (fixed_Nd, spectrum_d, ridge_R, MOST)
        kernel.rows(pairs.indptr, pairs.indices, *given, first, last, out_Rd)

    spread(some, pairs.n_rows, ROWS_AT_ONCE)
    left = np.flatnonzero(np.minimum(pairs.degrees, fixed_Nd.shape[1]) > MOST).tolist()

    def large(first: int, last: int) -> None:
        for row in left[first:last]:
            root_d = (1 / np.sqrt(spectrum_d + ridge_R[row])).astype(np.float32)
            out_Rd[row] = _large(fixed_Nd[pairs.row(row)] * root_d) * root_d

    spread(large, len(left), 1)
    return out_Rd, fixed_Nd, turn @ basis


def _squares(rows_Nd: Floats) -> NDArray[np.float64]:
    """YᵀY, stretch by stretch, added up in their order."""
    dim = rows_Nd.shape[1]
    parts = spread(lambda a, b: rows_Nd[a:b].T @ rows_Nd[a:b], len(rows_Nd), STRETCH)
    return sum((part.astype(np.float64) for part in parts), np.zeros((dim, dim)))


def _turned(rows_Nd: Floats, basis: NDArray[np.float64]) -> Floats:
    """The rows in another basis."""
    turn, out_Nd = basis.astype(np.float32), np.empty_like(rows_Nd)

    def some(first: int, last: int) -> None:
        np.matmul(rows_Nd[first:last], turn, out=out_Nd[first:last])

    spread(some, len(rows_Nd), STRETCH)
    return out_Nd


def _large(z_nd: Floats) -> Any:
    """(I + ZᵀZ)^-1 Zᵀ1, by the smaller of the two systems."""
    n, d = z_nd.shape
    system = z_nd @ z_nd.T if n <= d else z_nd.T @ z_nd
    system[np.diag_indices(len(system))] += 1
    right = np.ones(n, np.float32) if n <= d else z_nd.sum(axis=0)
    _, solved, info = lapack.sposv(system, right, lower=1, overwrite_a=1, overwrite_b=1)
    assert info == 0, "no eigenvalue lies below 1"
    return solved @ z_nd if n <= d else solved


def normal(rows: int, dim: int, seed: int, table: int) -> Floats:
    """(rows, dim) values of N(0, (0.1/√dim)²), a pure function of (seed, table, place).

    Box and Muller's pairs: place p takes the words 2p and 2p + 1, and their cosine.
    """
    places = np.arange(2 * rows * dim, dtype=np.int64)
    words = chain_array(chain(seed, SALT_INIT, table), places)
    unit = ((words >> np.uint64(11)).astype(np.float64) + 1) * 2.0**-53  # (0, 1]: it has a log
    radius = np.sqrt(-2 * np.log(unit[::2]))
    values = radius * np.cos(2 * math.pi * unit[1::2])
    return (values * (STANDARD_DEVIATION / math.sqrt(dim))).reshape(rows, dim).astype(np.float32)


def transposed(pairs: Csr) -> Csr:
    """The users of each item."""
    rows = np.repeat(np.arange(pairs.n_rows, dtype=np.int32), pairs.degrees)
    return csr(pairs.indices, rows, pairs.n_columns, pairs.n_rows)


VARIANTS = (Ials("iALS"), Ials("iALS-wide", dim=256, rotated=True))
