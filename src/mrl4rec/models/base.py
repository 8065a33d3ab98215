"""What a model family is: a configuration that is fitted as a whole, or trained in batches.

Shapes: B examples of a step, U users, I items, d dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.core.hashing import xavier
from mrl4rec.models.levels import default_levels
from mrl4rec.models.samplers import Negatives, NoNegatives
from mrl4rec.models.scorers import FactorModel, from_arrays
from mrl4rec.models.values import Span, Values, check_word, value

with lazy.imports():
    import torch

if TYPE_CHECKING:
    from torch import Tensor

    from mrl4rec.data.interactions import Interactions
    from mrl4rec.data.sequences import Histories
    from mrl4rec.kernels.csr import Csr
    from mrl4rec.models.negatives import Place
    from mrl4rec.models.scorers import Floats, Scorer

CONSUMES = {
    "pairs": None,
    "timed pairs": "times",
    "rated pairs": "ratings",
    "sequences": "order",
}
"""What a family may consume, and what the data must hold for it besides pairs."""
NEEDS = {
    "times": "the times of its pairs",
    "ratings": "the ratings of its reviews",
    "order": "the order of a user's items",
}
FOLLOW = "levels"
AUTO = "auto"


@dataclass(frozen=True)
class Method(Values):
    """A configuration of a family: a named variant, or one with other values."""

    name: str
    """How it is called on the command line and in the report."""
    model: str = ""
    consumes: ClassVar[str] = "pairs"
    """Of ``CONSUMES``: on data without, the method is refused before anything is trained."""
    code: ClassVar[int] = 2
    """Raised when the family gives other models for the same inputs: old ones are then refitted."""
    closed_form: ClassVar[bool] = False
    """Fitted as a whole: no epochs, no draws."""
    caveat: ClassVar[str] = ""
    """What a reader of its figures must know: it stands below every leaderboard that has it."""
    folds_in: ClassVar[bool] = False
    """Scores for users that it was not trained on, by what they had."""

    def __post_init__(self) -> None:
        self.check(self.name)

    @property
    def needs(self) -> str | None:
        """What the data must hold besides pairs, of ``NEEDS``."""
        return CONSUMES[self.consumes]

    @property
    def deterministic(self) -> bool:
        """Gives the same model for every seed."""
        return self.closed_form

    @property
    def has_levels(self) -> bool:
        """Takes a level set; without, it runs once whatever level sets are given."""
        return False

    def needed_bytes(self, n_items: int) -> int:
        """Memory to fit it, where that grows with the square of the items; 0 for others."""
        return 0

    def drawn(self, levels: tuple[int, ...] | None) -> int | None:
        """Candidates drawn for each positive of a batch; None for one that draws none by design."""
        return None

    def widths(self, levels: tuple[int, ...] | None) -> tuple[int | None, ...]:
        """The widths its model is evaluated at; ``(None,)`` for one without vectors to cut."""
        return (None,)


@dataclass(frozen=True)
class Fitted(Method):
    """A family that is fitted as a whole."""

    closed_form: ClassVar[bool] = True
    on_device: ClassVar[bool] = False
    """Solved on a GPU where there is one."""

    def fit(self, data: Interactions, folds: tuple[str, ...], seed: int, device: str) -> Scorer:
        """The model of the pairs in these folds; there is at least one.

        ``seed`` is 0 for a deterministic method, ``device`` is ``cpu`` unless ``on_device``.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class FittedVectors(Fitted):
    """One that gives vectors, which may be cut to 4, 8, 16 … numbers."""

    dim: int = value(64, "numbers in a vector", low=1)

    def check(self, owner: str) -> None:
        """Raise UsageError where a value is not allowed."""
        super().check(owner)
        if not isinstance(self.dim, int):
            raise UsageError(f"{owner}.dim is {self.dim!r}", todo="a whole number")

    def widths(self, levels: tuple[int, ...] | None) -> tuple[int | None, ...]:
        """4, 8, 16 … up to d."""
        return default_levels(self.dim)

    def fit(self, data: Interactions, folds: tuple[str, ...], seed: int, device: str) -> Scorer:
        """The vectors as a model."""
        users, items = self.solve(data.csr(*folds), seed, device)
        return FactorModel(users, items, widths=self.widths(None))

    def solve(self, seen: Csr, seed: int, device: str) -> tuple[Floats, Floats]:
        """(U, d) and (I, d) for these pairs."""
        raise NotImplementedError


class Batch(NamedTuple):
    """The examples of a step that are this process's."""

    users_B: Tensor
    positives_B: Tensor
    """An item of each user."""
    place: Place
    """Where in training the step stands: all that draws and noise depend on."""
    size: int
    """Examples of the step over all processes."""


