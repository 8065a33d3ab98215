"""SASRec (Kang and McAuley 2018): a causal transformer that predicts every next item.

With the softmax over all items, or a large sample of them, it is a strong model (Klenitskiy and
Vasilev 2023); with its own loss, BCE against one negative, it is not. eSASRec (Tikhonovich et al.
2025) has LiGR layers and the sampled softmax. Equations: docs/sequences.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.models.samplers import InBatch, Negatives, NoNegatives, Shared, SharedPopular, Uniform
from mrl4rec.models.sequential.every_place import EveryPlace
from mrl4rec.models.values import Span, value

if TYPE_CHECKING:
    from mrl4rec.models.sequential.transformer import Transformer
    from mrl4rec.models.sequential.weights import Weights

with lazy.imports():
    from mrl4rec.models.sequential import transformer


@dataclass(frozen=True)
class SASRec(EveryPlace):
    """A transformer over the newest items, which are read and scored by the same vectors."""

    model: str = "sasrec"
    negatives: Negatives = NoNegatives()
    layers: int = value(2, "transformer layers", low=1)
    heads: int = value(1, "heads of a layer; dim is a multiple of them", low=1)
    wide: int = value(1, "hidden numbers of a feed-forward part, in units of dim", low=1)
    dropout: float = value(
        0.2, "share of the numbers set to 0 in training", low=0, high=0.9, tune=Span(0.0, 0.5)
    )

    def check(self, owner: str) -> None:
        """Raise UsageError where a value is not allowed."""
        super().check(owner)
        if isinstance(self.dim, int) and self.dim % self.heads:
            raise UsageError(
                f"{owner}.dim is {self.dim}, and its {self.heads} heads do not divide it",
                where=f"--set {owner}.heads",
                todo="heads that divide dim",
            )

    def net(self, weights: Weights, n_items: int, dim: int) -> Transformer:
        """The transformer."""
        shape = transformer.Shape(
            dim,
            self.layers,
            self.heads,
            self.length,
            self.wide,
            self.dropout,
            gated=self.model == "esasrec",
        )
        return transformer.Transformer(weights, n_items, shape)


VARIANTS = (
    SASRec("SASRec"),
    SASRec("SASRec-sampled", negatives=Shared(1280)),
    SASRec("SASRec-popular", negatives=SharedPopular(1280)),
    SASRec("SASRec-in-batch", negatives=InBatch()),
    SASRec("SASRec-bce", objective="bce", negatives=Uniform()),
    SASRec("SASRec-gbce", objective="gbce", negatives=Shared(256)),
    SASRec("eSASRec", model="esasrec", negatives=Shared(256), wide=4),
)
