"""DCCF (Ren et al. 2023): neighbours, global intents, and two graphs weighed by what they find.

From x of a layer: g = Â x; r = softmax(x C) Cᵀ, C the intents of the user or item side; a and b are
the sums over neighbours of x, an edge weighing (1 + cos)/2 of its ends' g (for a) or r (for b),
divided by the node's total. The next layer is g + r + a + b + x, and the vectors to score with are
the SUM of layers 0 … H.

Shapes: N = U + I nodes, M directed edges, d dimensions, T intents, H layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from mrl4rec.core import lazy
from mrl4rec.models.base import Batch, Setup
from mrl4rec.models.factors import halves
from mrl4rec.models.graph import Nodes, OwnGraph, batch_nodes, info_nce
from mrl4rec.models.values import Span, check_word, value

if TYPE_CHECKING:
    from torch import Tensor

with lazy.imports():
    import torch
    from torch.nn import functional

TINY = 1e-12


@dataclass(frozen=True)
class Dccf(OwnGraph):
    """BPR on the sum of layers, norms of the intents, and contrast of views in each layer."""

    model: str = "dccf"
    depth: int = value(1, "layers", low=1)
    intents: int = value(128, "intents a side", low=1)
    lam: float = value(
        0.1, "weight of the contrast; 0: none", low=0, tune=Span(1e-2, 1.0, log=True)
    )
    tau: float = value(
        1.0, "temperature of the contrast; > 0", low=1e-3, tune=Span(1e-1, 2.0, log=True)
    )
    intent_l2: float = value(5e-3, "weight of the intents' squared norms; 0: none", low=0)
    sampling: Literal["pairs", "users"] = value(
        "pairs", "what examples are drawn from: `pairs`, or `users`, each with one of its pairs"
    )
    steps: int = value(0, "steps an epoch; 0: one pass over the pairs or users", low=0)

    def check(self, owner: str) -> None:
        """Raise UsageError where a value is not allowed."""
        super().check(owner)
        check_word(owner, "sampling", self.sampling, ("pairs", "users"))

    @property
    def examples(self) -> str:
        """What an epoch goes over."""
        return self.sampling

    def epoch_steps(self, one_pass: int) -> int:
        """Steps an epoch."""
        return self.steps or one_pass

    def start(self, setup: Setup) -> DCCF:
        """The tables and the intents, drawn from the seed."""
        return DCCF(setup, self)

    def loss(self, model: DCCF, batch: Batch) -> Tensor:
        """The loss of the whole batch."""
        pooled, layers = model.layered()
        loss = self.ranking(model, pooled, batch)
        intents = model.user_intents.pow(2).sum() + model.item_intents.pow(2).sum()
        apart = contrast(layers, batch_nodes(model, batch), self.tau)
        return loss + self.intent_l2 * intents + self.lam * apart


class Layer(NamedTuple):
    """What one layer finds, each (N, d)."""

    graph: Tensor
    intent: Tensor
    by_graph: Tensor
    by_intent: Tensor


class DCCF(Nodes):
    """The tables and the intents, propagated by the rules above."""

    def __init__(self, setup: Setup, method: Dccf) -> None:
        super().__init__(setup, method.negatives)
        self.layers = method.depth
        self.user_intents = setup.table("user_intents", setup.dim, method.intents, 2)
        self.item_intents = setup.table("item_intents", setup.dim, method.intents, 3)

    def pooled(self) -> tuple[Tensor, Tensor]:
        """The pooled (U, d) and (I, d) vectors: the sum of layers 0 … H."""
        return halves(self.layered()[0], len(self.users))

    def layered(self) -> tuple[Tensor, list[Layer]]:
        """The pooled (N, d) vectors, and what each layer found."""
        nodes = torch.cat([self.users, self.items])
        pooled, found = nodes, []
        for _ in range(self.layers):
            layer = self._layer(nodes)
            nodes = nodes + layer.graph + layer.intent + layer.by_graph + layer.by_intent
            pooled = pooled + nodes
            found.append(layer)
        return pooled, found

    def _layer(self, nodes: Tensor) -> Layer:
        graph = self.edges.sums(self.normal, nodes)
        sides = nodes.split([len(self.users), len(self.items)])
        centres = (self.user_intents, self.item_intents)
        intent = torch.cat(
            [torch.softmax(x @ c, dim=1) @ c.T for x, c in zip(sides, centres, strict=True)]
        )
        return Layer(graph, intent, self._weighed(graph, nodes), self._weighed(intent, nodes))

    def _weighed(self, view: Tensor, nodes: Tensor) -> Tensor:
        """Means over neighbours, weighed by how alike the view finds the two ends."""
        unit = functional.normalize(view)
        weights_M1 = (1 + self.edges.dots(unit, unit)) / 2
        totals_N1 = self.edges.totals(weights_M1)
        return self.edges.sums(weights_M1, nodes) / (totals_N1 + TINY)


def contrast(layers: list[Layer], sides: tuple[Tensor, Tensor], temperature: float) -> Tensor:
    """InfoNCE of the graph's view against each other one, summed over layers, sides and views.

    ``sides`` are the users and the items of a batch, as nodes.
    """
    terms = [
        info_nce(layer.graph[nodes], view[nodes], temperature)
        for layer in layers
        for nodes in sides
        for view in (layer.intent, layer.by_graph, layer.by_intent)
    ]
    return torch.stack(terms).sum()


VARIANTS = (
    Dccf("DCCF"),
    # its code adds 2.5e-5 · Σ‖·‖², undivided, to a mean over 10,240 examples: l2/2/B is that
    Dccf(
        "DCCF-own", dim=32, depth=2, batch=10_240, l2=2 * 10_240 * 2.5e-5, sampling="users",
        steps=40, epochs=150,
    ),
)  # fmt: skip
"""Plain with MRL4Rec's settings, ``-own`` with its paper's."""
