"""Matrix factorisation: one vector for each user and item.

U users, I items, d dimensions, H propagation layers (none here).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mrl4rec.hashing import uniform


def xavier(rows: int, dim: int, seed: int, table: int) -> NDArray[np.float64]:
    """(rows, dim) values of U(±√(6/(rows + dim))), a pure function of (seed, table, place)."""
    return uniform(rows, dim, math.sqrt(6.0 / (rows + dim)), seed, table)


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

    def hops(self) -> tuple[Tensor, Tensor]:
        """Vectors of every layer, (U, H + 1, d) and (I, H + 1, d); their mean is ``forward``."""
        return self.users[:, None], self.items[:, None]
