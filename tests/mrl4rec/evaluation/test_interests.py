"""Several vectors a user: exact lists at every width, the union of shorter lists, and diversity."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.evaluation.diversity import intra_cosine
from mrl4rec.evaluation.ranking import evaluate, recommend, topk, union_lists
from mrl4rec.evaluation.ranking.interests import InterestSearcher
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.scorers import FactorModel, InterestModel, interests
from tests.mrl4rec.models.model_samples import (
    real_factors,
    real_interests,
    rows,
    sparse,
    whole_interests,
)

DEVICES = ("cpu", "torch-cpu")
KINDS = [{}, {"pooling": "sum"}, {"normalised": True}, {"pooling": "sum", "normalised": True}]
NAMES = ["max", "sum", "max normalised", "sum normalised"]


def exact_scores(model: InterestModel, width: int) -> np.ndarray:
    """(U, I) from the definition, in float64."""
    users = model.user_interests[:, :, :width].astype(np.float64)
    items = model.item_vectors[:, :width].astype(np.float64)
    if model.normalised:
        users /= np.linalg.norm(users, axis=2, keepdims=True)
        items /= np.linalg.norm(items, axis=1, keepdims=True)
    products = np.einsum("ukd,id->uki", users, items)
    return products.sum(axis=1) if model.pooling == "sum" else products.max(axis=1)


def sorted_lists(scores_UI: np.ndarray, seen: Csr, n: int) -> np.ndarray:
    """(U, n) unseen items by score; there must be as many."""
    masked = scores_UI.copy()
    for user in range(len(masked)):
        masked[user, seen.row(user)] = -np.inf
    return np.argsort(-masked, axis=1)[:, :n]


# ----------------------------------------------------------------------------------- the scorer


def test_scores_by_hand() -> None:
    users = np.array([[[1, 0], [0, 2]]], np.float32)
    items = np.array([[3, 1], [1, 4], [-1, -1]], np.float32)
    largest = InterestModel(users, items)
    assert largest.scores(np.array([0])).tolist() == [[3, 8, -1]]
    assert largest.scores(np.array([0, 0]), 1).tolist() == [[3, 1, 0]] * 2
    summed = InterestModel(users, items, pooling="sum")
    assert summed.scores(np.array([0])).tolist() == [[5, 9, -3]]
    unit = InterestModel(users, items, normalised=True)
    # cosines: (3, 1)/√10, (1, 4)/√17, (−1, −1)/√2 with each axis; a prefix of 0 stays 0
    expected = [3 / sqrt(10), 4 / sqrt(17), -1 / sqrt(2)]
    assert unit.scores(np.array([0]))[0].tolist() == pytest.approx(expected)
    assert unit.scores(np.array([0]), 1).tolist() == [[1, 1, 0]]


@pytest.mark.parametrize("options", KINDS, ids=NAMES)
def test_scores_are_the_definition_however_many_at_once(
    options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = real_interests(np.random.default_rng(0), 30, 50, 8, **options)
    users = np.array([4, 0, 4, 29])
    for width in (1, 5, 8):
        found = model.scores(users, width)
        np.testing.assert_allclose(found, exact_scores(model, width)[users], rtol=1e-4, atol=1e-5)
    whole = model.scores(users)
    monkeypatch.setattr(interests, "INTEREST_SCORES", 1)
    np.testing.assert_allclose(model.scores(users), whole, rtol=1e-5, atol=1e-6)


def test_impossible_requests_are_refused() -> None:
    rng = np.random.default_rng(0)
    model, seen = whole_interests(rng, 5, 9), sparse(rng, 5, 9, 10)
    for width in (0, 7):
        with pytest.raises(UsageError, match="6 dimensions"):
            model.scores(np.arange(5), width)
        with pytest.raises(UsageError, match="6 dimensions"):
            recommend(model, np.arange(5), seen, 3, width)
    with pytest.raises(UsageError, match="mean"):
        InterestModel(model.user_interests, model.item_vectors, pooling="mean")  # type: ignore[arg-type]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("options", KINDS, ids=NAMES)
def test_a_vector_that_is_not_finite_is_refused(device: str, options: dict) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, 2, 4)).astype(np.float32)
    vectors[3, 1] = np.nan
    model = InterestModel(vectors, rng.normal(size=(9, 4)).astype(np.float32), **options)
    with pytest.raises(Mrl4recError, match="not finite"):
        recommend(model, np.arange(5), sparse(rng, 5, 9, 10), 3, device=device)


# ------------------------------------------------------------------------------------- ranking


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("options", KINDS, ids=NAMES)
def test_lists_at_every_width_are_those_of_the_definition(device: str, options: dict) -> None:
    rng = np.random.default_rng(3)
    widths = (2, 5, 16)
    model = real_interests(rng, 60, 400, 16, widths=widths, **options)
    seen, truth = sparse(rng, 60, 400, 600), sparse(rng, 60, 400, 300)
    together = evaluate(model, seen, truth, ks=(5, 20), device=device)
    for width in widths:
        items, scores = recommend(model, np.arange(60), seen, 20, width, device=device)
        exact = exact_scores(model, width)
        taken = np.take_along_axis(exact, items.astype(int), 1)
        best = np.take_along_axis(exact, sorted_lists(exact, seen, 20), 1)
        np.testing.assert_allclose(taken, best, atol=1e-6)  # cosines may be equal in float32
        np.testing.assert_allclose(scores, taken, rtol=1e-4)
        assert all(not set(row) & set(seen.row(user)) for user, row in enumerate(items))
        alone = evaluate(model, seen, truth, ks=(5, 20), widths=(width,), device=device)
        assert alone.values == [value for value in together.values if value.width == width]


@pytest.mark.parametrize("options", KINDS, ids=NAMES)
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 99),
    memory=st.sampled_from([1, 2, 512]),
    n_threads=st.sampled_from([1, 2, 3]),
)
def test_metrics_do_not_depend_on_how_the_work_is_cut(
    options: dict, seed: int, memory: int, n_threads: int
) -> None:
    rng = np.random.default_rng(seed)
    model = real_interests(rng, 150, 333, 19, 3, widths=(4, 7, 19), **options)
    seen, truth = sparse(rng, 150, 333, 900), sparse(rng, 150, 333, 400)
    whole = evaluate(model, seen, truth, ks=(10, 50), n_threads=1)
    cut = evaluate(model, seen, truth, ks=(10, 50), memory_mb=memory, n_threads=n_threads)
    assert cut.values == whole.values
    assert cut.per_user.equals(whole.per_user)


def test_memory_bounds_how_many_users_go_through_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1 MB: 20 places of 8 bytes for each of 4 vectors and for the merged list."""
    rng = np.random.default_rng(3)
    model, seen = real_interests(rng, 9000, 60, 4), sparse(rng, 9000, 60, 10)
    search, sizes = InterestSearcher.search, []

    def noted(self: InterestSearcher, users: np.ndarray) -> topk.Lists:
        sizes.append(len(users))
        return search(self, users)

    monkeypatch.setattr(InterestSearcher, "search", noted)
    recommend(model, np.arange(9000), seen, 20, memory_mb=1)
    assert sum(sizes) == 9000
    assert 500 < sizes[0] <= (1 << 20) // (5 * 20 * 8)


