"""The places of windows that hold an item, one after another: what is empty costs nothing.

Shapes: B windows, L places of each, T places that hold an item; of a group of windows of like
lengths: G windows, M places of the longest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mrl4rec.core import lazy

if TYPE_CHECKING:
    from torch import Tensor

    from mrl4rec.models.sequential.base import Noise

with lazy.imports():
    import torch

GROUP = {"cpu": 16, "cuda": 1024}
"""Windows that are padded to one length, by device."""


class Packed:
    """The items of a batch of windows, the shortest window first, each from its oldest item on.

    Places without an item come before those with one.
    """

    def __init__(self, items_BL: Tensor, n_items: int, noise: Noise | None = None) -> None:
        self.noise = noise
        self.n_windows, self.length = items_BL.shape
        there_BL = items_BL < n_items
        self.lengths_B, self.order_B = there_BL.sum(1).sort(stable=True)
        """Items of each window, ascending, and the windows they are of."""
        self.sorted_T, self.place_T = there_BL[self.order_B].nonzero(as_tuple=True)
        self.window_T = self.order_B[self.sorted_T]
        self.items_T = self.of(items_BL)

    def of(self, values_BL: Tensor) -> Tensor:
        """(T,) the values at the places that hold an item."""
        return values_BL[self.window_T, self.place_T]

    @property
    def rows_T(self) -> Tensor:
        """(T,) number of each place: L for every window."""
        return self.window_T * self.length + self.place_T

    def by_group(self, values_Td: Tensor, along: Callable[[Tensor], Tensor]) -> Tensor:
        """(T, e) what ``along`` makes of windows (G, M, d) that begin with their oldest item and
        end with zeros where they are shorter: it needs no mask where it only looks back.
        """
        size, done = GROUP[values_Td.device.type], []
        groups = self.lengths_B.split(size)
        counts = [int(lengths_G.sum()) for lengths_G in groups]
        from_left_T = self.place_T - self.length + self.lengths_B[self.sorted_T]
        tensors = (values_Td, from_left_T, self.sorted_T % size)
        for lengths_G, values, from_left, window in zip(
            groups, *(tensor.split(counts) for tensor in tensors), strict=True
        ):
            n_windows, longest = len(lengths_G), max(1, int(lengths_G[-1]))
            at = window * longest + from_left
            flat = values.new_zeros(n_windows * longest, values.shape[1])
            padded = flat.index_copy(0, at, values).view(n_windows, longest, -1)
            done.append(along(padded).flatten(0, 1).index_select(0, at))
        return torch.cat(done)

    def last(self, values_Td: Tensor) -> Tensor:
        """(B, d) those of each window's newest item; zeros for a window of none."""
        found_Bd = values_Td.new_zeros(self.n_windows, values_Td.shape[1])
        filled = self.lengths_B > 0
        ends = self.lengths_B.cumsum(0)[filled] - 1
        return found_Bd.index_copy(0, self.order_B[filled], values_Td[ends])

    def dropped(self, values_Td: Tensor, rate: float) -> Tensor:
        """(T, d) after dropout, by window and place."""
        if self.noise is None:
            return values_Td
        return self.noise.dropped(values_Td, rate, self.rows_T, self.length)
