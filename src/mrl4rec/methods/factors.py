"""Methods whose vectors are trained in batches.

Equations: docs/methods.md#equations; defaults: docs/methods.md#hyper-parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from mrl4rec.errors import UsageError
from mrl4rec.methods.base import Method, check_word, value
from mrl4rec.methods.levels import default_levels

Objective = Literal["bpr", "bpr_each", "mrl", "bce", "uib", "ssm", "bsl", "directau", "multinomial"]
Negatives = Literal[
    "none", "in_batch", "shared", "every", "uniform", "popular", "dns", "dns_mn", "dns_best",
    "ahns", "mixgcf", "dens",
]  # fmt: skip
"""Kinds of negatives. ``per_level(KIND)`` draws and takes one a level; ``per_level`` is
``per_level(dns)``."""
BY_LEVEL = ("uniform", "popular", "dns", "dns_mn", "ahns")
"""Kinds that take one item, and so can take one a level."""
ONE_DRAW = ("none", "in_batch", "uniform")
"""Kinds in which nothing is taken among several."""
PER_LEVEL = "per_level"
FOLLOW = "levels"
AUTO = "auto"


@dataclass(frozen=True)
class Factors(Method):
    """User and item vectors, trained in batches against drawn negatives."""

    trained_as: ClassVar[str] = "pairwise"
    """Which loss trains it: a word of ``training.step_loss.ROOMS``."""

    objective: Objective
    negatives: str
    """A kind of ``Negatives``, or ``per_level(KIND)``."""
    dim: int | Literal["levels"] = value(
        64, "numbers in a vector; `levels`: as many as the last level", low=1
    )
    candidates: int = value(16, "uniform draws of which the hardest is taken, a level", low=1)
    lr: float = value(1e-3, "Adam's step size; > 0", low=1e-12)
    l2: float = value(1e-4, "weight of the squared norms, a pair of the batch; 0: none", low=0)
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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_word(self.name, "objective", self.objective, get_args(Objective))
        check_word(self.name, "negatives", self.kind, get_args(Negatives))
        check_word(self.name, "init", self.init, ("xavier",))
        self.check_model()
        if isinstance(self.lag, str):
            check_word(self.name, "lag", self.lag, (AUTO,))
        if self.per_level and self.kind not in BY_LEVEL:
            raise UsageError(
                f"{self.name}.negatives is {self.negatives!r}, and {self.kind} is not made a level",
                todo="known a level: " + ", ".join(BY_LEVEL),
            )
        if self.kind in ONE_DRAW and self.candidates != 1:
            raise UsageError(
                f"{self.name} draws one negative, so candidates is 1, not {self.candidates}"
                if self.kind == "uniform"
                else f"{self.name} chooses among no draws, so candidates is 1, not "
                f"{self.candidates}",
                todo="choose BPR-D, which takes the hardest of several",
            )
        if isinstance(self.dim, str) and (self.dim != FOLLOW or not self.has_levels):
            raise UsageError(
                f"{self.name}.dim is {self.dim!r}",
                todo="a whole number"
                + (f", or `{FOLLOW}` to follow the level set" if self.has_levels else ""),
            )

    def check_model(self) -> None:
        """Raise UsageError where the model is none that it can be trained on."""
        layers_of(self.model)

    @property
    def closed_form(self) -> bool:
        """Trained by steps."""
        return False

    @property
    def kind(self) -> str:
        """The kind of its negatives, a level or all levels."""
        if self.negatives == PER_LEVEL:
            return "dns"
        return self.negatives.removeprefix(f"{PER_LEVEL}(").removesuffix(")")

    @property
    def per_level(self) -> bool:
        """Every level has its own negative."""
        return self.negatives.startswith(PER_LEVEL)

    def scored_at(self, levels: tuple[int, ...] | None) -> tuple[int, ...]:
        """The widths at which candidates are scored, of which each gives its own negatives."""
        dim = self.width(levels)
        return (levels or (dim,)) if self.per_level else (dim,)

    def drawn(self, levels: tuple[int, ...] | None) -> int | None:
        """Items drawn for each positive, over all its levels."""
        if self.kind in ("none", "in_batch"):
            return 0
        return self.candidates * len(self.scored_at(levels))

    @property
    def has_levels(self) -> bool:
        """The loss or the negatives are made a level at a time."""
        return self.objective == "mrl" or self.per_level

    @property
    def sums_over_examples(self) -> bool:
        """The loss of a batch is a sum over its examples, so that processes can share it out."""
        return True

    @property
    def examples(self) -> str:
        """What an epoch goes over: ``pairs``, or ``users``, each with one of its pairs."""
        return "pairs"

    @property
    def epoch_steps(self) -> int:
        """Steps an epoch; 0: as many as the examples fill."""
        return 0

    @property
    def layers(self) -> int:
        """Propagation layers of the model: 0 is matrix factorisation."""
        return layers_of(self.model)

    def width(self, levels: tuple[int, ...] | None) -> int:
        """The dimension d, for this level set."""
        if isinstance(self.dim, int):
            return self.dim
        if not levels:
            raise UsageError(f"{self.name}.dim follows the level set, and there is none")
        return levels[-1]

    def widths(self, levels: tuple[int, ...] | None) -> tuple[int | None, ...]:
        """Its levels; without levels 4, 8, 16 … up to d, the prefixes of the paper's Fig. 3."""
        if self.has_levels and levels:
            return levels
        return default_levels(self.width(levels))


def layers_of(model: str) -> int:
    """Layers of a factor model by its name: ``mf`` → 0, ``lightgcn-2`` → 2. Raises UsageError."""
    if model == "mf":
        return 0
    match = re.fullmatch(r"lightgcn-([1-9]\d?)", model)
    if match is None:
        raise UsageError(
            f"unknown model {model!r}", todo="known: mf, lightgcn-N with N = 1, 2, … layers"
        )
    return int(match.group(1))


def _factors(name: str, objective: Objective, negatives: str, **values: Any) -> Factors:
    return Factors(name, "mf", objective, negatives, **values)


ROWS: tuple[Method, ...] = (
    _factors("BPR", "bpr", "uniform", candidates=1),
    _factors("BPR-D", "bpr", "dns"),
    _factors("BPR-D80", "bpr", "dns", candidates=80),
    _factors("BPR-M", "bpr", "per_level"),
    _factors("MRL-D", "mrl", "dns"),
    _factors("MRL-M", "mrl", "per_level"),
)
"""The rows of the paper's Table 3, and BPR-D with as many candidates as MRL-M draws."""
