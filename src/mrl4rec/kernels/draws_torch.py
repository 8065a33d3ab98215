"""The same draws as :mod:`mrl4rec.kernels.draws`, as tensor operations for any device.

Shapes: B examples, U users, I items, d dimensions, L levels, n candidates.
Words are uint64 kept in int64 tensors: sums and products wrap alike, shifts are made logical.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mrl4rec.hashing import GOLDEN, MIX_1, MIX_2
from mrl4rec.kernels.draws import MAX_RETRIES


def signed(word: int) -> int:
    """A word in [0, 2⁶⁴) as the int64 of the same bits."""
    return word - (1 << 64) if word >> 63 else word


_GOLDEN, _MIX_1, _MIX_2 = signed(GOLDEN), signed(MIX_1), signed(MIX_2)


def _shift(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def fold(word: Tensor, value: Tensor | int) -> Tensor:
    """One link of the chain: mix(word ^ value·GOLDEN), broadcast."""
    z = (word ^ (torch.as_tensor(value, device=word.device) * _GOLDEN)) + _GOLDEN
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def _below(word: Tensor, n: Tensor | int) -> Tensor:
    return (_shift(word, 32) * n) >> 32


def seen_keys(indptr: Tensor, indices: Tensor, n_items: int) -> Tensor:
    """``user · I + item`` of every seen pair, ascending: one list to search for all users."""
    users = torch.arange(len(indptr) - 1, device=indptr.device)
    return users.repeat_interleave(indptr.diff()) * n_items + indices.to(torch.int64)


def _is_seen(keys: Tensor, wanted: Tensor) -> Tensor:
    if len(keys) == 0:
        return torch.zeros_like(wanted, dtype=torch.bool)
    place = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
    return keys[place] == wanted


def _by_rank(word: Tensor, users: Tensor, indptr: Tensor, keys: Tensor, n_items: int) -> Tensor:
    """The unseen item of a drawn rank, found by bisection over the user's seen items."""
    start, degree = indptr[users], indptr[users + 1] - indptr[users]
    rank = _below(fold(word, MAX_RETRIES), n_items - degree)
    left, right = torch.zeros_like(degree), degree.clone()
    for _ in range(int(degree.max()).bit_length()):
        middle = (left + right) >> 1
        at = (start + middle).clamp(max=len(keys) - 1)
        go = (left < right) & (keys[at] - users * n_items - middle <= rank)
        left, right = torch.where(go, middle + 1, left), torch.where(go, right, middle)
    return rank + left


def drawn(
    users_B: Tensor,
    indptr: Tensor,
    keys: Tensor,
    n_items: int,
    levels: int,
    candidates: int,
    prefix: int,
    first: int,
) -> Tensor:
    """(B, levels, n) candidates, uniform over each user's unseen items.

    ``prefix`` is ``chain(seed, SALT_DRAW, step)``; ``first`` the place of the first example in the
    global batch.
    """
    device = users_B.device
    examples = torch.arange(first, first + len(users_B), device=device)
    word = fold(torch.tensor(signed(prefix), device=device), examples)
    word = fold(word[:, None], torch.arange(levels, device=device))
    word = fold(word[:, :, None], torch.arange(candidates, device=device)).reshape(-1)
    users = users_B.repeat_interleave(levels * candidates)
    items = _below(fold(word, 0), n_items)
    pending = _is_seen(keys, users * n_items + items).nonzero()[:, 0]
    for retry in range(1, MAX_RETRIES):
        if len(pending) == 0:
            break
        items[pending] = _below(fold(word[pending], retry), n_items)
        again = _is_seen(keys, users[pending] * n_items + items[pending])
        pending = pending[again]
    if len(pending):
        items[pending] = _by_rank(word[pending], users[pending], indptr, keys, n_items)
    return items.reshape(len(users_B), levels, candidates)


def hardest(
    users_B: Tensor,
    user_vectors: Tensor,
    item_vectors: Tensor,
    candidates_BLn: Tensor,
    widths_L: Sequence[int],
) -> Tensor:
    """(B, L) negatives: the best-scored candidate of each level's slice; ties: the lower draw."""
    if candidates_BLn.shape[2] == 1:
        return candidates_BLn[:, :, 0]
    chosen = []
    for level, width in enumerate(widths_L):
        candidates_Bn = candidates_BLn[:, level]
        users_Bd = user_vectors[users_B, :width]
        scores_Bn = torch.einsum("bd,bnd->bn", users_Bd, item_vectors[candidates_Bn, :width])
        best_B1 = scores_Bn.argmax(dim=1, keepdim=True)
        chosen.append(candidates_Bn.gather(1, best_B1)[:, 0])
    return torch.stack(chosen, dim=1)
