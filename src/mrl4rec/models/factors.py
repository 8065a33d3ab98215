"""Matrix factorisation: one vector for each user and item.

U users, I items, d dimensions, H propagation layers (none here).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mrl4rec.hashing import xavier


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
