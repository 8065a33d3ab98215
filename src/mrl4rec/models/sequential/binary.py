"""Losses that ask of each item by itself whether it is the target: BCE and gBCE.

Shapes: T places, S negatives that all share, I items, d dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrl4rec.core import lazy

if TYPE_CHECKING:
    from torch import Tensor

    from mrl4rec.models.negatives import Place

with lazy.imports():
    from torch.nn import functional

    from mrl4rec.kernels import draws_torch


def others(place: Place, rows_T: Tensor, targets_T: Tensor, n_items: int, level: int) -> Tensor:
    """(T,) for each place an item that is not its target, all as likely.

    ``rows_T``: number of each place in the global batch.
    """
    word = place.word()
    first = draws_torch.signed(word) if isinstance(word, int) else word
    words_T = draws_torch.fold(draws_torch.fold(first, rows_T), level)
    items_T = draws_torch.item(words_T, n_items - 1, None)
    return items_T + (items_T >= targets_T)


def bce(users_Td: Tensor, items_Id: Tensor, targets_T: Tensor, negatives_T: Tensor) -> Tensor:
    """(T,) −log σ(x) of the target − log σ(−x) of the negative."""
    own_T, other_T = (
        (users_Td * functional.embedding(items_T, items_Id)).sum(1)
        for items_T in (targets_T, negatives_T)
    )
    return functional.softplus(-own_T) + functional.softplus(other_T)


def gbce(
    users_Td: Tensor, items_Id: Tensor, targets_T: Tensor, shared_S: Tensor, power: float
) -> Tensor:
    """(T,) the mean over target and negatives of −log σ(x)^power and −log σ(−x). A negative that
    is the target is left out.
    """
    own_T = (users_Td * functional.embedding(targets_T, items_Id)).sum(1)
    scores_TS = users_Td @ functional.embedding(shared_S, items_Id).T
    is_target = shared_S[None] == targets_T[:, None]
    others_T = functional.softplus(scores_TS).masked_fill(is_target, 0.0).sum(1)
    return (power * functional.softplus(-own_T) + others_T) / (len(shared_S) + 1)


def calibrated_power(t: float, sampled: int, n_items: int) -> float:
    """β of gBCE: α (t (1 − 1/α) + 1/α), α the share of the items that is drawn."""
    share = min(1.0, sampled / max(1, n_items - 1))
    return share * (t * (1 - 1 / share) + 1 / share)
