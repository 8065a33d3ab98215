"""Is one model really better than another, for the users they were both judged on?

Every user gives one difference d_u = a_u − b_u (a metric of both models for the same test items).
Three things are said of its mean: an interval, by drawing users again (percentile bootstrap); a p
value, by flipping signs (Fisher's randomisation test: were the models alike, each user's two values
could as well have stood the other way round); and how large it is, relative to b's mean and as
Cohen's d_z = mean(d)/sd(d). Of many comparisons, p values are corrected after Holm (1979).

One set of draws serves all pairs of one call, so a table of n models costs n columns, not n²/2.

Shapes: E users, M models, P pairs of them, B draws.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.evaluation.ranking.bootstrap import resampled_means

DRAWS = 10_000
EXACT = 12
"""Up to so many users who differ, all 2^n ways of flipping are counted instead of drawn."""
SIGNS = 1 << 21
"""Signs held at once: 16 MB."""
LEVEL = 0.05
NEARLY = 1e-9
"""Sums that differ by less than this share are the same sum, added up in another order."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """What the same users say of two models."""

    users: int
    mean_a: float
    mean_b: float
    difference: float
    """mean_a − mean_b."""
    low: float
    high: float
    """Its 95 % interval over users, for this pair alone (not widened for many comparisons)."""
    p: float
    """Two-sided, of the sign-flip test; uncorrected."""
    relative: float | None
    """difference / mean_b; None where that is 0."""
    d_z: float | None
    """Cohen's d_z; None where every user differs by as much (or nobody does)."""


def paired(
    values_EM: Floats,
    pairs: Sequence[tuple[int, int]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Paired]:
    """Compare columns of ``values_EM`` by pairs (a, b), each user a row.

    The same for the same seed. Raises Mrl4recError for fewer than two users, or a value that is
    no number.
    """
    n_users = len(values_EM)
    _check(values_EM)
    a_P, b_P = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    means_BM = resampled_means(values_EM, draws, seed)
    spread_BP = means_BM[:, a_P] - means_BM[:, b_P]
    low_P, high_P = np.quantile(spread_BP, (LEVEL / 2, 1 - LEVEL / 2), axis=0)
    p_P = sign_flip(values_EM, pairs, draws=draws, seed=seed)
    means_M = values_EM.mean(axis=0)
    out = []
    for at, (a, b) in enumerate(pairs):
        d_E = values_EM[:, a] - values_EM[:, b]
        out.append(
            Paired(
                users=n_users,
                mean_a=float(means_M[a]),
                mean_b=float(means_M[b]),
                difference=float(d_E.mean()),
                low=float(low_P[at]),
                high=float(high_P[at]),
                p=p_P[at],
                relative=float(d_E.mean() / means_M[b]) if means_M[b] else None,
                d_z=_d_z(d_E),
            )
        )
    return out


def sign_flip(
    values_EM: Floats, pairs: Sequence[tuple[int, int]], *, draws: int = DRAWS, seed: int = 0
) -> list[float]:
    """Two-sided p values of pairs of columns, uncorrected. Raises as ``paired``."""
    _check(values_EM)
    a_P, b_P = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    drawn_P = _drawn(values_EM, a_P, b_P, draws, np.random.default_rng((seed, 1)))
    out = []
    for drawn, (a, b) in zip(drawn_P, pairs, strict=True):
        d_E = values_EM[:, a] - values_EM[:, b]
        few = np.count_nonzero(d_E) <= EXACT
        out.append(sign_flip_exact(d_E) if few else float(drawn))
    return out


def _check(values_EM: Floats) -> None:
    n_users = len(values_EM)
    if n_users < 2:
        what = f"{n_users} users with finite values are too few to compare models by"
        raise Mrl4recError(what, todo="evaluate on more users")
    if not np.isfinite(values_EM).all():
        raise Mrl4recError("a user's value is not finite", todo="evaluate the models again")


def sign_flip_exact(differences_E: Floats) -> float:
    """The share of all ways of flipping signs whose mean is at least as far from 0.

    Users who do not differ change nothing and are left out; the rest must be few (2^n ways).
    """
    d_E = differences_E[differences_E != 0]
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(d_E))))
    if not len(d_E):
        return 1.0
    return float(_as_far(signs @ d_E, d_E).mean())


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p values, in the order given: below α, a claim holds among all of them.

    The smallest is taken times n, the next times n − 1, …, each at least as large as the one
    before and at most 1. It holds however the tests depend on each other.
    """
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    out, least = [0.0] * len(p_values), 0.0
    for place, at in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[at]))
        out[at] = least
    return out


def _drawn(
    values_EM: Floats,
    a_P: NDArray[np.int64],
    b_P: NDArray[np.int64],
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    """(P,) p values by drawn signs; (1 + as far) / (1 + draws), so that none is 0."""
    differ = (values_EM != values_EM[:, :1]).any(axis=1)
    kept_EM = values_EM[differ]
    n_users = len(kept_EM)
    if not n_users:
        return np.ones(len(a_P))
    total_M = kept_EM.sum(axis=0)
    scale = np.abs(kept_EM).sum(axis=0)
    margin_P = NEARLY * (scale[a_P] + scale[b_P])
    observed_P = np.abs(total_M[a_P] - total_M[b_P]) - margin_P
    as_far_P = np.zeros(len(a_P), dtype=np.int64)
    step = max(1, SIGNS // n_users)
    for begin in range(0, draws, step):
        n = min(step, draws - begin)
        bits = np.frombuffer(rng.bytes(-(-n * n_users // 8)), dtype=np.uint8)
        signs = 2.0 * np.unpackbits(bits, count=n * n_users).reshape(n, n_users) - 1.0
        sums_BM = signs @ kept_EM
        as_far_P += (np.abs(sums_BM[:, a_P] - sums_BM[:, b_P]) >= observed_P).sum(axis=0)
    return (1 + as_far_P) / (1 + draws)


def _as_far(sums_B: Floats, d_E: Floats) -> NDArray[np.bool_]:
    return np.abs(sums_B) >= np.abs(d_E.sum()) - NEARLY * np.abs(d_E).sum()


def _d_z(d_E: Floats) -> float | None:
    sd = float(d_E.std(ddof=1))
    return float(d_E.mean()) / sd if sd > NEARLY * float(np.abs(d_E).max(initial=0)) else None
