"""Lists against a naive ranker, and the same numbers however the work is cut."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.evaluation.ranking import cpu, evaluate, recall_at, recommend, topk
from mrl4rec.kernels.csr import Csr, csr
from mrl4rec.models.scorers import CountModel, FactorModel, MixtureModel, from_arrays, mixture
from tests.mrl4rec.models.model_samples import every_kind, real_factors, rows, sparse, whole_factors

DEVICES = ("cpu", "torch-cpu")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Many small products: threads of torch would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def naive(scores_BI: np.ndarray, seen: Csr, k: int) -> list[list[int]]:
    """The lists by sorting everything in Python."""
    n_items = scores_BI.shape[1]
    _, rank = topk.tie_order(n_items)
    lists = []
    for user, scores in enumerate(scores_BI):
        free = set(range(n_items)) - set(seen.row(user).tolist())
        best = sorted(free, key=lambda item: (-scores[item], rank[item]))[:k]
        lists.append(best + [-1] * (k - len(best)))
    return lists


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n_items=st.integers(1, 300), k=st.integers(1, 310))
def test_lists_equal_a_naive_ranking_with_ties(
    device: str, seed: int, n_items: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    seen = sparse(rng, 5, n_items, int(rng.integers(1, 5 * n_items + 1)))
    users = np.arange(5)
    for model in every_kind(rng, 5, n_items, seen):
        scores = model.scores(users)
        items, values = recommend(model, users, seen, k, device=device)
        assert items.tolist() == naive(scores, seen, k), model.kind
        taken = np.take_along_axis(scores, np.maximum(items, 0).astype(int), axis=1)
        np.testing.assert_array_equal(values, np.where(items >= 0, taken, -np.inf))


@pytest.mark.parametrize("device", DEVICES)
def test_equal_scores_go_by_the_hashed_order_and_zero_has_no_sign(device: str) -> None:
    n_items = 500
    order, _ = topk.tie_order(n_items)
    signs = np.where(np.arange(n_items) % 2, 1.0, -1.0).astype(np.float32).reshape(-1, 1)
    model = FactorModel(np.zeros((2, 1), np.float32), signs)  # scores of 0 and −0
    items, _ = recommend(model, np.arange(2), rows([], [], n_items=n_items), 30, device=device)
    assert items.tolist() == [order[:30].tolist()] * 2
    assert items[0].tolist() != sorted(items[0].tolist())


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 99),
    memory=st.sampled_from([1, 2, 512]),
    n_threads=st.sampled_from([1, 2, 3]),
    lanes=st.sampled_from([4, 8, 32]),
    ks=st.sampled_from([(1,), (10, 20, 50), (5, 400)]),
)
@pytest.mark.fault("F25")
def test_metrics_do_not_depend_on_how_the_work_is_cut(
    seed: int, memory: int, n_threads: int, lanes: int, ks: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(seed)
    model = real_factors(rng, 150, 333, 19, widths=(4, 7, 19))
    seen, truth = sparse(rng, 150, 333, 900), sparse(rng, 150, 333, 400)
    whole = evaluate(model, seen, truth, ks=ks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "MOST_LANES", lanes)
        cut = evaluate(model, seen, truth, ks=ks, memory_mb=memory, n_threads=n_threads)
    assert cut.values == whole.values
    assert cut.per_user.equals(whole.per_user)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [1, 7, 64, 100])
def test_a_users_list_does_not_depend_on_who_is_asked_with_it(device: str, size: int) -> None:
    rng = np.random.default_rng(5)
    seen = sparse(rng, 100, 700, 900)
    for model in [real_factors(rng, 100, 700, 24), *every_kind(rng, 100, 700, seen)]:
        items, scores = recommend(model, np.arange(100), seen, 20, device=device)
        for begin in range(0, 100, max(size, 40)):
            part = np.arange(begin, min(100, begin + size))
            some = recommend(model, part, seen, 20, device=device)
            np.testing.assert_array_equal(some[0], items[part])
            np.testing.assert_array_equal(some[1], scores[part])


@pytest.mark.parametrize("device", DEVICES)
def test_a_width_in_one_pass_is_the_model_cut_to_it(device: str) -> None:
    rng = np.random.default_rng(2)
    widths = (1, 4, 6, 13, 32)
    model = real_factors(rng, 80, 600, 32, widths=widths)
    seen, truth = sparse(rng, 80, 600, 500), sparse(rng, 80, 600, 300)
    together = evaluate(model, seen, truth, ks=(5, 20), device=device)
    for width in widths:
        cut = FactorModel(model.user_vectors[:, :width], model.item_vectors[:, :width])
        alone = evaluate(cut, seen, truth, ks=(5, 20), device=device)
        for value in alone.values:
            assert together.get(value.metric, value.k, width) == value.value
    assert together.get("recall", 20) == together.get("recall", 20, 32)


def test_the_two_kinds_of_machine_agree() -> None:
    rng = np.random.default_rng(8)
    seen, truth = sparse(rng, 60, 300, 500), sparse(rng, 60, 300, 300)
    for model in every_kind(rng, 60, 300, seen):  # whole numbers: exact on both
        first, second = (evaluate(model, seen, truth, device=device) for device in DEVICES)
        assert first.values == second.values
    model = real_factors(rng, 60, 300, 16, widths=(4, 16))
    first, second = (evaluate(model, seen, truth, device=device) for device in DEVICES)
    pairs = zip(first.values, second.values, strict=True)
    assert all(abs(a.value - b.value) < 1e-3 for a, b in pairs)


def test_a_foreign_scorer_is_ranked_in_blocks_of_one_size() -> None:
    class Foreign:
        n_users, n_items, kind, widths = 300, 90, "other", (None,)
        asked: list[int] = []  # noqa: RUF012

        def scores(self, users_B: np.ndarray, width: int | None = None) -> np.ndarray:
            self.asked.append(len(users_B))
            return np.sin(np.outer(users_B + 1.0, np.arange(90) + 1.0)).astype(np.float32)

    rng = np.random.default_rng(0)
    seen = sparse(rng, 300, 90, 500)
    items, _ = recommend(Foreign(), np.arange(300), seen, 10)
    assert items.tolist() == naive(Foreign().scores(np.arange(300)), seen, 10)
    assert set(Foreign.asked[:2]) == {256}


def test_out_of_memory_halves_the_chunk_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(3)
    model = real_factors(rng, 200, 150, 8)
    seen, truth = sparse(rng, 200, 150, 500), sparse(rng, 200, 150, 900)
    whole = evaluate(model, seen, truth)
    search, sizes = cpu.FactorSearcher.search, []

    def scarce(self: Any, users: np.ndarray) -> topk.Lists:
        sizes.append(len(users))
        if len(users) > 30:
            raise MemoryError
        return search(self, users)

    monkeypatch.setattr(cpu.FactorSearcher, "search", scarce)
    assert evaluate(model, seen, truth).values == whole.values
    assert "going on with" in caplog.text
    assert max(sizes[3:]) <= 50

    def none_left(self: Any, users: np.ndarray) -> topk.Lists:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(cpu.FactorSearcher, "search", none_left)
    with pytest.raises(Mrl4recError, match="does not fit in memory"):
        evaluate(model, seen, truth)


def test_memory_bounds_how_many_users_go_through_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    model = whole_factors(rng, 9000, 60, 4)
    seen = sparse(rng, 9000, 60, 10)
    search, sizes = cpu.FactorSearcher.search, []

    def noted(self: Any, users: np.ndarray) -> topk.Lists:
        sizes.append(len(users))
        return search(self, users)

    monkeypatch.setattr(cpu.FactorSearcher, "search", noted)
    recommend(model, np.arange(9000), seen, 50, memory_mb=1)
    assert sum(sizes) == 9000
    assert 1000 < sizes[0] <= (1 << 20) // (50 * 8)


def test_progress_counts_users_to_the_end() -> None:
    rng = np.random.default_rng(0)
    seen, truth = sparse(rng, 40, 30, 60), sparse(rng, 40, 30, 90)
    calls: list[tuple[int, int]] = []
    done = evaluate(
        whole_factors(rng, 40, 30, 4), seen, truth, progress=lambda *call: calls.append(call)
    )
    assert calls[-1] == (done.n_users, done.n_users)


def test_recall_at_is_the_recall_of_a_whole_evaluation_for_tensors_too() -> None:
    rng = np.random.default_rng(4)
    model = real_factors(rng, 70, 200, 12)
    seen, truth = sparse(rng, 70, 200, 400), sparse(rng, 70, 200, 200)
    tensors = {
        name: torch.from_numpy(getattr(model, name)).requires_grad_()
        for name in ("user_vectors", "item_vectors")
    }
    expected = evaluate(model, seen, truth).get("recall", 10)
    assert recall_at(from_arrays(tensors), seen, truth, 10) == expected > 0


def test_a_mixture_scores_by_the_log_of_its_sum_and_has_no_widths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(4)
    shares = rng.dirichlet(np.ones(3), 50).astype(np.float32)
    shares[7] = (0, 1, 0)
    parts = (rng.normal(size=(20, 3, 5)) * 30, rng.normal(size=(50, 5)))
    model = MixtureModel(*(part.astype(np.float32) for part in parts), shares)
    users = np.array([4, 0, 4, 19])
    logits = np.einsum("ukd,id->uki", model.user_concepts[users], model.item_vectors, dtype=float)
    with np.errstate(divide="ignore"):
        expected = np.logaddexp.reduce(logits + np.log(shares.T.astype(float)), axis=1)
    found = model.scores(users)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    monkeypatch.setattr(mixture, "MIXTURE_SCORES", 1)
    np.testing.assert_allclose(model.scores(users), found, rtol=1e-5)
    with pytest.raises(UsageError, match="mixture, which has no prefixes"):
        model.scores(users, 3)
    with pytest.raises(UsageError, match="mixture, which has no prefixes"):
        recommend(model, users, sparse(rng, 20, 50, 9), 5, 3)


def test_requests_that_cannot_be_served_say_why() -> None:
    rng = np.random.default_rng(0)
    model, seen = whole_factors(rng, 5, 9, 4), sparse(rng, 5, 9, 10)
    counts = CountModel(np.arange(9), 5)
    with pytest.raises(UsageError, match="4 dimensions"):
        evaluate(model, seen, seen, widths=(5,))
    with pytest.raises(UsageError, match="no prefixes to cut to"):
        evaluate(counts, seen, seen, widths=(4,))
    with pytest.raises(UsageError, match="recall"):
        evaluate(model, seen, seen, metrics=("recal",))
    with pytest.raises(UsageError, match="cut-offs"):
        evaluate(model, seen, seen, ks=(0, 10))
    with pytest.raises(Mrl4recError, match="0 with any"):
        evaluate(model, seen, rows([], [], [], [], [], n_items=9))
    with pytest.raises(Mrl4recError, match="4 users"):
        recommend(model, np.arange(5), rows([], [], [], [], n_items=9), 3)
    with pytest.raises(UsageError, match="within 0 … 4"):
        recommend(model, np.array([5]), seen, 3)
    with pytest.raises(UsageError, match="list of 0"):
        recommend(model, np.arange(5), seen, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("device", DEVICES)
def test_vectors_that_are_not_finite_are_refused(device: str, bad: float) -> None:
    vectors = np.ones((5, 3), dtype=np.float32)
    vectors[2, 1] = bad
    nothing = rows([], [], [], [], [], n_items=5)
    with pytest.raises(Mrl4recError, match="not finite"):
        recommend(FactorModel(vectors, vectors), np.arange(5), nothing, 2, device=device)


def read_author_split(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(user, item) of one file of the authors' form."""
    with gzip.open(folder / f"{name}.txt.gz", "rt") as file:
        lines = [np.array(line.split(), dtype=np.int64) for line in file if line.strip()]
    users = np.concatenate([np.full(len(line) - 1, line[0]) for line in lines])
    return users, np.concatenate([line[1:] for line in lines])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("phone", (0.0326, 0.0548, 0.1019)), ("tool", (0.0219, 0.0353, 0.0642))],
)
def test_popularity_on_the_authors_splits(
    real_data: Path, name: str, expected: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = real_data / "author-splits" / name
    train, test = read_author_split(folder, "train"), read_author_split(folder, "test")
    shape = tuple(int(max(train[side].max(), test[side].max())) + 1 for side in (0, 1))
    model = CountModel(np.bincount(train[1], minlength=shape[1]), shape[0])
    seen, truth = csr(*train, *shape), csr(*test, *shape)
    hashed = evaluate(model, seen, truth)
    by_id = np.arange(shape[1], dtype=np.int32)  # how the paper authors' code breaks ties
    monkeypatch.setattr(cpu, "tie_order", lambda n_items: (by_id, by_id))
    ascending = evaluate(model, seen, truth)
    for k, value in zip((10, 20, 50), expected, strict=True):
        assert ascending.get("recall", k) == pytest.approx(value, abs=5e-5)
        # On Tools two items of 124 users each compete for place 20: .03504 or .03534
        assert hashed.get("recall", k) == pytest.approx(value, abs=3e-4)
    assert hashed.n_users == {"phone": 20_899, "tool": 12_924}[name]
