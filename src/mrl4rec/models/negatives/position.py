"""Where in training a batch stands."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mrl4rec.core.hashing import SALT_DRAW, chain
from mrl4rec.kernels import draws_torch


@dataclass(frozen=True)
class Place:
    """Where in training a batch stands: all that its draws depend on."""

    seed: int
    step: int | Tensor
    """Step since the start of training, over all epochs; a tensor () on the device where the step
    is not known to the host, as in a CUDA graph."""
    first: int
    """Place of this process's first example in the global batch."""

    def prefix(self) -> int:
        """The hash word that all draws of the step begin with."""
        return chain(self.seed, SALT_DRAW, int(self.step))

    def word(self) -> Tensor | int:
        """The same word, left on the device where the step is there."""
        if isinstance(self.step, Tensor):
            return draws_torch.step_word(self.seed, self.step)
        return self.prefix()
