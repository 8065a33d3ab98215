"""The same draws as :mod:`mrl4rec.kernels.draws`, as tensor operations for any device.

No operation here reads a value back to the host or has a shape that depends on one, so that a GPU
never waits and a CUDA graph can hold them: a redraw goes over every place and counts where the one
before was seen. The step may be a tensor on the device, for a graph that is replayed.

Shapes: B examples, U users, I items, d dimensions, L levels, n candidates.
Words are uint64 kept in int64 tensors: sums and products wrap alike, shifts are made logical.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mrl4rec.core.hashing import GOLDEN, MASK, MIX_1, MIX_2, SALT_DRAW, chain
from mrl4rec.kernels.draws import MAX_RETRIES


def signed(word: int) -> int:
    """A word in [0, 2⁶⁴) as the int64 of the same bits."""
    return word - (1 << 64) if word >> 63 else word


_GOLDEN, _MIX_1, _MIX_2 = signed(GOLDEN), signed(MIX_1), signed(MIX_2)


def _shift(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def fold(word: Tensor | int, value: Tensor | int) -> Tensor:
    """One link of the chain: mix(word ^ value·GOLDEN), broadcast. One of the two is a tensor.

    A number stays a number: made a tensor, it would be copied to the device, and waited for.
    """
    times = value * _GOLDEN if isinstance(value, Tensor) else signed((value * GOLDEN) & MASK)
    z: Tensor = (word ^ times) + _GOLDEN  # type: ignore[assignment]
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def step_word(seed: int, step: Tensor) -> Tensor:
    """``chain(seed, SALT_DRAW, step)`` for a step held on the device, of the step's shape."""
    return fold(signed(chain(seed, SALT_DRAW)), step)


def permutation(n: int, place: int, device: torch.device) -> Tensor:
    """``hashing.permutation`` on a device; ``place`` is the word ``chain`` of its arguments."""
    words = fold(signed(place), torch.arange(n, device=device))
    lowest = -(1 << 63)  # unsigned words in their order are these, signed, in theirs
    return torch.sort(words ^ lowest, stable=True).indices


def _below(word: Tensor, n: Tensor | int) -> Tensor:
    return (_shift(word, 32) * n) >> 32


def item(word: Tensor, n_items: int, ends_I: Tensor | None) -> Tensor:
    """The item that a word stands for."""
    if ends_I is None:
        return _below(word, n_items)
    return torch.searchsorted(ends_I, _shift(word, 32), right=True)


def seen_keys(indptr: Tensor, indices: Tensor, n_items: int) -> Tensor:
    """``user · I + item`` of every seen pair, ascending: one list to search for all users."""
    users = torch.arange(len(indptr) - 1, device=indptr.device)
    return users.repeat_interleave(indptr.diff()) * n_items + indices.to(torch.int64)


def _is_seen(keys: Tensor, wanted: Tensor) -> Tensor:
    place = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
    return keys[place] == wanted


def _by_rank(word: Tensor, users: Tensor, indptr: Tensor, keys: Tensor, n_items: int) -> Tensor:
    """The unseen item of a drawn rank, found by bisection over the user's seen items.

    No user has seen more than all items: that bounds the rounds without asking the device.
    """
    start, degree = indptr[users], indptr[users + 1] - indptr[users]
    rank = _below(fold(word, MAX_RETRIES), n_items - degree)
    left, right = torch.zeros_like(degree), degree
    for _ in range(n_items.bit_length()):
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
    prefix: Tensor | int,
    first: int,
    ends_I: Tensor | None = None,
) -> Tensor:
    """(B, levels, n) candidates, uniform over each user's unseen items.

    ``ends_I``: where each item's share of [0, 2³²) ends, ascending, for items drawn not uniformly
    but by shares; one that is still seen after all retries is then replaced uniformly.

    ``prefix`` is ``chain(seed, SALT_DRAW, step)``, a word or (``step_word``) a tensor of one;
    ``first`` the place of the first example in the global batch.
    """
    device = users_B.device
    word = fold(
        signed(prefix) if isinstance(prefix, int) else prefix,
        torch.arange(first, first + len(users_B), device=device),
    )
    word = fold(word[:, None], torch.arange(levels, device=device))
    word = fold(word[:, :, None], torch.arange(candidates, device=device))
    items = item(fold(word, 0), n_items, ends_I)
    if len(keys) == 0:  # nothing is seen by anybody
        return items
    users = users_B[:, None, None].expand_as(items)
    taken = _is_seen(keys, users * n_items + items)
    for retry in range(1, MAX_RETRIES):
        items = torch.where(taken, item(fold(word, retry), n_items, ends_I), items)
        taken = _is_seen(keys, users * n_items + items)
    return torch.where(taken, _by_rank(word, users, indptr, keys, n_items), items)


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
