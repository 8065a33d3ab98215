"""One model's prefixes, clustered, against what was planted and against each other.

Shapes: N users or items, d dimensions, L planted depths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError
from mrl4rec.core.hashing import chain
from mrl4rec.data.synthetic.truth import Truth
from mrl4rec.evaluation.hierarchy.clusters import agreement, clusters, contained
from mrl4rec.models.model_folder import Loaded
from mrl4rec.models.rotation import rotate
from mrl4rec.models.scorers import FactorModel

SIDES = ("users", "items")
LEAST_IN_CLUSTER = 10
"""On average, where the number of clusters is ours to choose."""

Groups = Mapping[str, NDArray[np.int32]]
"""By side, (N, L) planted group at each depth; −1 for an id that was not planted."""


@dataclass(frozen=True)
class Row:
    """One number: see table ``hierarchy``."""

    side: str
    measure: str
    width: int
    depth: int
    clusters: int
    value: float
    chance: float


def planted_groups(loaded: Loaded, truth: Truth) -> Groups:
    """The planted groups of a model's users and items, by their external ids."""
    depths = len(truth.spec.branching)
    out = {}
    sides = truth.groups["side"].to_pylist()
    rows = np.stack([truth.groups[f"group_{n + 1}"].to_numpy() for n in range(depths)], axis=1)
    place: dict[tuple[str, str], int] = {
        (side, name): at
        for at, (side, name) in enumerate(zip(sides, truth.groups["id"].to_pylist(), strict=True))
    }
    for side, ids in (("user", loaded.ids.user_ids), ("item", loaded.ids.item_ids)):
        at = np.array([place.get((side, str(name)), -1) for name in ids])
        out[f"{side}s"] = np.where(at[:, None] >= 0, rows[at], -1).astype(np.int32)
    return out


def measure(loaded: Loaded, groups: Groups | None, *, rotated: bool, seed: int = 0) -> list[Row]:
    """Every number of one model; ``groups`` None: what was planted is not known.

    ``ami``: k-means with as many clusters as there are groups at a depth. ``contained``: as many
    clusters as a prefix has dimensions (fewer of few things), each width against the next. Raises
    UsageError where the model has no vectors.
    """
    model = loaded.model
    if not isinstance(model, FactorModel):
        raise UsageError(
            f"{loaded.card.method_name} has no vectors to look at (kind {model.kind})",
            where=f"model {loaded.card.stage_key[:12]}",
            todo="name factor models, as MRL-M and BPR-D",
        )
    vectors = (model.user_vectors, model.item_vectors)
    if rotated:
        vectors = rotate(*vectors)
    widths = [width for width in model.widths if width] or [model.dim]
    rows: list[Row] = []
    for side, vectors_Nd in zip(SIDES, vectors, strict=True):
        if groups is not None:
            rows += _against_planted(side, vectors_Nd, groups[side], widths, seed)
        rows += _against_each_other(side, vectors_Nd, widths, seed)
    return rows


def _against_planted(
    side: str,
    vectors_Nd: NDArray[np.float32],
    groups_NL: NDArray[np.int32],
    widths: list[int],
    seed: int,
) -> Iterator[Row]:
    known = groups_NL[:, 0] >= 0
    vectors_Nd, groups_NL = vectors_Nd[known], groups_NL[known]
    for depth in range(1, groups_NL.shape[1] + 1):
        true_N = groups_NL[:, depth - 1]
        k = len(np.unique(true_N))
        for width in widths:
            number = chain(seed, depth, width) % (1 << 31)
            value = agreement(clusters(vectors_Nd[:, :width], k, number), true_N)
            chance = agreement(clusters(_noise(len(true_N), width, number), k, number), true_N)
            yield Row(side, "ami", width, depth, k, value, chance)


def _against_each_other(
    side: str, vectors_Nd: NDArray[np.float32], widths: list[int], seed: int
) -> Iterator[Row]:
    number = chain(seed, len(widths)) % (1 << 31)
    noise_Nd = _noise(len(vectors_Nd), vectors_Nd.shape[1], number)
    found, chance = (
        {w: clusters(array[:, :w], _count(len(array), w), number) for w in widths}
        for array in (vectors_Nd, noise_Nd)
    )
    for narrow, wide in pairwise(widths):
        yield Row(
            side, "contained", narrow, wide, _count(len(vectors_Nd), narrow),
            contained(found[narrow], found[wide], number),
            contained(chance[narrow], chance[wide], number),
        )  # fmt: skip


def _count(things: int, width: int) -> int:
    return max(2, min(width, things // LEAST_IN_CLUSTER))


def _noise(things: int, width: int, seed: int) -> NDArray[np.float32]:
    """Vectors that know nothing."""
    return np.random.default_rng(seed).normal(size=(things, width)).astype(np.float32)
