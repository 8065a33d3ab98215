"""The same choice as :mod:`mrl4rec.kernels.rules`, as tensor operations for any device.

Shapes: B examples, d dimensions, L levels, n candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mrl4rec.kernels.draws_torch import _below, _shift, fold, signed
from mrl4rec.kernels.rules import AMONG_TOP, NEAREST, POLE, Rule


def chosen(
    users_B: Tensor,
    positives_B: Tensor,
    user_vectors: Tensor,
    item_vectors: Tensor,
    candidates_BLn: Tensor,
    widths_L: Sequence[int],
    rule: Rule,
    prefix: Tensor | int,
    first: int,
) -> Tensor:
    """(B, L) negatives, the one of each level's candidates that the rule takes."""
    found = []
    for level, width in enumerate(widths_L):
        candidates_Bn = candidates_BLn[:, level]
        users_Bd = user_vectors[users_B, :width]
        scores_Bn = torch.einsum("bd,bnd->bn", users_Bd, item_vectors[candidates_Bn, :width])
        own_B = (users_Bd * item_vectors[positives_B, :width]).sum(1)
        place_B = fold(example_words(prefix, first, len(users_B), users_B.device), level)
        draw_B = pick(scores_Bn, own_B, rule, place_B)
        found.append(candidates_Bn.gather(1, draw_B[:, None])[:, 0])
    return torch.stack(found, dim=1)


def pick(scores_Bn: Tensor, own_B: Tensor, rule: Rule, place_B: Tensor) -> Tensor:
    """(B,) the draws that the rule takes; ``place_B`` the words of the level."""
    if rule.kind == NEAREST:
        base_B = (own_B.double() + rule.alpha).clamp(min=POLE)
        wanted_B = rule.beta * base_B.pow(rule.power)
        return (scores_Bn.double() - wanted_B[:, None]).abs().argmin(dim=1)
    if rule.kind == AMONG_TOP:
        candidates = scores_Bn.shape[1]
        rank_B = _below(fold(fold(place_B, candidates), 0), min(rule.top, candidates))
        order_Bn = scores_Bn.sort(dim=1, descending=True, stable=True).indices
        return order_Bn.gather(1, rank_B[:, None])[:, 0]
    return scores_Bn.argmax(dim=1)


def best(scores_Bn: Tensor, candidates_Bn: Tensor, top: int) -> Tensor:
    """(B, top) the best-scored candidates, in the order of their scores."""
    order_Bn = scores_Bn.sort(dim=1, descending=True, stable=True).indices
    return candidates_Bn.gather(1, order_Bn[:, :top])


def example_words(prefix: Tensor | int, first: int, n: int, device: torch.device) -> Tensor:
    """(n,) the words of the examples from ``first`` on."""
    word = signed(prefix) if isinstance(prefix, int) else prefix
    return fold(word, torch.arange(first, first + n, device=device))


def unit(words: Tensor) -> Tensor:
    """Words as float64 in [0, 1)."""
    return _shift(words, 11).double() * 2.0**-53


def seen_among(users_B: Tensor, items_N: Tensor, keys: Tensor, n_items: int) -> Tensor:
    """(B, N) True where the user has seen the item; ``keys`` as of ``draws_torch.seen_keys``."""
    wanted = users_B[:, None] * n_items + items_N[None, :]
    if len(keys) == 0:
        return torch.zeros_like(wanted, dtype=torch.bool)
    place = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
    return keys[place] == wanted
