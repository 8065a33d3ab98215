"""Methods that read a user's whole history at once. Defaults: docs/methods.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from mrl4rec.methods.base import Method, check_word, value
from mrl4rec.methods.factors import Factors


@dataclass(frozen=True)
class Macrid(Factors):
    """MacridVAE (Ma et al. 2019): a vector for each concept of items. No negatives are drawn."""

    trained_as: ClassVar[str] = "macridvae"

    concepts: int = value(7, "concepts of items, each with a vector of its own", low=1)
    hidden: int = value(600, "numbers in the encoder's hidden layer", low=1)
    tau: float = value(0.1, "temperature of mixing and scores", low=0.05)
    std: float = value(0.075, "σ₀, scale of prior and noise; 0: no noise", low=0)
    beta: float = value(0.2, "weight of the divergence once it is there", low=0)
    anneal: float = value(20.0, "epochs over which beta grows from 0; 0: at once", low=0)
    drop: float = value(0.5, "share of a history's entries that is dropped", low=0, high=0.95)

    def check_model(self) -> None:
        """Raise UsageError where the model is not its own."""
        check_word(self.name, "model", self.model, (self.trained_as,))

    @property
    def layers(self) -> int:
        """None."""
        return 0

    @property
    def examples(self) -> str:
        """Users, each with all its items."""
        return "users"

    def widths(self, levels: tuple[int, ...] | None) -> tuple[int | None, ...]:
        """None: a mixture of inner products has no prefixes."""
        return (None,)


def _macrid(name: str, **values: Any) -> Macrid:
    return Macrid(name, "macridvae", "multinomial", "none", candidates=1, l2=0.0, **values)


ROWS: tuple[Method, ...] = (
    _macrid("MVAE", batch=500),
    _macrid("MVAE-own", batch=500, dim=100),
    _macrid("MVAE-recbole", batch=500, concepts=10, std=0.01),
)
"""Plain with MRL4Rec's 64 dimensions, ``-own`` with its paper's 100; a batch is of users."""
