"""Draw, reject, score and keep in one GPU kernel (Triton): one program for an (example, level).

The same integers as :mod:`mrl4rec.kernels.draws`. Candidates stay in registers and only the kept
one is written; a program draws again only while one of its own draws was seen. Scores are summed
in another order than on the CPU, so near-equal ones may be kept differently (docs/gpu.md).

Shapes: B examples, U users, I items, d dimensions, L levels, n candidates.
"""

from __future__ import annotations

import torch
import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]
from torch import Tensor

from mrl4rec.core.hashing import GOLDEN, MIX_1, MIX_2
from mrl4rec.kernels.draws import MAX_RETRIES

_GOLDEN, _MIX_1, _MIX_2 = tl.constexpr(GOLDEN), tl.constexpr(MIX_1), tl.constexpr(MIX_2)
_RETRIES = tl.constexpr(MAX_RETRIES)

MOST_DIMENSIONS = 64
"""Coordinates scored at once: n × 64 of them stay within a warp's registers for n = 16."""


@triton.jit
def _fold(word: tl.tensor, value: tl.tensor) -> tl.tensor:
    """One link of the chain, uint64: mix(word ^ value·GOLDEN)."""
    z = (word ^ (value.to(tl.uint64) * _GOLDEN)) + _GOLDEN
    z = (z ^ (z >> 30)) * _MIX_1
    z = (z ^ (z >> 27)) * _MIX_2
    return z ^ (z >> 31)


@triton.jit
def _below(word: tl.tensor, n: tl.tensor) -> tl.tensor:
    """The word's upper 32 bits as an int64 in [0, n)."""
    return (((word >> 32) * n.to(tl.uint64)) >> 32).to(tl.int64)


@triton.jit
def _place(
    indices: tl.tensor, low: tl.tensor, high: tl.tensor, item: tl.tensor, BY_RANK: tl.constexpr
) -> tl.tensor:
    """How many seen items of ``indices[low:high]`` stand before each item.

    With ``BY_RANK``: before the unseen item of each rank.
    """
    left = tl.zeros_like(item) + low
    right = tl.zeros_like(item) + high
    span = high - low
    while span > 0:
        middle = (left + right) >> 1
        going = left < right
        value = tl.load(indices + middle, mask=going, other=0).to(tl.int64)
        before = value - (middle - low) <= item if BY_RANK else value < item
        left = tl.where(going & before, middle + 1, left)
        right = tl.where(going & (before == 0), middle, right)
        span = span >> 1
    return left - low


@triton.jit
def _is_seen(indices: tl.tensor, low: tl.tensor, high: tl.tensor, item: tl.tensor) -> tl.tensor:
    at = low + _place(indices, low, high, item, False)
    return (tl.load(indices + at, mask=at < high, other=-1).to(tl.int64) == item) & (at < high)


@triton.jit
def _unseen(
    word: tl.tensor,
    live: tl.tensor,
    indices: tl.tensor,
    low: tl.tensor,
    high: tl.tensor,
    n_items: tl.tensor,
) -> tl.tensor:
    """(N,) int64: an unseen item for each word; what is not ``live`` is not looked at again."""
    retry = tl.zeros_like(n_items)
    item = _below(_fold(word, retry), n_items)
    taken = _is_seen(indices, low, high, item) & live
    left = tl.sum(taken.to(tl.int32), axis=0)
    while (left > 0) & (retry < _RETRIES - 1):
        retry = retry + 1
        item = tl.where(taken, _below(_fold(word, retry), n_items), item)
        taken = _is_seen(indices, low, high, item) & live
        left = tl.sum(taken.to(tl.int32), axis=0)
    if left > 0:
        rank = _below(_fold(word, retry + 1), n_items - (high - low))
        by_rank = rank + _place(indices, low, high, rank, True)
        item = tl.where(taken, by_rank, item)
    return item


@triton.jit
def _hardest(
    users_B: tl.tensor,
    user_vectors: tl.tensor,
    item_vectors: tl.tensor,
    indptr: tl.tensor,
    indices: tl.tensor,
    widths_L: tl.tensor,
    prefix: tl.tensor,
    out_BL: tl.tensor,
    sizes: tl.tensor,
    user_stride: tl.tensor,
    item_stride: tl.tensor,
    LEVELS: tl.constexpr,
    CANDIDATES: tl.constexpr,
    N: tl.constexpr,
    D: tl.constexpr,
) -> None:
    program = tl.program_id(0).to(tl.int64)
    example, level = program // LEVELS, program % LEVELS
    first, n_items = tl.load(sizes), tl.load(sizes + 1)
    user = tl.load(users_B + example)
    low, high = tl.load(indptr + user), tl.load(indptr + user + 1)
    start = tl.load(prefix).to(tl.uint64, bitcast=True)
    place = _fold(_fold(start, first + example), level)
    draw = tl.arange(0, N).to(tl.int64)
    live = draw < CANDIDATES
    item = _unseen(_fold(place, draw), live, indices, low, high, n_items)
    score = tl.zeros([N], dtype=item_vectors.dtype.element_ty)
    if CANDIDATES > 1:
        width = tl.load(widths_L + level)
        begin = tl.zeros_like(width)
        while begin < width:
            k = begin + tl.arange(0, D)
            inside = k < width
            mine = tl.load(user_vectors + user * user_stride + k, mask=inside, other=0.0)
            where = item[:, None] * item_stride + k[None, :]
            theirs = tl.load(item_vectors + where, mask=live[:, None] & inside[None, :], other=0.0)
            score += tl.sum(mine[None, :] * theirs, axis=1)
            begin = begin + D
    # Not a number is smaller than every score: lanes that compare it would each keep another draw,
    # and the sum below would add up several items. Nor is what is not live ever kept.
    score = tl.where(live & (score == score), score, float("-inf"))
    best = tl.argmax(score, axis=0)  # of equal ones the first
    tl.store(out_BL + program, tl.sum(tl.where(draw == best, item, 0), axis=0))


def hardest(
    users_B: Tensor,
    user_vectors: Tensor,
    item_vectors: Tensor,
    indptr: Tensor,
    indices: Tensor,
    widths_L: Tensor,
    candidates: int,
    prefix: Tensor,
    sizes: Tensor,
) -> Tensor:
    """(B, L) int64 negatives: for each level the best-scored of its own ``candidates`` draws.

    ``prefix``, () int64 on the device, holds the bits of ``chain(seed, SALT_DRAW, step)``;
    ``sizes`` (2,) int64 the place of the first example in the global batch, and I. All tensors are
    on one device; rows of the vectors are contiguous. Ties: the lower draw.
    """
    levels, dim = len(widths_L), item_vectors.shape[1]
    out_BL = torch.empty(len(users_B), levels, dtype=torch.int64, device=users_B.device)
    _hardest[(out_BL.numel(),)](
        users_B, user_vectors, item_vectors, indptr, indices, widths_L, prefix, out_BL, sizes,
        user_vectors.stride(0), item_vectors.stride(0),
        LEVELS=levels,
        CANDIDATES=candidates,
        N=_power(candidates),
        D=min(MOST_DIMENSIONS, _power(dim)),
        num_warps=1,
    )  # fmt: skip
    return out_BL


def _power(n: int) -> int:
    """The least power of two that is at least n."""
    return 1 << (n - 1).bit_length()
