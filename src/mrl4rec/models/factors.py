"""User and item vectors, of matrix factorisation or LightGCN: what most trained families share.

Shapes: B examples of this process, U users, I items, d dimensions, K negatives an example,
H propagation layers (none in matrix factorisation).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.models.base import Batch, Setup, Trained
from mrl4rec.models.samplers import Negatives

if TYPE_CHECKING:
    from torch import Tensor

with lazy.imports():
    import torch
    from torch.nn import functional

    from mrl4rec.kernels import propagation_torch

Rows: TypeAlias = "tuple[Tensor, Tensor, Tensor]"
"""The rows of the users (B, d), the positives (B, d) and the negatives (B, K, d) of a batch."""


class Vectors:
    """A table of users and one of items, and what draws negatives: matrix factorisation."""

    def __init__(self, setup: Setup, negatives: Negatives) -> None:
        self.users = setup.table("users", setup.seen.n_rows, setup.dim, 0)
        self.items = setup.table("items", setup.seen.n_columns, setup.dim, 1)
        self.parameters = setup.parameters
        """These and what a family adds, by name."""
        self.levels = setup.levels or (setup.dim,)
        self.steps = setup.steps
        widths = negatives.widths(setup.levels, setup.dim)
        self.sampler = negatives.sampler(setup.seen, widths, torch.device(setup.device))

    def pooled(self) -> tuple[Tensor, Tensor]:
        """The (U, d) and (I, d) vectors to score with."""
        return self.users, self.items

    def hops(self) -> tuple[Tensor, Tensor]:
        """Vectors of every layer, (U, H + 1, d) and (I, H + 1, d); their mean is ``pooled``."""
        return self.users[:, None], self.items[:, None]


class LightGCN(Vectors):
    """LightGCN (He et al. 2020): the mean of layers 0 … H, each D^-1/2 A D^-1/2 times the one
    before, A the bipartite graph of training pairs without self loops.
    """

    def __init__(self, setup: Setup, negatives: Negatives, layers: int) -> None:
        super().__init__(setup, negatives)
        self.layers = layers
        self.graph = propagation_torch.adjacency(setup.seen, setup.torch_dtype).to(setup.device)

    def _layers(self) -> Iterator[Tensor]:
        nodes = torch.cat([self.users, self.items])
        yield nodes
        for _ in range(self.layers):
            nodes = propagation_torch.propagate(self.graph, nodes)
            yield nodes

    def pooled(self) -> tuple[Tensor, Tensor]:
        """The mean of the layers, of which no more than two are held at once."""
        layers = self._layers()
        total = next(layers)
        for nodes in layers:
            total = total + nodes
        return halves(total / (self.layers + 1), len(self.users))

    def hops(self) -> tuple[Tensor, Tensor]:
        """The layers side by side."""
        return halves(torch.stack(list(self._layers()), dim=1), len(self.users))


def halves(nodes: Tensor, n_users: int) -> tuple[Tensor, Tensor]:
    """Users and items of a tensor that has both."""
    return nodes[:n_users], nodes[n_users:]


@dataclass(frozen=True)
class Factors(Trained):
    """Vectors trained on pairs: a family gives the ``losses`` of the examples."""

    model: str = "mf"

    def check(self, owner: str) -> None:
        """Raise UsageError where a value is not allowed."""
        super().check(owner)
        layers_of(self.model)

    @property
    def layers(self) -> int:
        """Propagation layers of the model: 0 is matrix factorisation."""
        return layers_of(self.model)

    def start(self, setup: Setup) -> Vectors:
        """The tables, drawn from the seed."""
        if self.layers:
            return LightGCN(setup, self.negatives, self.layers)
        return Vectors(setup, self.negatives)

    def losses(
        self, model: Vectors, user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor
    ) -> Tensor:
        """(B,) losses of the examples, without the regulariser."""
        raise NotImplementedError

    def loss(self, model: Vectors, batch: Batch) -> Tensor:
        """Mean of the losses, and (l2/2)/B times the squared norms of the layer-0 rows."""
        users, items = model.pooled()
        negatives_BK = model.sampler.choose(
            batch.users_B, users, items, batch.place, batch.positives_B
        )
        places = (batch.users_B, batch.positives_B, negatives_BK)
        rows = rows_of(places, users, items)
        loss = self.losses(model, *rows).sum() / batch.size
        if self.l2 == 0:
            return loss
        if users is not model.users:
            rows = rows_of(places, model.users, model.items)
        return loss + self.l2 / 2 / batch.size * squared_norms(*rows)

    def vectors(self, model: Vectors) -> dict[str, Tensor]:
        """The vectors to score with and, for a model with layers, those of layer 0."""
        users, items = model.pooled()
        found = {"user_vectors": users, "item_vectors": items}
        if users is not model.users:
            found |= {"user_vectors_0": model.users, "item_vectors_0": model.items}
        return found


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


def rows_of(places: Rows, users: Tensor, items: Tensor) -> Rows:
    """The rows of users, positives and negatives."""
    users_B, positives_B, negatives_BK = places
    return (
        functional.embedding(users_B, users),
        functional.embedding(positives_B, items),
        functional.embedding(negatives_BK, items),
    )


def squared_norms(user_Bd: Tensor, positive_Bd: Tensor, negative_BKd: Tensor) -> Tensor:
    """Σ‖e_u‖² + Σ‖e_i‖² + Σ‖e_j‖² over all K negatives, full width: the regulariser's sum."""
    return user_Bd.pow(2).sum() + positive_Bd.pow(2).sum() + negative_BKd.pow(2).sum()
