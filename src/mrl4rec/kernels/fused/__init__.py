"""One training step on the CPU, in two parallel loops (numba).

``look`` goes over the examples: it draws candidates, keeps each level's hardest, and writes losses,
slopes and the users' gradients; tables are only read. ``step`` goes over the touched rows: each
adds up its own contributions in a fixed order and takes Adam's step. No two threads write one row,
nothing is drawn from a generator: the result is the same bits for any number of threads.

On LightGCN the tables that ``look`` reads are those that ``spread`` propagated; ``gather`` then
adds up the gradient of each of their rows, ``spread`` carries it back, and ``move`` takes the step.

The losses bpr and mrl (docs/methods.md#losses) are both sums over *pairs* p of a positive and a
negative n_p at a width w_p, of the gaps x_p = s_{u,n_p} − s_{ui}, each inner product cut to w_p:

    mrl: mean_p sp(x_p);    bpr: log(1 + Σ_p exp x_p);    n_p = p, or the only negative for all.

bce has one pair and sees its two items each on its own: sp(−s_ui) + sp(s_uj). Which candidate is
taken is a rule of ``mrl4rec.kernels.rules``.

Shapes: B examples, U users, I items, d dimensions, L widths scored, one negative each, P pairs
(ascending widths), n candidates, C chunks, E = B·(1 + L) places of items in the batch.
"""

from mrl4rec.kernels.fused.graph import gather, move, spread
from mrl4rec.kernels.fused.look import look
from mrl4rec.kernels.fused.memory import (
    BCE,
    BPR,
    FRESH,
    LAGGING,
    MRL,
    UP_TO_DATE,
    Batch,
    Links,
    Recipe,
    batch,
    links,
)
from mrl4rec.kernels.fused.step import link, measure, step

__all__ = [
    "BCE",
    "BPR",
    "FRESH",
    "LAGGING",
    "MRL",
    "UP_TO_DATE",
    "Batch",
    "Links",
    "Recipe",
    "batch",
    "gather",
    "link",
    "links",
    "look",
    "measure",
    "move",
    "spread",
    "step",
]
