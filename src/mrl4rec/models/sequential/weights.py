"""The tensors of a net: drawn from a seed to be trained, or those of a trained model.

A net asks for each by name and shape; what it asks for is what its model folder holds.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.hashing import uniform

if TYPE_CHECKING:
    from torch import Tensor

    from mrl4rec.models.base import Setup

with lazy.imports():
    import torch


class Weights(Protocol):
    """Where a net's tensors come from."""

    def draw(self, name: str, shape: tuple[int, ...], bound: float) -> Tensor:
        """One that starts as U(±bound)."""

    def normal(self, name: str, shape: tuple[int, ...], std: float) -> Tensor:
        """One that starts as N(0, std²)."""

    def full(self, name: str, shape: tuple[int, ...], fill: float) -> Tensor:
        """One that starts as ``fill`` everywhere."""


class Trained:
    """Parameters of a training, their first values a function of seed and name."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def draw(self, name: str, shape: tuple[int, ...], bound: float) -> Tensor:
        """Uniform, by the hash of (seed, name, place)."""
        values = self._uniform(name, int(np.prod(shape, dtype=np.int64)), bound)
        return self.setup.parameter(name, values.reshape(shape))

    def normal(self, name: str, shape: tuple[int, ...], std: float) -> Tensor:
        """Normal, from two such uniform numbers a value (Box and Muller)."""
        halves = self._uniform(name, 2 * int(np.prod(shape, dtype=np.int64)), 0.5)
        first, second = halves.reshape(2, *shape) + 0.5  # in [0, 1)
        values = std * np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second)
        return self.setup.parameter(name, values)

    def _uniform(self, name: str, count: int, bound: float) -> NDArray[np.float64]:
        return uniform(1, count, bound, self.setup.seed, zlib.crc32(name.encode()))

    def full(self, name: str, shape: tuple[int, ...], fill: float) -> Tensor:
        """Constant at the start."""
        return self.setup.parameter(name, np.full(shape, fill))


class Loaded:
    """The tensors of a model folder, as they are."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], device: str = "cpu") -> None:
        self.arrays, self.device = arrays, device

    def draw(self, name: str, shape: tuple[int, ...], bound: float) -> Tensor:
        """The one of this name. Raises Mrl4recError where it is missing or of another shape."""
        found = self.arrays.get(name)
        if found is None or found.shape != shape:
            there = "missing" if found is None else f"of shape {found.shape}"
            raise Mrl4recError(f"tensor {name!r} is {there}, and the net needs {shape}")
        return torch.from_numpy(np.ascontiguousarray(found)).to(self.device)

    def normal(self, name: str, shape: tuple[int, ...], std: float) -> Tensor:
        """The same."""
        return self.draw(name, shape, std)

    def full(self, name: str, shape: tuple[int, ...], fill: float) -> Tensor:
        """The same."""
        return self.draw(name, shape, fill)