@pytest.mark.parametrize("device", DEVICES)
def test_one_vector_a_user_is_a_factor_model_and_a_repeated_vector_changes_nothing(
    device: str,
) -> None:
    rng = np.random.default_rng(6)
    plain = real_factors(rng, 40, 200, 12)
    seen = sparse(rng, 40, 200, 400)
    one, two = (
        InterestModel(np.repeat(plain.user_vectors[:, None], k, axis=1), plain.item_vectors)
        for k in (1, 2)
    )
    expected = recommend(plain, np.arange(40), seen, 30, device=device)
    for model in (one, two):
        found = recommend(model, np.arange(40), seen, 30, device=device)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)


# ------------------------------------------------------------------------ the union of the lists


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_items=st.integers(1, 60),
    k=st.integers(1, 5),
    n=st.integers(1, 30),
    per_list=st.integers(1, 40),
    whole=st.booleans(),
)
def test_the_union_of_lists_is_exact_up_to_their_length(
    seed: int, n_items: int, k: int, n: int, per_list: int, whole: bool
) -> None:
    rng = np.random.default_rng(seed)
    make = whole_interests if whole else real_interests  # with many ties, and with none
    model = make(rng, 6, n_items, 4, k)
    seen, users = sparse(rng, 6, n_items, 2 * n_items), np.arange(6)
    exact, best = recommend(model, users, seen, n)
    items, scores = union_lists(model, users, seen, n, per_list)
    sure = min(n, per_list)
    np.testing.assert_array_equal(items[:, :sure], exact[:, :sure])
    np.testing.assert_array_equal(scores[:, :sure], best[:, :sure])
    if per_list >= n:
        np.testing.assert_array_equal(items, exact)
    assert (scores <= best).all()  # place by place: nothing scores better than the exact list
    more = union_lists(model, users, seen, n, per_list + 3)[1]
    assert (scores <= more).all()
    for user in range(6):
        listed = items[user][items[user] >= 0]
        assert len(set(listed)) == len(listed) <= k * per_list
        assert not set(listed) & set(seen.row(user))