@dataclass(frozen=True, eq=False)
class Setup:
    """What a model is trained on, and the parameters it gets."""

    seen: Csr
    """(U, I) the training pairs."""
    dim: int
    levels: tuple[int, ...] | None
    seed: int
    steps: int = 1
    """Steps an epoch."""
    dtype: str = "float32"
    device: str = "cpu"
    parameters: dict[str, Tensor] = field(default_factory=dict)
    """What is trained, by the names in a checkpoint."""
    histories: Histories | None = None
    """The training pairs with their order and repeats, where the split is of sequences."""

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type of the parameters."""
        return torch.float64 if self.dtype == "float64" else torch.float32

    def parameter(self, name: str, values: NDArray[Any]) -> Tensor:
        """A trained tensor with these first values."""
        first = torch.from_numpy(values).to(self.torch_dtype).to(self.device)
        self.parameters[name] = torch.nn.Parameter(first)
        return self.parameters[name]

    def table(self, name: str, rows: int, columns: int, number: int) -> Tensor:
        """A trained (rows, columns) tensor, Xavier uniform; ``number`` tells tables apart."""
        return self.parameter(name, xavier(rows, columns, self.seed, number))

    def zeros(self, name: str, size: int) -> Tensor:
        """A trained (size,) tensor that starts at 0."""
        return self.parameter(name, np.zeros(size))


@dataclass(frozen=True)
class Trained(Method):
    """A family that is trained in batches, by Adam."""

    recordable: ClassVar[bool] = True
    """No shape depends on a value, so that a CUDA graph can hold a step."""

    objective: str = ""
    negatives: Negatives = NoNegatives()
    dim: int | Literal["levels"] = value(
        64, "numbers in a vector; `levels`: as many as the last level", low=1
    )
    lr: float = value(1e-3, "Adam's step size; > 0", low=1e-12, tune=Span(2e-4, 1e-2, log=True))
    l2: float = value(
        1e-4,
        "weight of the squared norms, a pair of the batch; 0: none",
        low=0,
        tune=Span(1e-6, 1e-1, log=True),
    )
    batch: int = value(2048, "pairs a step", low=1)
    epochs: int = value(300, "at most so many passes over the pairs", low=1)
    evaluate_every: int = value(5, "epochs between two evaluations", low=1)
    patience: int = value(10, "evaluations below the best before training stops", low=1)
    lag: int | Literal["auto"] = value(
        "auto",
        "steps by which item vectors may be out of date when candidates are scored (fused engine); "
        "0: never; auto: 0 up to 200,000 items, 256 above",
        low=0,
    )
    init: Literal["xavier"] = value("xavier", "U(±√(6/(rows + dim))) for each table")

    def start(self, setup: Setup) -> Any:
        """The model before its first step, its parameters made by ``setup``."""
        raise NotImplementedError

    def loss(self, model: Any, batch: Batch) -> Tensor:
        """() this process's part of the step's loss: the parts add up to it."""
        raise NotImplementedError

    def scorer(
        self,
        arrays: Mapping[str, NDArray[Any]],
        widths: tuple[int | None, ...] = (None,),
        histories: Histories | None = None,
    ) -> Scorer:
        """The model of the arrays that ``vectors`` gave.

        ``histories``: of the users to score for, where it reads them.
        """
        return from_arrays(arrays, widths)

    def vectors(self, model: Any) -> dict[str, Tensor]:
        """What the model folder gets: ``user_vectors`` (U, d) and ``item_vectors`` (I, d) to score
        with and, where they are pooled, those of layer 0 (``user_vectors_0``, ``item_vectors_0``);
        or the arrays of a mixture (``scorers.MixtureModel``).
        """
        raise NotImplementedError

    def check(self, owner: str) -> None:
        """Raise UsageError where a value is not allowed."""
        super().check(owner)
        check_word(owner, "init", self.init, ("xavier",))
        if isinstance(self.lag, str):
            check_word(owner, "lag", self.lag, (AUTO,))
        if isinstance(self.dim, str) and (self.dim != FOLLOW or not self.has_levels):
            raise UsageError(
                f"{owner}.dim is {self.dim!r}",
                todo="a whole number"
                + (f", or `{FOLLOW}` to follow the level set" if self.has_levels else ""),
            )

    @property
    def sums_over_examples(self) -> bool:
        """The loss of a step is a sum over its examples, so that processes can share it out."""
        return True

    @property
    def has_levels(self) -> bool:
        """The loss or the negatives are made a level at a time."""
        return self.negatives.per_level

    @property
    def examples(self) -> str:
        """What an epoch goes over: ``pairs``, ``stretches`` of them, each beginning where the last
        one ended, or ``users``, each with one of its pairs.
        """
        return "pairs"

    def epoch_steps(self, one_pass: int) -> int:
        """Steps an epoch, where all the examples fill ``one_pass``."""
        return one_pass

    def drawn(self, levels: tuple[int, ...] | None) -> int | None:
        """Items drawn for each positive, over all its levels."""
        return self.negatives.drawn(self.scored_at(levels))

    def scored_at(self, levels: tuple[int, ...] | None) -> tuple[int, ...]:
        """The widths at which candidates are scored, of which each gives its own negatives."""
        return self.negatives.widths(levels, self.width(levels))

    def width(self, levels: tuple[int, ...] | None) -> int:
        """The dimension d, for this level set."""
        if isinstance(self.dim, int):
            return self.dim
        if not levels:
            raise UsageError(f"{self.name}.dim follows the level set, and there is none")
        return levels[-1]

    def widths(self, levels: tuple[int, ...] | None) -> tuple[int | None, ...]:
        """Its levels; without levels 4, 8, 16 … up to d."""
        if self.has_levels and levels:
            return levels
        return default_levels(self.width(levels))
