"""What families with several vectors a user share: how they are read in training, and their loss.

Scores at serving are those of the vector that an item is nearest to. In training the target says
which of the vectors is held against the negatives.

Shapes: B examples, L places of a window, K vectors a user, S negatives of a step, I items,
d dimensions, w ≤ d of a level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mrl4rec.core import lazy
from mrl4rec.models.base import Batch
from mrl4rec.models.samplers import Negatives, SharedPopular
from mrl4rec.models.sequential.base import Noise, Sequential, Training
from mrl4rec.models.values import value

if TYPE_CHECKING:
    from torch import Tensor

    from mrl4rec.models.sequential.softmax import Sample

with lazy.imports():
    import torch
    from torch.nn import functional

    from mrl4rec.models.sequential import softmax

SHARED = 1280
"""Negatives of a step: ten for each example of the public code's batch of 128."""


class Examples(NamedTuple):
    """What the net reads of a step, and what it is to find."""

    items_BL: Tensor
    """Windows, n_items where a place is empty."""
    targets_B: Tensor
    lengths_B: Tensor
    """Items of each window."""


class Level(NamedTuple):
    """A step's vectors cut to the width of a level, and the negatives drawn for it."""

    users_BKw: Tensor
    own_Bw: Tensor
    """Vectors of the targets."""
    others_Sw: Tensor
    sample: Sample
    examples: Examples
    log_q_I: Tensor | None

    def corrected(self, own_B: Tensor, others_BS: Tensor) -> tuple[Tensor, Tensor]:
        """Logits less log q; −∞ for a negative that is the example's own target."""
        targets_B = self.examples.targets_B
        return softmax.corrected(own_B, others_BS, targets_B, self.sample, self.log_q_I)

    def products(self, users_Bw: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) and (B, S) corrected inner products of one vector a user."""
        own_B = (users_Bw * self.own_Bw).sum(1)
        return self.corrected(own_B, users_Bw @ self.others_Sw.T)


@dataclass(frozen=True)
class SeveralInterests(Sequential):
    """A softmax of the target, by the vector that is nearest to it."""

    objective: str = "softmax"
    negatives: Negatives = SharedPopular(SHARED)
    interests: int = value(4, "K: vectors a user", low=1, high=64)

    def loss(self, model: Training, batch: Batch) -> Tensor:
        """This process's part of the mean over the step's examples."""
        examples = self.examples_of(model, batch)
        users_BKd = model.net.encode(examples.items_BL, Noise(batch.place))
        losses_B = self.over_levels(model, users_BKd, examples, batch)
        return self.part(model, losses_B, batch)

    def examples_of(self, model: Training, batch: Batch) -> Examples:
        """The windows and targets of this process's examples."""
        items_BL, targets_B = model.windows(batch, self.length)
        return Examples(items_BL, targets_B, (items_BL < model.n_items).sum(1))

    def part(self, model: Training, losses_B: Tensor, batch: Batch) -> Tensor:
        """This process's part of their mean over the step, with the squared norms."""
        share = len(losses_B) / batch.size
        return losses_B.sum() / batch.size + self.penalty(model, share)

    def over_levels(
        self, model: Training, users_BKd: Tensor, examples: Examples, batch: Batch
    ) -> Tensor:
        """(B,) the mean of the levels' losses, each with draws of its own."""
        levels = self.levels_of(model, users_BKd, examples, batch)
        return torch.stack([self.level_loss(level) for level in levels]).mean(0)

    def levels_of(
        self, model: Training, users_BKd: Tensor, examples: Examples, batch: Batch
    ) -> list[Level]:
        """Each level's vectors and draws."""
        targets_B, log_q_I = examples.targets_B, model.draws.log_q
        samples = [
            model.draws.step(targets_B, batch.place, level) for level in range(len(model.levels))
        ]
        # One gather for all levels: the gradient of each gather is as large as the whole table.
        asked = [targets_B, *(sample.items_S for sample in samples)]
        own_Bd, *others = model.net.rows(torch.cat(asked)).split([len(part) for part in asked])
        return [
            Level(
                users_BKd[..., :width], own_Bd[:, :width], others_Sd[:, :width], sample, examples,
                log_q_I,
            )
            for width, sample, others_Sd in zip(model.levels, samples, others, strict=True)
        ]  # fmt: skip

    def level_loss(self, level: Level) -> Tensor:
        """(B,) the loss of one level."""
        vectors = (self.read(level), level.own_Bw, level.others_Sw)
        return softmax.of_rows(*vectors, level.examples.targets_B, level.sample, level.log_q_I)

    def read(self, level: Level) -> Tensor:
        """(B, w) the vector with the largest inner product with the target."""
        return nearest(level.users_BKw, level.own_Bw)


class Table:
    """Part of a net whose item vectors are the rows of a table."""

    table: Tensor

    def items(self) -> Tensor:
        """(I, d) all of them."""
        return self.table

    def rows(self, items_N: Tensor) -> Tensor:
        """(N, d) those of some items."""
        return functional.embedding(items_N, self.table)


def nearest(users_BKd: Tensor, own_Bd: Tensor) -> Tensor:
    """(B, d) of each user the vector with the largest inner product with its target.

    Which one is not differentiated; of equals it is the first.
    """
    scores_BK = (users_BKd.detach() @ own_Bd.detach()[:, :, None])[:, :, 0]
    return pick(users_BKd, scores_BK.argmax(1))


def pick(values: Tensor, chosen_B: Tensor) -> Tensor:
    """(B, …) of each row of (B, K, …) the entry of this number."""
    shape = (len(values), 1, *values.shape[2:])
    index = chosen_B.view(-1, *[1] * (values.dim() - 1)).expand(shape)
    return values.gather(1, index)[:, 0]


def newest_last(items_BL: Tensor, n_items: int) -> Tensor:
    """The same windows with their empty places first, wherever those were; the order stays."""
    there_BL = (items_BL < n_items).to(torch.uint8)
    return items_BL.gather(1, there_BL.argsort(dim=1, stable=True))


def shares(
    values_BLd: Tensor, there_BL: Tensor, count: int, logits: Callable[[Tensor], Tensor]
) -> Tensor:
    """(B, K, L) softmax over the places that hold an item of their ``logits``, (T, d) to (T, K).

    Only those T places are computed: most windows of sessions are nearly empty.
    """
    batch, length, dim = values_BLd.shape
    at_T = there_BL.flatten().nonzero()[:, 0]
    logits_TK = logits(values_BLd.reshape(-1, dim).index_select(0, at_T))
    lowest = torch.finfo(logits_TK.dtype).min  # not −∞: a window may be empty
    empty = logits_TK.new_full((batch * length, count), lowest)
    return empty.index_copy(0, at_T, logits_TK).view(batch, length, count).softmax(1).mT


def cosines(users_BKd: Tensor) -> Tensor:
    """(B, K(K−1)/2) cosines of the pairs of a user's vectors, of length 1."""
    count = users_BKd.shape[1]
    first, second = torch.triu_indices(count, count, 1, device=users_BKd.device)
    return (users_BKd @ users_BKd.transpose(1, 2))[:, first, second]
