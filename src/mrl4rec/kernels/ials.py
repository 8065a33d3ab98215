"""One side of implicit ALS, exactly, row by row (numba, no lock held).

A row with the set S of n pairs wants the x that minimises
Σ_S (xᵀy_j − 1)² + a0 Σ_all (xᵀy_j)² + r ‖x‖², that is (Y_SᵀY_S + a0 YᵀY + r I) x = Y_Sᵀ1.
In the basis of YᵀY's eigenvectors everything but Y_SᵀY_S is diagonal, D = a0 Λ + r. With
Z = Y_S D^-½ the matrix is D^½ (I + ZᵀZ) D^½, so x = D^-½ (I + ZᵀZ)^-1 Zᵀ1, and the same is
x = D^-½ Zᵀ (I + ZZᵀ)^-1 1. The system to solve is d × d in the first form and n × n in the second:
the smaller is taken. Most rows have a few pairs, so that a wide model costs little more than a
narrow one. Neither matrix has an eigenvalue below 1.

Shapes: R rows to solve, N rows of the other side, d dimensions, n pairs of a row, m = min(n, d).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

SUMS = {"reassoc", "contract"}


@njit(cache=True, nogil=True, fastmath=SUMS, error_model="numpy")
def _scaled(fixed_Nd: Any, columns: Any, root_d: Any, z_nd: Any) -> None:
    """Z: the rows of the pairs, each number times that of ``root_d``."""
    for place in range(len(columns)):
        row, out = fixed_Nd[columns[place]], z_nd[place]
        for k in range(len(root_d)):
            out[k] = row[k] * root_d[k]


@njit(cache=True, nogil=True, fastmath=SUMS, error_model="numpy")
def _between_pairs(z_nd: Any, n: int, out_mm: Any) -> None:
    """The lower triangle of I + ZZᵀ."""
    for a in range(n):
        for b in range(a + 1):
            left, right, total = z_nd[a], z_nd[b], np.float32(0)
            for k in range(len(left)):
                total += left[k] * right[k]
            out_mm[a, b] = total
        out_mm[a, a] += 1


@njit(cache=True, nogil=True, fastmath=SUMS, error_model="numpy")
def _between_dimensions(z_nd: Any, n: int, out_mm: Any) -> None:
    """The lower triangle of I + ZᵀZ."""
    d = z_nd.shape[1]
    for a in range(d):
        out_mm[a, : a + 1] = 0
        out_mm[a, a] = 1
    for place in range(n):
        z_d = z_nd[place]
        for a in range(d):
            value, line = z_d[a], out_mm[a]
            for b in range(a + 1):
                line[b] += value * z_d[b]


@njit(cache=True, nogil=True, fastmath=SUMS, error_model="numpy")
def _solve(lower_mm: Any, m: int, y_m: Any) -> None:
    """Cholesky and both substitutions, in place, from the lower triangle."""
    for a in range(m):
        line = lower_mm[a]
        for b in range(a + 1):
            other, total = lower_mm[b], line[b]
            for k in range(b):
                total -= line[k] * other[k]
            line[b] = np.sqrt(total) if a == b else total / other[b]
    for a in range(m):
        total = y_m[a]
        for k in range(a):
            total -= lower_mm[a, k] * y_m[k]
        y_m[a] = total / lower_mm[a, a]
    for a in range(m - 1, -1, -1):
        y_m[a] /= lower_mm[a, a]
        for k in range(a):
            y_m[k] -= lower_mm[a, k] * y_m[a]


@njit(cache=True, nogil=True, fastmath=SUMS, error_model="numpy")
def rows(
    indptr: Any,
    indices: Any,
    fixed_Nd: Any,
    spectrum_d: Any,
    ridge_R: Any,
    most: int,
    first: int,
    last: int,
    out_Rd: Any,
) -> None:
    """Solve rows first … last − 1 into ``out_Rd``; those with min(n, d) > ``most`` are left out.

    ``fixed_Nd`` stands in the basis of its eigenvectors, ``spectrum_d`` is a0 Λ.
    """
    d = fixed_Nd.shape[1]
    root_d = np.empty(d, np.float32)
    lower_mm = np.empty((most, most), np.float64)
    y_m = np.empty(most, np.float64)
    longest = 0
    for row in range(first, last):
        longest = max(longest, indptr[row + 1] - indptr[row])
    z_nd = np.empty((longest, d), np.float32)
    for row in range(first, last):
        columns, x_d = indices[indptr[row] : indptr[row + 1]], out_Rd[row]
        n = len(columns)
        if min(n, d) > most:
            continue
        for k in range(d):
            root_d[k] = 1 / np.sqrt(spectrum_d[k] + ridge_R[row])
        _scaled(fixed_Nd, columns, root_d, z_nd)
        x_d[:] = 0
        if n <= d:
            _between_pairs(z_nd, n, lower_mm)
            y_m[:n] = 1
            _solve(lower_mm, n, y_m)
            for place in range(n):
                weight, z_d = np.float32(y_m[place]), z_nd[place]
                for k in range(d):
                    x_d[k] += weight * z_d[k]
        else:
            _between_dimensions(z_nd, n, lower_mm)
            y_m[:d] = 0
            for place in range(n):
                for k in range(d):
                    y_m[k] += z_nd[place, k]
            _solve(lower_mm, d, y_m)
            for k in range(d):
                x_d[k] = y_m[k]
        for k in range(d):
            x_d[k] *= root_d[k]
