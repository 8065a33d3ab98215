"""Exact lazy Adam (numba): a row is brought up to date when it is read, not at every step.

Under dense Adam (Kingma & Ba 2015, as ``torch.optim.Adam``) a row without gradient still moves by
its decaying momentum. With m, v its moments after step τ, the k-th step it misses moves it by

    −α_k·m / (√v·c_k + ε),   α_k = lr·β₁ᵏ/(1 − β₁^{τ+k}),   c_k = β₂^{k/2}/√(1 − β₂^{τ+k}).

*Replay* adds these up one by one; they stop mattering after ``replayed`` steps. The *series* gives
their sum in one go. With c̄ the mean of c_k weighted by α_k, and M_j = Σ α_k (c_k − c̄)^j,

    Σ α_k/(√v·c_k + ε) = y·(M_0 + x²M_2 − x³M_3 + x⁴M_4 − x⁵M_5 + …),
    y = 1/(√v·c̄ + ε), x = √v·y < 1/c̄,

which converges fast because c_k hardly changes while α_k decays. M_j comes from raw moments
S_j(τ) = Σ_{k≥1} α_k c_k^j, tabulated once: a gap of n steps is S_j(τ) − (β₁β₂^{j/2})ⁿ S_j(τ + n).
Where the first term left out, relative to M_0, is above the tolerance (the first few hundred steps;
in float64 nearly always) the gap is replayed. Both equal dense Adam to rounding.

Shapes: H steps, N gaps, R rows, d dimensions.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

PLAIN: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract"},
    "_nrt": False,  # no counting of references to arrays: it costs more than the arithmetic
}
"""How loops are compiled that allocate nothing."""
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's defaults, which the paper's authors use (docs/methods.md#hyper-parameters)."""
ROOT_2 = math.sqrt(BETA_2)
UNTOUCHED = -1
HORIZON = 40_000
"""Steps after which the bias corrections are 1 in float64: 0.999⁴⁰⁰⁰⁰ < 10⁻¹⁷."""
NEAR = 256
"""Gaps up to this many steps are tabulated at each step; longer ones have died out: S_j(τ)."""
TERMS = 6
"""Raw moments j = 0 … 6 are kept; M_6 judges the series."""
CENTRE, ZEROTH, SECOND, THIRD, FOURTH, FIFTH, BY_SERIES = range(7)
"""Columns of a table of gaps: c̄, M_0, M_2 … M_5, and 1 where the series serves."""


class Tables(NamedTuple):
    """One side's vectors with Adam's moments beside them, so that a row is read in one go."""

    rows: NDArray[Any]
    """(R, 3d): values, first moments, second moments."""
    at_R: NDArray[np.int64]
    """The step each row is at; ``UNTOUCHED`` before its first gradient: it does not move."""


class Schedule(NamedTuple):
    """Adam's constants by step, for one learning rate and type. Step numbers begin at 1."""

    lr: float
    alpha_H: NDArray[np.float64]
    """lr/(1 − β₁^s) of step s."""
    rate_H: NDArray[np.float64]
    """1/√(1 − β₂^s) of step s."""
    raw_HJ: NDArray[np.float64]
    """S_j(τ)."""
    far_H7: NDArray[np.float64]
    """The whole tail after step τ, as a table of gaps."""
    near_N7: NDArray[np.float64]
    """Gaps 0 … NEAR of rows read now: filled by ``near_gaps`` before each step."""
    tolerance: float
    replayed: int
    """Missed steps that are replayed at most: what follows is below rounding."""


