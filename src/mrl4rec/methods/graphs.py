"""Methods that compare the nodes of a graph with each other.

Equations: docs/methods.md#graph-methods-and-macridvae.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from mrl4rec.errors import UsageError
from mrl4rec.methods.base import Method, check_word, value
from mrl4rec.methods.factors import Factors


@dataclass(frozen=True)
class Graph(Factors):
    """BPR with one uniform negative on propagated vectors, and a term over a whole batch."""

    @property
    def sums_over_examples(self) -> bool:
        """Contrast and correlation are between the nodes of a batch."""
        return False


@dataclass(frozen=True)
class XSimGcl(Graph):
    """Yu et al. 2023: noise in every layer, the mean of layers held against one of them."""

    trained_as: ClassVar[str] = "xsimgcl"

    lam: float = value(0.2, "weight of the contrast; 0: none", low=0)
    eps: float = value(0.2, "length of the noise added to each vector, a layer", low=0)
    tau: float = value(0.15, "temperature of the contrast; > 0", low=1e-3)
    contrast_layer: int = value(1, "the layer held against the mean, from 1", low=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.contrast_layer <= self.layers:
            raise UsageError(
                f"{self.name}.contrast_layer is {self.contrast_layer}, its model {self.model} has "
                f"{self.layers} layers",
                todo="a layer of the model, e.g. 1",
            )


@dataclass(frozen=True)
class OwnGraph(Graph):
    """One whose propagation is its own: its model cannot be swapped."""

    def check_model(self) -> None:
        """Raise UsageError where the model is not its own."""
        check_word(self.name, "model", self.model, (self.trained_as,))

    @property
    def layers(self) -> int:
        """One, unless it says otherwise."""
        return 1


@dataclass(frozen=True)
class Dgcf(OwnGraph):
    """Wang et al. 2020: chunks of a vector share each edge among them, by routing."""

    trained_as: ClassVar[str] = "dgcf"

    factors: int = value(4, "chunks of a vector; they divide dim", low=1)
    iterations: int = value(2, "rounds of routing", low=1)
    cor: float = value(0.01, "weight of the chunks' distance correlation; 0: none", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.dim, int) and self.dim % self.factors:
            raise UsageError(
                f"{self.name}.dim is {self.dim}, which {self.factors} factors do not divide",
                where=f"--set {self.name}.factors",
                todo="take a number of factors that divides dim",
            )


@dataclass(frozen=True)
class Dccf(OwnGraph):
    """Ren et al. 2023: global intents and two re-weighed graphs beside the plain one."""

    trained_as: ClassVar[str] = "dccf"

    depth: int = value(1, "layers", low=1)
    intents: int = value(128, "intents a side", low=1)
    lam: float = value(0.1, "weight of the contrast; 0: none", low=0)
    tau: float = value(1.0, "temperature of the contrast; > 0", low=1e-3)
    intent_l2: float = value(5e-3, "weight of the intents' squared norms; 0: none", low=0)
    sampling: Literal["pairs", "users"] = value(
        "pairs", "what examples are drawn from: `pairs`, or `users`, each with one of its pairs"
    )
    steps: int = value(0, "steps an epoch; 0: one pass over the pairs or users", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_word(self.name, "sampling", self.sampling, ("pairs", "users"))

    @property
    def layers(self) -> int:
        """Its depth."""
        return self.depth

    @property
    def examples(self) -> str:
        """What an epoch goes over."""
        return self.sampling

    @property
    def epoch_steps(self) -> int:
        """Steps an epoch; 0: as many as the examples fill."""
        return self.steps


def _graph(kind: Any, name: str, model: str, **values: Any) -> Any:
    return kind(name, model, "bpr", "uniform", candidates=1, **values)


ROWS: tuple[Method, ...] = (
    _graph(XSimGcl, "XSimGCL", "lightgcn-2"),
    _graph(Dgcf, "DGCF", "dgcf"),
    _graph(Dgcf, "DGCF-own", "dgcf", batch=2000, l2=1e-3),
    _graph(Dccf, "DCCF", "dccf"),
    # its code adds 2.5e-5 · Σ‖·‖², undivided, to a mean over 10,240 examples: l2/2/B is that
    _graph(
        Dccf, "DCCF-own", "dccf", dim=32, depth=2, batch=10_240, l2=2 * 10_240 * 2.5e-5,
        sampling="users", steps=40, epochs=150,
    ),
)  # fmt: skip
"""Named as the rows of ``losses``: plain with MRL4Rec's settings, ``-own`` with their paper's."""