def test_a_union_by_hand() -> None:
    """Item 2 is second for both vectors; lists of one item miss it."""
    users = np.array([[[1, 0], [0, 1]]], np.float32)
    items = np.array([[4, 0], [0, 5], [3, 3], [2, 0]], np.float32)
    model, nothing = InterestModel(users, items), rows([], n_items=4)
    for per_list, expected in ((1, [1, 0, -1, -1]), (2, [1, 0, 2, -1]), (3, [1, 0, 2, 3])):
        found, scores = union_lists(model, np.array([0]), nothing, 4, per_list)
        assert found[0].tolist() == expected
        assert scores[0, :2].tolist() == [5, 4]
    truth = rows([2, 0], n_items=4)
    short, exact = (
        evaluate(model, nothing, truth, ks=(3,), per_list=per_list) for per_list in (1, 3)
    )
    assert [short.get("recall", 3), exact.get("recall", 3)] == [1 / 2, 1]
    assert short.get("hr", 3) == exact.get("hr", 3) == 1
    assert short.get("ndcg", 3) < exact.get("ndcg", 3)


def test_short_lists_judged_at_their_length_are_judged_as_the_exact_ones() -> None:
    rng = np.random.default_rng(9)
    model = real_interests(rng, 80, 300, 8, widths=(3, 8), normalised=True)
    seen, truth = sparse(rng, 80, 300, 600), sparse(rng, 80, 300, 400)
    exact = evaluate(model, seen, truth, ks=(10, 50))
    short = evaluate(model, seen, truth, ks=(10, 50), per_list=10)
    assert [v for v in short.values if v.k == 10] == [v for v in exact.values if v.k == 10]
    assert short.get("recall", 50) < exact.get("recall", 50)
    on_device = evaluate(model, seen, truth, ks=(10, 50), per_list=10, device="torch-cpu")
    assert on_device.values == short.values


@pytest.mark.parametrize("per_list", [0, -1])
def test_lists_of_no_items_are_refused(per_list: int) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="1 item or more"):
        union_lists(whole_interests(rng, 5, 9), np.arange(5), sparse(rng, 5, 9, 4), 3, per_list)


def test_models_with_one_list_have_no_union() -> None:
    rng = np.random.default_rng(0)
    seen, users = sparse(rng, 5, 9, 10), np.arange(5)
    one: list[InterestModel | FactorModel] = [
        whole_interests(rng, 5, 9, pooling="sum"),
        real_factors(rng, 5, 9, 4),
    ]
    for model in one:
        with pytest.raises(UsageError, match="pooling max"):
            recommend(model, users, seen, 3, per_list=5)


# ----------------------------------------------------------------------------------- diversity


def test_intra_cosine_by_hand() -> None:
    same, crossed, opposed = [[2, 0], [3, 0]], [[1, 0], [0, 5]], [[1, 0], [-4, 0]]
    found = intra_cosine(np.array([same, crossed, opposed], np.float32))
    assert found.tolist() == [1, 0, -1]
    # pairs: 0 (first and second), 1/√2 twice; and one of zeros counts as 0
    three = np.array([[[1, 0], [0, 1], [1, 1]], [[1, 0], [1, 0], [0, 0]]], np.float32)
    assert intra_cosine(three).tolist() == pytest.approx([2 / sqrt(2) / 3, 1 / 3])


def test_intra_cosine_is_the_mean_over_pairs_for_many_users() -> None:
    vectors = np.random.default_rng(0).normal(size=(5000, 4, 6)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    pairs = [(unit[:, k] * unit[:, other]).sum(1) for other in range(4) for k in range(other)]
    np.testing.assert_allclose(intra_cosine(vectors), np.mean(pairs, axis=0), atol=1e-6)
    with pytest.raises(UsageError, match="no pairs"):
        intra_cosine(vectors[:, :1])