def schedule(lr: float, dtype: Any) -> Schedule:
    """The tables for a learning rate and the type (float32 or float64) of the vectors."""
    single = np.dtype(dtype) == np.float32
    steps = np.arange(HORIZON + 1, dtype=np.float64)
    steps[0] = 1  # never asked for; no division by zero
    alpha_H = lr / -np.expm1(steps * math.log(BETA_1))
    rate_H = 1 / np.sqrt(-np.expm1(steps * math.log(BETA_2)))
    raw_HJ = np.empty((HORIZON + 1, TERMS + 1))
    _raw_moments(alpha_H, rate_H, raw_HJ)
    tolerance, replayed = (1e-6, 180) if single else (1e-16, 380)
    far_H7 = np.empty((HORIZON + 1, 7))
    _centre_all(raw_HJ, tolerance, far_H7)
    near_N7 = np.zeros((NEAR + 1, 7))
    return Schedule(lr, alpha_H, rate_H, raw_HJ, far_H7, near_N7, tolerance, replayed)


@njit(cache=True)
def _raw_moments(alpha_H: Any, rate_H: Any, raw_HJ: Any) -> None:
    """S_j(τ) = ρ_j·(α(τ+1)·r(τ+1)^j + S_j(τ+1)), ρ_j = β₁β₂^{j/2}, from the stationary end back."""
    last = raw_HJ.shape[0] - 1
    for j in range(raw_HJ.shape[1]):
        decay = BETA_1 * BETA_2 ** (j / 2)
        raw_HJ[last, j] = decay / (1 - decay) * alpha_H[last] * rate_H[last] ** j
        for step in range(last - 1, -1, -1):
            term = alpha_H[step + 1] * rate_H[step + 1] ** j
            raw_HJ[step, j] = decay * (term + raw_HJ[step + 1, j])


@njit(cache=True)
def _centre(raw_J: Any, tolerance: float, out_7: Any) -> None:
    """Raw moments to a row of a table of gaps."""
    total = raw_J[0]
    out_7[:] = 0.0
    if total <= 0:
        out_7[BY_SERIES] = 1.0  # nothing was missed
        return
    mean = raw_J[1] / total
    central = np.zeros(TERMS + 1)
    for j in range(TERMS + 1):
        binomial = 1.0
        for i in range(j + 1):
            central[j] += binomial * raw_J[i] * (-mean) ** (j - i)
            binomial = binomial * (j - i) / (i + 1)
    out_7[CENTRE], out_7[ZEROTH] = mean, total
    for j in range(2, TERMS):
        out_7[j] = central[j]
    left_out = abs(central[TERMS]) / (total * mean**TERMS)
    out_7[BY_SERIES] = 1.0 if left_out <= tolerance else 0.0


@njit(cache=True)
def _centre_all(raw_HJ: Any, tolerance: float, far_H7: Any) -> None:
    for step in range(raw_HJ.shape[0]):
        _centre(raw_HJ[step], tolerance, far_H7[step])


@njit(cache=True)
def near_gaps(now: int, schedule: Schedule) -> None:
    """Fill the schedule's table of gaps for rows read after step ``now``."""
    raw_HJ, near_N7 = schedule.raw_HJ, schedule.near_N7
    last = raw_HJ.shape[0] - 1
    decays, powers = np.empty(TERMS + 1), np.ones(TERMS + 1)
    for j in range(TERMS + 1):
        decays[j] = BETA_1 * BETA_2 ** (j / 2)
    raw_J = np.empty(TERMS + 1)
    for gap in range(min(near_N7.shape[0] - 1, now) + 1):
        for j in range(TERMS + 1):
            raw_J[j] = raw_HJ[min(now - gap, last), j] - powers[j] * raw_HJ[min(now, last), j]
            powers[j] *= decays[j]
        _centre(raw_J, schedule.tolerance, near_N7[gap])


