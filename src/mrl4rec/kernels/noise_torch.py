"""Noise of training as a pure function of its place: a resumed run draws what it would have drawn.

A *word* stands for (seed, stream, step); the streams keep uses apart. Rows and columns are those
of what is perturbed (users, items, nodes), never places in a batch.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mrl4rec.core.hashing import SALT_NOISE, chain
from mrl4rec.kernels import noise as kernel
from mrl4rec.kernels.draws_torch import fold, signed

PERTURB, DROP, GUMBEL, NORMAL, SUBSET = range(5)
"""Streams."""

Word = Tensor | int


def word(seed: int, step: int | Tensor, stream: int, part: int = 0) -> Word:
    """What all noise of one step, stream and part of a model begins with.

    A tensor () where the step is one, on its device.
    """
    if isinstance(step, Tensor):
        return fold(signed(chain(seed, SALT_NOISE, stream, part)), step)
    return chain(seed, SALT_NOISE, stream, part, step)


def uniforms(at: Word, rows_R: Tensor, columns: int) -> Tensor:
    """(R, C) float32 in (0, 1), on the rows' device; 23 bits each."""
    if rows_R.device.type == "cpu":
        whole = np.uint64(int(at) & ((1 << 64) - 1))
        return torch.from_numpy(kernel.uniforms(whole, rows_R.numpy(), columns))
    return tensor_uniforms(at, rows_R[:, None], torch.arange(columns, device=rows_R.device))


def tensor_uniforms(at: Word, rows: Tensor, columns: Tensor) -> Tensor:
    """Of (row, column), broadcast against each other, as tensor operations: the same numbers."""
    first = at if isinstance(at, Tensor) else signed(at)
    words = fold(fold(first, rows), columns)
    upper = (words >> kernel.SHIFT) & ((1 << (64 - kernel.SHIFT)) - 1)
    return (upper.to(torch.float32) + 0.5) * kernel.SCALE


def dropout(values: Tensor, rate: float, at: Word, first: int) -> Tensor:
    """(B, …) ``values``, a share of ``rate`` of them set to 0 and the rest divided by 1 − rate.

    What is dropped hangs on an example's place in the global batch (``first`` is that of row 0) and
    on the place in its row. A word of the hash decides on eight values, so the share is one of 256.
    """
    rows_B = torch.arange(first, first + len(values), device=values.device)
    return dropout_of(values, rate, at, rows_B)


def dropout_of(values: Tensor, rate: float, at: Word, rows_B: Tensor) -> Tensor:
    """The same where the rows have these numbers in the global batch."""
    size = values[0].numel() if len(values) else 0
    word = signed(at) if isinstance(at, int) else at
    words = fold(word, rows_B)
    words = fold(words[:, None], torch.arange(-(-size // 8), device=values.device))
    below = round(rate * 256)
    kept = words.view(torch.uint8)[:, :size] >= below
    return values * (kept.reshape(values.shape) * (256 / (256 - below)))


def gumbels(at: Word, rows_R: Tensor, columns: int) -> Tensor:
    """(R, C) float32 of the standard Gumbel distribution, −log(−log u)."""
    return -torch.log(-torch.log(uniforms(at, rows_R, columns)))


def normals(at: Word, rows_R: Tensor, columns: int) -> Tensor:
    """(R, C) float32 of the standard normal distribution, by Box and Muller's transform."""
    pairs = uniforms(at, rows_R, 2 * columns)
    radius = torch.sqrt(-2 * torch.log(pairs[:, :columns]))
    return radius * torch.cos(2 * math.pi * pairs[:, columns:])


def subset(at: Word, n: int, size: int, device: torch.device) -> Tensor:
    """``size`` different numbers of 0 … n − 1, every set as likely as another; all where n ≤ size.

    Those whose words are smallest: what is taken does not hang on ``device``.
    """
    first = at if isinstance(at, Tensor) else signed(at)
    words = fold(first, torch.arange(n, device=device))
    return words.sort(stable=True).indices[:size]
