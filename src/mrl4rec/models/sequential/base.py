"""What a sequential family is: a net from histories to user vectors, and how it is trained.

Shapes: B examples of this process, L places of a window, K vectors a user, I items, d dimensions.
A window holds the newest L items of a history, oldest first, after ``n_items`` where there are
fewer: the last place is always the newest item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.models.base import Batch, Setup, Trained
from mrl4rec.models.levels import default_levels
from mrl4rec.models.samplers import Negatives, Shared
from mrl4rec.models.sequential.weights import Trained as TrainedWeights
from mrl4rec.models.values import Span, value

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from mrl4rec.data.sequences import Histories
    from mrl4rec.models.negatives import Place
    from mrl4rec.models.scorers import Scorer
    from mrl4rec.models.sequential.weights import Weights

with lazy.imports():
    import torch

    from mrl4rec.kernels import noise_torch
    from mrl4rec.models.sequential import model as models
    from mrl4rec.models.sequential import softmax

NESTED = "mrl"
"""What ``X@mrl`` trains: every level of the vectors by itself."""


class Noise:
    """Dropout of a training step, a function of seed, step and example; without one, none."""

    def __init__(self, place: Place | None = None) -> None:
        self.place, self.used = place, 0

    def dropped(
        self, values: Tensor, rate: float, rows_R: Tensor | None = None, each: int = 1
    ) -> Tensor:
        """(B, …) with a share of ``rate`` set to 0 and the rest scaled up.

        Where an example has ``each`` rows of its own, ``rows_R`` are the numbers of those given,
        counted from this process's first example.
        """
        if self.place is None or rate == 0:
            return values
        self.used += 1
        word = noise_torch.word(self.place.seed, self.place.step, noise_torch.DROP, self.used)
        first = self.place.first * each
        if rows_R is None:
            return noise_torch.dropout(values, rate, word, first)
        return noise_torch.dropout_of(values, rate, word, rows_R + first)


class Net(Protocol):
    """The tensors of a family, and what they make of a window."""

    def items(self) -> Tensor:
        """(I, d) the vectors that user vectors are multiplied with."""

    def encode(self, items_BL: Tensor, noise: Noise | None = None) -> Tensor:
        """(B, K, d) user vectors. A row of nothing but ``n_items`` may give anything finite."""


@dataclass(frozen=True, eq=False)
class Training:
    """A net being trained, and the histories that its examples are cut from."""

    net: Any
    draws: Any
    """The negatives of a step (``softmax.Negatives``)."""
    indptr: Tensor
    items: Tensor
    """(E,) int64, all training sequences one after another."""
    n_items: int
    levels: tuple[int, ...]
    """The widths that have a loss of their own; (d,) for a plain method."""
    parameters: Mapping[str, Tensor]
    steps: int
    """Steps an epoch."""

    def windows(self, batch: Batch, length: int) -> tuple[Tensor, Tensor]:
        """(B, L) what came before each target, and (B,) the targets.

        Of an example of a sequential method ``users_B`` is the row of a sequence, ``positives_B``
        the place of the target among all events.
        """
        return self.before(batch.users_B, batch.positives_B, length), self.items[batch.positives_B]

    def before(self, rows_B: Tensor, ends_B: Tensor, length: int) -> Tensor:
        """(B, length) the items of these sequences before these places."""
        places = ends_B[:, None] + torch.arange(-length, 0, device=ends_B.device)
        there = places >= self.indptr[rows_B][:, None]
        found: Tensor = torch.where(there, self.items[places.clamp(min=0)], self.n_items)
        return found


@dataclass(frozen=True)
class Sequential(Trained):
    """A family that reads histories. It trains on one target of each sequence, drawn anew every
    time, against negatives that all examples of a step share (a family may do otherwise).
    """

    consumes: ClassVar[str] = "sequences"
    folds_in: ClassVar[bool] = True
    recordable = False
    normalised: ClassVar[bool] = False
    """Vectors lie on the unit sphere, at every level."""

    negatives: Negatives = Shared(1280)
    l2: float = value(0.0, "weight of the squared norms of all weights, a step; 0: none", low=0)
    batch: int = value(1024, "examples a step", low=1)
    epochs: int = value(200, "at most so many epochs", low=1)
    evaluate_every: int = value(1, "epochs between two evaluations", low=1)
    patience: int = value(5, "evaluations below the best before training stops", low=1)
    epoch_size: int = value(200, "steps an epoch; 0: one for every sequence", low=0)
    length: int = value(20, "L: so many of the newest items of a history are read", low=1)
    interests: int = value(1, "K: vectors a user", low=1, high=64)
    least: int = value(1, "items that must come before a target in training", low=1)
    nested: int = value(
        0,
        "1: every level has a loss and negatives of its own, which share the number out; 0: the "
        "full width alone",
        low=0,
        high=1,
    )  # fmt: skip

    def net(self, weights: Weights, n_items: int, dim: int) -> Net:
        """The family's net, its tensors asked of ``weights``."""
        raise NotImplementedError

    def loss(self, model: Training, batch: Batch) -> Tensor:
        """This process's part of the mean loss of the examples of a step."""
        raise NotImplementedError

    def check(self, owner: str) -> None:
        """Raise UsageError where a value is not allowed."""
        super().check(owner)
        if self.interests > self.length:
            raise UsageError(
                f"{owner} makes {self.interests} vectors of {self.length} items",
                where=f"--set {owner}.interests",
                todo="at most as many vectors as items of a history are read (length)",
            )

    @property
    def has_levels(self) -> bool:
        """Where it is nested."""
        return bool(self.nested)

    @property
    def sums_over_examples(self) -> bool:
        """Unless the examples of a step are each other's negatives."""
        return self.negatives.kind != "in_batch"

    @property
    def targets(self) -> str:
        """What an example is: ``one`` target of a sequence, or ``all`` of them at once."""
        return "one"

    @property
    def examples(self) -> str:
        """Sequences, each with one of its targets or with all of them."""
        return "users" if self.targets == "one" else "stretches"

    def epoch_steps(self, one_pass: int) -> int:
        """Steps an epoch."""
        return self.epoch_size or one_pass

    def start(self, setup: Setup) -> Training:
        """The net before its first step, and the sequences on the device."""
        histories = setup.histories
        assert histories is not None, "refused before: it needs sequences"
        device = torch.device(setup.device)
        counts = np.bincount(histories.items, minlength=histories.n_items)
        return Training(
            net=self.net(TrainedWeights(setup), histories.n_items, setup.dim),
            draws=softmax.Draws(self.negatives, counts, device, len(setup.levels or (1,))),
            indptr=torch.from_numpy(histories.indptr).to(device),
            items=torch.from_numpy(histories.items.astype(np.int64)).to(device),
            n_items=histories.n_items,
            levels=setup.levels or (setup.dim,),
            parameters=setup.parameters,
            steps=setup.steps,
        )

    def vectors(self, model: Training) -> dict[str, Tensor]:
        """The net's tensors, and its ``item_vectors`` (I, d)."""
        return {**model.parameters, models.ITEM_VECTORS: model.net.items()}

    def scorer(
        self,
        arrays: Mapping[str, NDArray[Any]],
        widths: tuple[int | None, ...] = (None,),
        histories: Histories | None = None,
    ) -> Scorer:
        """The model of these arrays, for the users of ``histories``."""
        assert histories is not None
        return models.SequenceModel(self, arrays, histories, widths)

    def widths(self, levels: tuple[int, ...] | None) -> tuple[int | None, ...]:
        """Its levels; without levels 4, 8, 16 … up to d."""
        if self.has_levels and levels:
            return levels
        return default_levels(self.width(levels))

    def softmax(self, model: Training, users_Bd: Tensor, targets_B: Tensor, batch: Batch) -> Tensor:
        """(B,) the softmax loss of these vectors: the mean over levels, each with its own draws."""
        items_Id = model.net.items()
        losses_LB = [
            model.draws.losses(users_Bd[:, :width], items_Id[:, :width], targets_B, batch.place, n)
            for n, width in enumerate(model.levels)
        ]
        return torch.stack(losses_LB).mean(0)

    def penalty(self, model: Training, share: float) -> Tensor | float:
        """(l2/2) times the squared norms of all weights; ``share``: this process's part."""
        if self.l2 == 0:
            return 0.0
        norms = torch.stack([part.pow(2).sum() for part in model.parameters.values()]).sum()
        return self.l2 / 2 * share * norms


RATE = Span(1e-4, 1e-2, log=True)
"""Where step sizes of sequential families are looked for."""