@njit(**PLAIN)
def fresh(
    out: Any, place: int, tables: Tables, row: int, width: int, now: int, schedule: Schedule
) -> None:
    """``out[place, :width]`` = the row's values after step ``now``; the tables are not changed."""
    rows = tables.rows
    m, v = rows.shape[1] // 3, rows.shape[1] // 3 * 2
    tau = tables.at_R[row]
    gap = now - tau if tau != UNTOUCHED else 0
    kind = rows.dtype.type
    one, eps = kind(1), kind(EPSILON)
    near = gap < schedule.near_N7.shape[0]
    table = schedule.near_N7 if near else schedule.far_H7
    at = gap if near else min(tau, table.shape[0] - 1)
    if gap == 0:
        for k in range(width):
            out[place, k] = rows[row, k]
    elif table[at, BY_SERIES] == 1.0:
        centre, m0, m2 = kind(table[at, CENTRE]), kind(table[at, ZEROTH]), kind(table[at, SECOND])
        m3, m4, m5 = kind(table[at, THIRD]), kind(table[at, FOURTH]), kind(table[at, FIFTH])
        for k in range(width):
            root = np.sqrt(rows[row, v + k])
            y = one / (root * centre + eps)
            x = root * y
            moved = y * (m0 + x * x * (m2 - x * (m3 - x * (m4 - x * m5))))
            out[place, k] = rows[row, k] - rows[row, m + k] * moved
    else:
        for k in range(width):
            out[place, k] = rows[row, k]
        last = schedule.alpha_H.shape[0] - 1
        decay_1, decay_2 = 1.0, 1.0
        for missed in range(1, min(gap, schedule.replayed) + 1):
            step = min(tau + missed, last)
            decay_1 *= BETA_1
            decay_2 *= ROOT_2
            alpha = kind(schedule.alpha_H[step] * decay_1)
            rate = kind(schedule.rate_H[step] * decay_2)
            for k in range(width):
                out[place, k] -= alpha * rows[row, m + k] / (np.sqrt(rows[row, v + k]) * rate + eps)


@njit(inline="always")
def constants(now: int, schedule: Schedule) -> tuple[float, float]:
    """lr/(1 − β₁^s) and 1/√(1 − β₂^s) of step s = ``now + 1``."""
    step = min(now + 1, schedule.alpha_H.shape[0] - 1)
    return schedule.alpha_H[step], schedule.rate_H[step]


@njit(**PLAIN)
def update(
    tables: Tables, row: int, gradients: Any, at: int, pull: Any, scratch: Any, place: int,
    now: int, alpha: Any, rate: Any,
) -> None:  # fmt: skip
    """Take step ``now + 1`` in a row; its gradient is ``gradients[at]`` + ``pull`` · its value.

    Where the row is behind, ``scratch[place]`` holds its ``fresh`` values. ``alpha`` and ``rate``
    are those of ``constants``.
    """
    rows = tables.rows
    dim = rows.shape[1] // 3
    kind = rows.dtype.type
    tau = tables.at_R[row]
    behind = now + 1 - tau if tau != UNTOUCHED else 1
    eps = kind(EPSILON)
    keep_1, keep_2 = kind(BETA_1), kind(BETA_2)
    add_1, add_2 = kind(1 - BETA_1), kind(1 - BETA_2)
    if behind > 1:
        keep_1, keep_2 = kind(BETA_1**behind), kind(BETA_2**behind)
        for k in range(dim):
            rows[row, k] = scratch[place, k]
    for k in range(dim):
        value = rows[row, k]
        gradient = gradients[at, k] + pull * value
        m = rows[row, dim + k] * keep_1 + gradient * add_1
        v = rows[row, 2 * dim + k] * keep_2 + gradient * gradient * add_2
        rows[row, dim + k] = m
        rows[row, 2 * dim + k] = v
        rows[row, k] = value - alpha * m / (np.sqrt(v) * rate + eps)
    tables.at_R[row] = now + 1


@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def fresh_all(out: Any, tables: Tables, now: int, schedule: Schedule) -> None:
    """``out`` (R, d) = all rows' values after step ``now``."""
    for row in prange(out.shape[0]):
        fresh(out, np.int64(row), tables, np.int64(row), out.shape[1], now, schedule)
