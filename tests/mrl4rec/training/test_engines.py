"""The fused engine beside autograd: the same draws, negatives, losses and vectors."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.data.interactions import Interactions, from_pairs
from mrl4rec.kernels import lazy_adam
from mrl4rec.kernels.csr import Csr
from mrl4rec.models import Trained, resolve
from mrl4rec.models.negatives import Place
from mrl4rec.models.pairwise import OBJECTIVES, Pairwise
from mrl4rec.training import TrainRequest
from mrl4rec.training.engine import create
from mrl4rec.training.fused import FusedLearner, lag_of
from mrl4rec.training.fused_graph import FusedGraph
from mrl4rec.training.group import Group
from mrl4rec.training.learner import Learner
from mrl4rec.training.request import Plan, plan
from mrl4rec.training.tasks import Task, tasks

NAMES = ("BPR", "BPR-D", "BPR-M", "MRL-D", "MRL-M", "BCE", "DNS-MN", "AHNS", "LHANS")
GRAPH = ("BPR@lightgcn-1", "MRL-M@lightgcn-1", "AHNS@lightgcn-2", "BPR-M@lightgcn-3")
ONE_DRAW = ("BPR", "BCE", "BPR@lightgcn-1")
BATCH, DIM, LEVELS = 64, 12, (3, 8, 12)
FEW, MANY = 90, 4000
"""Items below and above a batch's candidates: all rows kept up to date, or only those touched."""


def data(n_items: int) -> Interactions:
    """200 users; items by popularity, one user with most of the popular ones."""
    rng = np.random.default_rng(5)
    users = rng.integers(0, 200, 1500)
    items = (rng.random(1500) ** 3 * n_items).astype(np.int64)
    pairs = {(int(u), int(i)) for u, i in zip(users, items, strict=True)}
    pairs |= {(0, i) for i in range(80)}
    test = next((1, i) for i in range(n_items) if (1, i) not in pairs)
    return from_pairs(sorted(pairs), [], [test], 200, n_items)


def made(name: str, settings: Settings, *overrides: str, **values: Any) -> Plan:
    sets = [f"{name}.batch={BATCH}", f"{name}.dim={DIM}", f"{name}.lr=0.01", *overrides]
    method = resolve(name, [*sets, *([] if name in ONE_DRAW else [f"{name}.candidates=5"])])
    assert isinstance(method, Trained)
    levels = LEVELS if method.has_levels else None
    given_ = {"levels": levels, "seed": 3, "protocol": "paper", "device": "cpu", **values}
    return plan(TrainRequest(method, **given_), settings)


def fused(work: Task, asked: Plan) -> FusedLearner:
    found = create(work, asked, Group())
    assert isinstance(found, FusedLearner)
    return found


def task(n_items: int) -> Task:
    return tasks(data(n_items), "paper")[0]


