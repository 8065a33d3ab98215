"""Matrix factorisation: one vector for each user and item. U users, I items, d dimensions."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mrl4rec.hashing import SALT_INIT, chain, chain_array


def xavier(rows: int, dim: int, seed: int, table: int) -> NDArray[np.float64]:
    """(rows, dim) values of U(±√(6/(rows + dim))), a pure function of (seed, table, place)."""
    words = chain_array(chain(seed, SALT_INIT, table), np.arange(rows * dim, dtype=np.int64))
    unit = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    bound = math.sqrt(6.0 / (rows + dim))
    return ((2.0 * unit - 1.0) * bound).reshape(rows, dim)


class Factorisation(nn.Module):
    """The tables themselves are the vectors that are scored."""

    def __init__(
        self, n_users: int, n_items: int, dim: int, seed: int, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.users = nn.Parameter(torch.from_numpy(xavier(n_users, dim, seed, 0)).to(dtype))
        self.items = nn.Parameter(torch.from_numpy(xavier(n_items, dim, seed, 1)).to(dtype))

    def forward(self) -> tuple[Tensor, Tensor]:
        """The (U, d) and (I, d) vectors to score with."""
        return self.users, self.items
