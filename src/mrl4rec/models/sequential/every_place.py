"""Families that predict every next item of a window at once.

Shapes: T places of this process's windows that hold an item, I items, d dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrl4rec.core import lazy
from mrl4rec.models.base import Batch
from mrl4rec.models.sequential.base import RATE, Noise, Sequential, Training
from mrl4rec.models.sequential.packed import Packed
from mrl4rec.models.values import value

if TYPE_CHECKING:
    from torch import Tensor

with lazy.imports():
    import torch

    from mrl4rec.models import negatives as draws
    from mrl4rec.models.sequential import binary, softmax


@dataclass(frozen=True)
class EveryPlace(Sequential):
    """An example is a sequence. Its net gives ``states``: the user's vector after each item."""

    objective: str = "softmax"
    lr: float = value(1e-3, "Adam's step size; > 0", low=1e-12, tune=RATE)
    batch: int = value(64, "sequences a step", low=1)
    evaluate_every: int = value(2, "epochs between two evaluations", low=1)
    patience: int = value(10, "evaluations below the best before training stops", low=1)
    epoch_size: int = value(
        200,
        "at most so many steps an epoch, so that many sequences are evaluated as often as few; 0: "
        "one pass over them",
        low=0,
    )
    length: int = value(200, "L: so many of the newest items of a history are read", low=1)
    pool: int = value(
        1280, "items of the step's targets that are negatives (in-batch negatives alone)", low=1
    )
    half: int = value(1, "1: logits are bfloat16 products; 0: float32", low=0, high=1)
    calibration: float = value(
        0.75, "t of gBCE: 0: plain BCE; 1: unbiased by the number of negatives", low=0, high=1
    )

    def epoch_steps(self, one_pass: int) -> int:
        """Steps an epoch: a pass has all targets, so more would be the same ones again."""
        return min(self.epoch_size or one_pass, one_pass)

    @property
    def targets(self) -> str:
        """All of a sequence's."""
        return "all"

    def loss(self, model: Training, batch: Batch) -> Tensor:
        """This process's part of the sum over all places, divided by the step's windows and their
        length: a constant, so that the parts of processes add up.
        """
        rows_B, ends_B = batch.users_B, batch.positives_B
        at = Packed(model.before(rows_B, ends_B, self.length), model.n_items, Noise(batch.place))
        targets_T = at.of(model.before(rows_B, ends_B + 1, self.length))
        losses_T = self.losses(model, model.net.states(at), targets_T, batch, at)
        mean = losses_T.sum() / (batch.size * self.length)
        return mean + self.penalty(model, len(rows_B) / batch.size)

    def losses(
        self, model: Training, users_Td: Tensor, targets_T: Tensor, batch: Batch, at: Packed
    ) -> Tensor:
        """(T,) the loss at each place, the mean over levels."""
        items_Id, n_levels = model.net.items(), len(model.levels)
        total = users_Td.new_zeros(len(users_Td))
        for level, width in enumerate(model.levels):
            sides = (users_Td[:, :width], items_Id[:, :width], targets_T)
            total = total + self._at_level(model, sides, batch, at, level)
        return total / n_levels

    def _at_level(
        self,
        model: Training,
        sides: tuple[Tensor, Tensor, Tensor],
        batch: Batch,
        at: Packed,
        level: int,
    ) -> Tensor:
        place, targets_T = batch.place, sides[2]
        if self.objective == "bce":
            rows_T = at.rows_T + place.first * self.length
            return binary.bce(*sides, binary.others(place, rows_T, targets_T, model.n_items, level))
        if self.objective == "gbce":
            power = binary.calibrated_power(self.calibration, model.draws.size, model.n_items)
            return binary.gbce(*sides, model.draws.sample(place, level).items_S, power)
        half = bool(self.half) and sides[0].dtype == torch.float32
        if self.negatives.kind == "in_batch":
            pool = -(-self.pool // len(model.levels))
            chosen = draws.shared(place, pool, len(targets_T), targets_T.device, level)
            sample = model.draws.step(targets_T[chosen], place, level)
            return softmax.sampled(*sides, sample, model.draws.log_q, half=half)
        found: Tensor = model.draws.losses(*sides, place, level, half=half)
        return found
