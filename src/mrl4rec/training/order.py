"""The order in which an epoch goes over its examples.

torch is imported on a device alone: compiled loops on the CPU do without it, and it takes longer to
load than a small data set to train on.

Shapes: P training pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.hashing import SALT_ORDER, SALT_USERS, chain, chain_array, permutation
from mrl4rec.training.tasks import Task

with lazy.imports():
    import torch

    from mrl4rec.kernels import draws_torch

if TYPE_CHECKING:
    from torch import Tensor

Side: TypeAlias = "NDArray[np.int64] | Tensor"
"""Users or items of examples."""


class Pairs:
    """A task's examples in the order of an epoch, a hash of seed and epoch."""

    def __init__(self, task: Task, seed: int, batch: int, device: str = "cpu") -> None:
        """``batch``: examples asked for a step; those beyond the last whole one are left out."""
        steps, size = task.steps(batch)
        self.task, self.seed, self.device, self.kept = task, seed, device, steps * size
        self.one_pass = task.n_examples // size * size
        self._there: tuple[Tensor, Tensor] | None = None

    def epoch(self, epoch: int) -> tuple[Side, Side]:
        """(users, items) of the whole steps of an epoch: arrays on the CPU, else tensors on the
        device.
        """
        if self.device == "cpu":
            return self.by_host(epoch)
        if self.task.examples == "pairs" and self.kept <= self.task.n_pairs:
            return self.by_device(epoch)

        users, items = (torch.from_numpy(side).to(self.device) for side in self.by_host(epoch))
        return users, items

    def by_host(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Put in order by NumPy; an epoch of more than all examples goes over them again."""
        if self.task.examples == "stretches":
            order = self._stretch(epoch)
            return self.task.users_P[order], self.task.items_P[order]
        n = self.task.n_examples
        order = permutation(n, self.seed, SALT_ORDER, epoch)[: self.kept]
        for again in range(1, -(-self.kept // n)):
            order = np.concatenate([order, permutation(n, self.seed, SALT_ORDER, epoch, again)])
        order = order[: self.kept]
        if self.task.examples == "users":
            order = self._of_users(order, epoch)
        return self.task.users_P[order], self.task.items_P[order]

    def _stretch(self, epoch: int) -> NDArray[np.int64]:
        """The next part of a pass, and where that ends, the beginning of another."""
        begin, parts = epoch * self.kept, []
        while begin < (epoch + 1) * self.kept:
            number, at = divmod(begin, self.one_pass)
            end = min(self.one_pass, at + (epoch + 1) * self.kept - begin)
            whole = permutation(self.task.n_examples, self.seed, SALT_ORDER, number)
            parts.append(whole[at:end])
            begin += end - at
        return np.concatenate(parts)

    def _of_users(self, order: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """A place among the pairs for each of these users: one of its own, drawn evenly."""
        ends_E = np.append(self.task.begins_E[1:], self.task.n_pairs)
        begins = self.task.begins_E[order]
        words = chain_array(chain(self.seed, SALT_USERS, epoch), np.arange(len(order)))
        counts = (ends_E[order] - begins).astype(np.uint64)
        drawn = ((words >> np.uint64(32)) * counts) >> np.uint64(32)
        return begins + drawn.astype(np.int64)

    def by_device(self, epoch: int) -> tuple[Tensor, Tensor]:
        """The same on the device, where the pairs then stay: only the epoch's number goes there."""
        if self._there is None:
            pairs = (torch.from_numpy(self.task.users_P), torch.from_numpy(self.task.items_P))
            self._there = (pairs[0].to(self.device), pairs[1].to(self.device))
        place = chain(self.seed, SALT_ORDER, epoch)
        order = draws_torch.permutation(self.task.n_pairs, place, torch.device(self.device))[
            : self.kept
        ]
        return self._there[0][order], self._there[1][order]
