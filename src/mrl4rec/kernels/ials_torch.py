"""The sweeps of :mod:`mrl4rec.models.ials` on a torch device: rows of like length at once.

The algebra is that of :mod:`mrl4rec.kernels.ials`: with Z the vectors of a row's n pairs, scaled,
x = D^-½ Zᵀ (I + ZZᵀ)^-1 1 where n ≤ d, else D^-½ (I + ZᵀZ)^-1 Zᵀ1. Rows are filled up with zero
vectors to the next of a few lengths, which changes neither: a zero vector adds a 1 to the diagonal
of the first matrix, and nothing to x or to the second. Each batch is then three products and one
Cholesky factorisation of many small matrices.

Shapes: R rows, B of a batch, N rows of the other side, d dimensions, n pairs of a row, filled up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mrl4rec.kernels.csr import Csr

Floats = NDArray[np.float32]

BLOCK = 1 << 26
"""Numbers of a batch, its matrices with them: 256 MB, and twice that again to factorise."""


@dataclass(frozen=True)
class Batch:
    """Rows that are solved together."""

    rows_B: Tensor
    columns_Bn: Tensor
    """The pairs of each row, filled up with column 0."""
    inside_Bn: Tensor
    """1 for a pair, 0 for what was filled up."""


@dataclass(frozen=True)
class Side:
    """One side of the pairs, on the device."""

    ridge_R: Tensor
    batches: list[Batch]


def sweep(sides: tuple[Side, Side], items_Id: Floats, a0: float, sweeps: int) -> list[Floats]:
    """(U, d) and (I, d) after so many sweeps, each users first, from these item vectors."""
    by_user, by_item = sides
    items = torch.from_numpy(items_Id).to(by_item.ridge_R.device)
    users = torch.empty(0)
    with torch.inference_mode():
        for _ in range(sweeps):
            users = half(by_user, items, a0)
            items = half(by_item, users, a0)
    return [users.cpu().numpy(), items.cpu().numpy()]


def half(side: Side, fixed_Nd: Tensor, a0: float) -> Tensor:
    """(R, d): one side solved, in the basis of the side held fixed."""
    wide_Nd = fixed_Nd.to(torch.float64)
    strength_d, basis = torch.linalg.eigh(wide_Nd.T @ wide_Nd)
    spectrum_d, turn = a0 * strength_d.clamp(min=0), basis.to(torch.float32)
    turned_Nd = fixed_Nd @ turn
    out_Rd = torch.zeros(len(side.ridge_R), fixed_Nd.shape[1], device=fixed_Nd.device)
    for batch in side.batches:
        root_Bd = (spectrum_d + side.ridge_R[batch.rows_B, None]).rsqrt().to(torch.float32)
        z_Bnd = turned_Nd[batch.columns_Bn] * root_Bd[:, None] * batch.inside_Bn[:, :, None]
        out_Rd[batch.rows_B] = _solved(z_Bnd) * root_Bd
    return out_Rd @ turn.T


def _solved(z_Bnd: Tensor) -> Tensor:
    """(B, d): (I + ZᵀZ)^-1 Zᵀ1, by the smaller of the two systems."""
    n, d = z_Bnd.shape[1:]
    other_Bdn = z_Bnd.transpose(1, 2)
    system = z_Bnd @ other_Bdn if n <= d else other_Bdn @ z_Bnd
    system.diagonal(dim1=1, dim2=2).add_(1)
    right = torch.ones_like(z_Bnd[:, :, :1]) if n <= d else z_Bnd.sum(1)[:, :, None]
    # Not looked at whether it succeeded, which the host would wait for: no eigenvalue lies below 1.
    factor, _ = torch.linalg.cholesky_ex(system)
    solved = torch.cholesky_solve(right, factor)
    return (other_Bdn @ solved if n <= d else solved)[:, :, 0]


def side(pairs: Csr, dim: int, ridge_R: NDArray[np.float64], device: torch.device) -> Side:
    """Rows in batches of like length; those without a pair are in none, and stay zero."""
    return Side(torch.from_numpy(ridge_R).to(device), list(_batches(pairs, dim, device)))


def _batches(pairs: Csr, dim: int, device: torch.device) -> Iterator[Batch]:
    degrees = pairs.degrees
    for below, length in pairwise(lengths(int(degrees.max(initial=0)))):
        rows = np.flatnonzero((degrees > below) & (degrees <= length))
        once = max(1, BLOCK // (length * dim + min(length, dim) ** 2))
        for begin in range(0, len(rows), once):
            yield _batch(pairs, rows[begin : begin + once], length, device)


def _batch(pairs: Csr, rows: NDArray[np.int64], length: int, device: torch.device) -> Batch:
    places_Bn = pairs.indptr[rows][:, None] + np.arange(length)
    inside_Bn = np.arange(length) < pairs.degrees[rows][:, None]
    columns_Bn = pairs.indices[np.where(inside_Bn, places_Bn, 0)] * inside_Bn
    parts = (rows, columns_Bn.astype(np.int64), inside_Bn.astype(np.float32))
    return Batch(*(torch.from_numpy(part).to(device) for part in parts))


def lengths(longest: int) -> list[int]:
    """0, 4, 6, 8, 12, 16 … up to the longest row: beyond 4 at most a third of a row is filled."""
    found = [0, 4]
    while found[-1] < longest:
        last = found[-1]
        found.append(last * 3 // 2 if last & (last - 1) == 0 else last * 4 // 3)
    return found
