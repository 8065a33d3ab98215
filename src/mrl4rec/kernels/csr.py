"""Sparse sets of (row, column) pairs, the form in which loops take interactions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Csr:
    """A sparse set of (row, column) pairs: for each row its columns, ascending."""

    indptr: NDArray[np.int64]
    """(rows + 1,): row ``r`` owns ``indices[indptr[r]:indptr[r + 1]]``."""
    indices: NDArray[np.int32]
    """Columns, ascending within a row."""
    n_columns: int

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    @property
    def degrees(self) -> NDArray[np.int64]:
        """Number of columns of each row, (rows,)."""
        return np.diff(self.indptr)

    @property
    def open_rows(self) -> NDArray[np.bool_]:
        """(rows,) True where a row lacks a column: such a user has an item to draw as negative."""
        return self.degrees < self.n_columns

    def row(self, index: int) -> NDArray[np.int32]:
        """The columns of one row, ascending."""
        return self.indices[self.indptr[index] : self.indptr[index + 1]]

    def of(self, rows_B: NDArray[np.integer]) -> Csr:
        """These rows, in their order; the same may be there twice."""
        lengths = self.degrees[rows_B]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(indptr[-1]) + np.repeat(self.indptr[:-1][rows_B] - indptr[:-1], lengths)
        return Csr(indptr, self.indices[places], self.n_columns)

    def problem(self) -> str | None:
        """What is wrong with the structure, or None when it is sound."""
        indptr, indices = self.indptr, self.indices
        if len(indptr) == 0 or indptr[0] != 0 or indptr[-1] != len(indices):
            return "row pointers do not span the indices"
        if (np.diff(indptr) < 0).any():
            return "row pointers decrease"
        if len(indices) and (indices.min() < 0 or indices.max() >= self.n_columns):
            return f"an index lies outside 0 … {self.n_columns - 1}"
        rises = np.diff(indices.astype(np.int64)) > 0
        starts = indptr[1:-1]
        rises[starts[(starts > 0) & (starts < len(indices))] - 1] = True
        return None if rises.all() else "indices do not rise within a row"


def csr(rows: NDArray[Any], columns: NDArray[Any], n_rows: int, n_columns: int) -> Csr:
    """Pairs, in any order and without repeats, as a ``Csr``."""
    order = np.lexsort((columns, rows))
    indptr = np.zeros(n_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=n_rows), out=indptr[1:])
    return Csr(indptr, np.ascontiguousarray(columns[order], dtype=np.int32), n_columns)