def batches(work: Task, n: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    rng = np.random.default_rng(0)
    for _ in range(n):
        rows = rng.integers(0, work.n_pairs, BATCH)
        yield torch.from_numpy(work.users_P[rows]), torch.from_numpy(work.items_P[rows])


@pytest.mark.parametrize("n_items", [FEW, MANY])
@pytest.mark.parametrize("name", [*NAMES, *GRAPH])
def test_a_hundred_steps_in_float64_are_those_of_autograd(
    name: str, n_items: int, settings: Settings
) -> None:
    work, asked = task(n_items), made(name, settings, dtype="float64")
    slow, fast = Learner(work, asked, Group()), fused(work, asked)
    if name in NAMES:
        assert fast.whole == (n_items == FEW and name not in ONE_DRAW)
    sampler = slow.parts.model.sampler
    for step, (users, positives) in enumerate(batches(work, 100)):
        wanted = sampler.choose(users, *slow.parts.model.pooled(), Place(3, step, 0), positives)
        expected, loss = slow.loss(users, positives, step), fast.loss(users, positives, step)
        assert loss == pytest.approx(expected.item(), rel=1e-13)
        chosen = fast.batch.items_E.reshape(BATCH, -1)
        assert (chosen[:, 0] == positives.numpy()).all()
        assert (chosen[:, 1:] == wanted.numpy()).all()
        slow.update(expected)
        fast.update(loss)
    for side, vectors in slow.vectors().items():
        np.testing.assert_allclose(fast.vectors()[side], vectors, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", GRAPH)
def test_gradients_of_the_tables_are_those_of_dense_propagation(
    name: str, settings: Settings
) -> None:
    """Torch's autograd through powers of the dense matrix, the loss and its regulariser."""
    work, asked = task(FEW), made(name, settings, f"{name}.l2=0.1", dtype="float64")
    fast, n_users = fused(work, asked), work.seen.n_rows
    assert isinstance(fast, FusedGraph)
    users, positives = next(batches(work, 1))
    loss = fast.loss(users, positives, 0)
    graph = np.zeros((n_users + FEW,) * 2)
    graph[work.users_P, n_users + work.items_P] = 1
    graph += graph.T
    scale = 1 / np.sqrt(np.maximum(graph.sum(1), 1))
    hop = torch.from_numpy(scale[:, None] * graph * scale)
    tables = fast.nodes.rows[:, :DIM].copy()
    nodes = torch.from_numpy(tables).requires_grad_()
    layers = [torch.linalg.matrix_power(hop, h) @ nodes for h in range(fast.layers + 1)]
    pooled = sum(layers) / len(layers)
    places = (users, positives + n_users,
              torch.from_numpy(fast.batch.items_E.reshape(BATCH, -1)[:, 1:]) + n_users)  # fmt: skip
    method = asked.trained
    assert isinstance(method, Pairwise)
    losses = OBJECTIVES[method.objective](*(pooled[at] for at in places), asked.levels or (DIM,))
    squares = sum(nodes[at].pow(2).sum() for at in places)
    expected = (losses.sum() + 0.1 / 2 * squares) / BATCH
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-13)
    fast.update(loss)
    first_moments = fast.nodes.rows[:, DIM : 2 * DIM]  # 1 − β₁ of the gradient after one step
    np.testing.assert_allclose(first_moments / 0.1, nodes.grad, rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("n_items", [FEW, MANY])
def test_in_float32_negatives_differ_only_where_scores_are_as_good_as_equal(
    n_items: int, settings: Settings
) -> None:
    work, asked = task(n_items), made("MRL-M", settings)
    sampler, fast = Learner(work, asked, Group()).parts.model.sampler, FusedLearner(work, asked)
    for step, (users, positives) in enumerate(batches(work, 100)):
        vectors = fast.vectors()
        tables = [torch.from_numpy(vectors[f"{side}_vectors"]) for side in ("user", "item")]
        wanted = sampler.choose(users, *tables, Place(3, step, 0)).numpy()
        loss = fast.loss(users, positives, step)
        chosen = fast.batch.items_E.reshape(BATCH, -1)[:, 1:]
        for level, width in enumerate(LEVELS):
            user = vectors["user_vectors"][users.numpy(), :width].astype(np.float64)
            scores = [
                (user * vectors["item_vectors"][items[:, level], :width]).sum(1)
                for items in (wanted, chosen)
            ]
            assert np.abs(scores[0] - scores[1]).max() <= 1e-6
        fast.update(loss)


@pytest.mark.parametrize("name", ["MRL-M", "MRL-M@lightgcn-1"])
@pytest.mark.parametrize("n_items", [FEW, MANY])
def test_one_thread_and_two_give_the_same_bits(name: str, n_items: int, settings: Settings) -> None:
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread")
    work, asked = task(n_items), made(name, settings)
    found = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        try:
            engine = fused(work, asked)
            losses = []
            for step, batch in enumerate(batches(work, 30)):
                losses.append(engine.loss(*batch, step))
                engine.update(losses[-1])
            found.append((losses, {**engine.vectors(), **engine.state()}))
        finally:
            numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert found[0][0] == found[1][0]
    for name, array in found[0][1].items():
        assert array.tobytes() == found[1][1][name].tobytes(), name


@pytest.mark.parametrize("name", ["BPR-M", "MRL-M", "BPR-M@lightgcn-2"])
@pytest.mark.parametrize("n_items", [FEW, MANY])
def test_a_restored_engine_goes_on_with_the_same_bits(
    name: str, n_items: int, settings: Settings
) -> None:
    lag = 7 if n_items == MANY and "@" not in name else 0
    work, asked = task(n_items), made(name, settings, f"{name}.lag={lag}")
    whole, first = fused(work, asked), fused(work, asked)
    steps = list(batches(work, 60))
    for step, batch in enumerate(steps):
        whole.update(whole.loss(*batch, step))
        if step < 37:
            first.update(first.loss(*batch, step))
    second = fused(work, asked)
    second.restore(first.state(), 37)
    for step, batch in enumerate(steps[37:], start=37):
        second.update(second.loss(*batch, step))
    for part, array in whole.state().items():
        assert array.tobytes() == second.state()[part].tobytes(), part


def test_looking_at_the_vectors_changes_nothing(settings: Settings) -> None:
    work, asked = task(MANY), made("MRL-M", settings)
    plain, looked_at = FusedLearner(work, asked), FusedLearner(work, asked)
    for step, batch in enumerate(batches(work, 20)):
        looked_at.vectors()
        plain.update(plain.loss(*batch, step))
        looked_at.update(looked_at.loss(*batch, step))
    for part, array in plain.state().items():
        assert array.tobytes() == looked_at.state()[part].tobytes(), part


def rows_of(values: np.ndarray) -> lazy_adam.Tables:
    rows = np.concatenate([values, np.zeros((len(values), 2 * values.shape[1]))], axis=1)
    return lazy_adam.Tables(rows.astype(values.dtype), np.full(len(values), lazy_adam.UNTOUCHED))


@numba.njit
def _step(
    tables: lazy_adam.Tables, row: int, gradients: np.ndarray, now: int, made: lazy_adam.Schedule
) -> None:
    scratch = np.empty((1, gradients.shape[1]), gradients.dtype)
    lazy_adam.fresh(scratch, 0, tables, row, gradients.shape[1], now, made)
    zero = gradients.dtype.type(0)
    alpha, rate = lazy_adam.constants(now, made)
    kind = gradients.dtype.type
    lazy_adam.update(tables, row, gradients, row, zero, scratch, 0, now, kind(alpha), kind(rate))


@pytest.mark.parametrize(
    ("kind", "tolerance", "atol"),
    [("float64", None, 1e-13), ("float64", 1e-6, 3e-8), ("float32", None, 2e-7)],
    ids=["replayed", "by series", "float32"],
)
def test_lazy_adam_is_dense_adam_where_rows_are_touched_rarely(
    kind: str, tolerance: float | None, atol: float
) -> None:
    """Rows with a gradient every step, every few, every few hundred, once, and never."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.02, (40, 6)).astype(kind)
    tables, made_ = rows_of(values), lazy_adam.schedule(1e-3, kind)
    if tolerance is not None:
        far = np.empty_like(made_.far_H7)
        lazy_adam._centre_all(made_.raw_HJ, tolerance, far)
        made_ = made_._replace(tolerance=tolerance, far_H7=far)
    weights = torch.nn.Parameter(torch.from_numpy(values.astype(np.float64)))
    dense = torch.optim.Adam([weights], lr=1e-3)
    often = np.concatenate([[1.0, 0.3], np.full(18, 0.01), np.full(19, 1 / 400), [0.0]])
    for now in range(1000):
        touched = np.flatnonzero((rng.random(40) < often) | (now == 700 + 2 * np.arange(40)))
        touched = touched[touched < 39]
        gradients = np.zeros((40, 6))
        gradients[touched] = rng.normal(0, 1e-4, (len(touched), 6))
        gradients = gradients.astype(kind)
        weights.grad = torch.from_numpy(gradients.astype(np.float64))
        dense.step()
        lazy_adam.near_gaps(now, made_)
        for row in touched:
            _step(tables, row, gradients, now, made_)
    lazy_adam.near_gaps(1000, made_)
    found = np.empty_like(values)
    lazy_adam.fresh_all(found, tables, 1000, made_)
    np.testing.assert_allclose(found, weights.detach().numpy(), rtol=0, atol=atol)
    assert (found[39] == values[39]).all()


@given(
    tau=st.integers(1, 90_000),
    gap=st.integers(1, 2_000),
    root=st.floats(1e-12, 1.0),
    ratio=st.floats(-1.0, 1.0),
)
def test_the_series_sums_what_was_missed(tau: int, gap: int, root: float, ratio: float) -> None:
    """The sum by its definition, in float64, where the series says that it serves (float32)."""
    made_ = SCHEDULE
    now = tau + gap
    lazy_adam.near_gaps(now, made_)
    near = gap < len(made_.near_N7)
    row = made_.near_N7[gap] if near else made_.far_H7[min(tau, len(made_.far_H7) - 1)]
    if row[lazy_adam.BY_SERIES] != 1.0:
        return
    k = np.arange(1, gap + 1)
    alpha = 1e-3 * 0.9**k / -np.expm1((tau + k) * np.log(0.9))
    rate = 0.999 ** (k / 2) / np.sqrt(-np.expm1((tau + k) * np.log(0.999)))
    expected = ratio * root * (alpha / (root * rate + lazy_adam.EPSILON)).sum()
    tables = lazy_adam.Tables(np.array([[0.0, ratio * root, root**2]]), np.array([tau]))
    out = np.empty((1, 1))
    lazy_adam.fresh(out, 0, tables, 0, 1, now, made_)
    assert -out[0, 0] == pytest.approx(expected, rel=2e-6, abs=1e-12)


SCHEDULE = lazy_adam.schedule(1e-3, "float32")


def test_candidates_lag_by_at_most_what_was_said(settings: Settings) -> None:
    work, asked = task(MANY), made("MRL-M", settings, "MRL-M.lag=9")
    engine = FusedLearner(work, asked)
    for step, batch in enumerate(batches(work, 40)):
        engine.update(engine.loss(*batch, step))
        at = engine.sides[1].at_R
        assert (at[at != lazy_adam.UNTOUCHED] > step - 9).all()


def test_a_lag_of_one_step_is_none(settings: Settings) -> None:
    """Every row is then moved at every step, as without a lag."""
    work = task(MANY)
    engines = [
        FusedLearner(work, made("MRL-M", settings, f"MRL-M.lag={lag}", dtype="float64"))
        for lag in (0, 1)
    ]
    for step, batch in enumerate(batches(work, 30)):
        first, second = (engine.loss(*batch, step) for engine in engines)
        assert first == pytest.approx(second, rel=1e-13)
        for engine in engines:
            engine.update(first)
    for side, vectors in engines[0].vectors().items():
        np.testing.assert_allclose(engines[1].vectors()[side], vectors, rtol=0, atol=1e-11)


def test_lag_is_off_below_a_size(settings: Settings) -> None:
    auto = made("MRL-M", settings)
    assert (lag_of(auto, 200_000), lag_of(auto, 200_001)) == (0, 256)
    assert lag_of(made("MRL-M", settings, "MRL-M.lag=0"), 10**7) == 0
    assert lag_of(made("BPR", settings), 10**7) == 0  # one candidate is not scored at all
    with pytest.raises(UsageError, match="'often' is not a whole number"):
        resolve("MRL-M", ["MRL-M.lag=often"])


def test_auto_takes_the_other_engine_and_says_so(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert made("MRL-M", settings).engine == "fused"
    assert made("MRL-M@lightgcn-1", settings).engine == "fused"
    with caplog.at_level(logging.INFO, "mrl4rec"):
        assert made("BPR-pop@lightgcn-1", settings).engine == "autograd"
        assert made("MRL-M", settings, devices=2).engine == "autograd"
    assert "not fused: it has no loop for popular negatives" in caplog.text
    assert "one process, and 2 were asked for" in caplog.text


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("BPR-pop", {"engine": "fused"}, "popular negatives"),
        ("MRL-M", {"engine": "fused", "devices": 2}, "one process"),
        ("MRL-M", {"engine": "fast"}, "unknown engine"),
    ],
)
def test_what_no_engine_can_do_is_refused(
    name: str, values: dict[str, Any], why: str, settings: Settings
) -> None:
    with pytest.raises(UsageError, match=why):
        made(name, settings, **values)


def test_a_lag_is_refused_where_rows_never_lag(settings: Settings) -> None:
    others: tuple[dict[str, Any], ...] = ({"engine": "autograd"}, {"devices": 2})
    for name, values in (*(("MRL-M", values) for values in others), ("MRL-M@lightgcn-1", {})):
        with pytest.raises(UsageError, match="keeps all rows up to date"):
            made(name, settings, f"{name}.lag=5", **values)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_tables_larger_than_memory_are_refused_before_they_are_made(
    engine: str, settings: Settings
) -> None:
    rows = psutil.virtual_memory().total // (8 * DIM)
    nobody = Csr(np.zeros(rows + 1, dtype=np.int64), np.empty(0, dtype=np.int32), 5)
    empty = np.empty(0, dtype=np.int64)
    huge = Task("search", empty, empty, nobody, None, None)
    with pytest.raises(Mrl4recError, match="GB while training"):
        create(huge, made("MRL-M", settings, engine=engine), Group())
