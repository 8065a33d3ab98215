"""A model served to people and items it does not know, against a naive ranking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.evaluation.ranking import evaluate, recommend, topk
from mrl4rec.kernels.csr import Csr, csr
from mrl4rec.models.scorers import CountModel, FactorModel, InterestModel, ItemItemModel
from mrl4rec.serving.promotion.served import Served
from tests.mrl4rec.models.model_samples import (
    kinds,
    real_factors,
    rows,
    sparse,
    whole_interests,
)
from tests.mrl4rec.models.sequential.sequence_samples import looked, untrained
from tests.mrl4rec.serving.duel_samples import loaded


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Many small products: threads of torch would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def wider(seen: Csr, n_users: int, n_items: int) -> Csr:
    users = np.repeat(np.arange(seen.n_rows), seen.degrees)
    return csr(users, seen.indices, n_users, n_items)


def naive(
    model: Any, seen: Csr, masked: Csr, k: int, width: int | None, offered: np.ndarray
) -> list[list[int]]:
    """The lists by sorting in Python: known items first, by score, or by pairs for a stranger."""
    _, rank = topk.tie_order(masked.n_columns)
    pairs = np.bincount(seen.indices, minlength=masked.n_columns) * offered
    lists = []
    for user in range(masked.n_rows):
        scores = np.zeros(masked.n_columns)
        if user < seen.n_rows and seen.degrees[user]:
            scores[: model.n_items] = model.scores(np.array([user]), width)[0]
        else:
            scores[:] = pairs
        free = set(range(masked.n_columns)) - set(masked.row(user).tolist())
        order = sorted(free, key=lambda i: (pairs[i] == 0, -scores[i] if pairs[i] else 0, rank[i]))
        lists.append((order + [-1] * k)[:k])
    return lists


@pytest.mark.parametrize("device", ["cpu", "torch-cpu"])
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 6), st.integers(1, 30)),
    more=st.tuples(st.integers(0, 3), st.integers(0, 12)),
    k=st.integers(1, 40),
    all_offered=st.booleans(),
)
def test_lists_equal_a_naive_ranking(
    device: str,
    seed: int,
    size: tuple[int, int],
    more: tuple[int, int],
    k: int,
    all_offered: bool,
) -> None:
    rng = np.random.default_rng(seed)
    (users, items), present = size, (size[0] + more[0], size[1] + more[1])
    seen = sparse(rng, users, items, int(rng.integers(1, 4 * users)))
    masked = sparse(rng, *present, 3 * users)
    offered = np.ones(present[1], bool) if all_offered else rng.random(present[1]) < 0.8
    pop = CountModel(np.bincount(seen.indices, minlength=items), users)
    made = kinds(rng, users, items, seen)
    several = whole_interests(rng, users, items)
    for model in [*made[:3], pop, made[4], several]:
        served = Served(loaded(model, seen), *present, None if all_offered else offered)
        assert (served.n_users, served.n_items, served.kind) == (*present, model.kind)
        for width in (None, 2) if isinstance(model, FactorModel | InterestModel) else (None,):
            found, _ = recommend(served, np.arange(present[0]), masked, k, width, device=device)
            assert found.tolist() == naive(model, seen, masked, k, width, offered), model.kind


def test_known_users_keep_the_bits_of_their_scores() -> None:
    rng = np.random.default_rng(4)
    seen = sparse(rng, 40, 300, 3000)
    assert (np.bincount(seen.indices, minlength=300) > 0).all()
    model = real_factors(rng, 40, 300, 24, widths=(5, 24))
    served = Served(loaded(model, seen), 50, 320)
    for width in (5, None):
        items, scores = recommend(model, np.arange(40), seen, 20, width)
        found = recommend(served, np.arange(40), wider(seen, 50, 320), 20, width)
        np.testing.assert_array_equal(found[0], items)
        np.testing.assert_array_equal(found[1], scores)


def test_all_widths_in_one_pass_are_those_of_the_model() -> None:
    rng = np.random.default_rng(5)
    seen, truth = sparse(rng, 60, 200, 3000), sparse(rng, 60, 200, 300)
    model = real_factors(rng, 60, 200, 16, widths=(2, 8, 16))
    served = Served(loaded(model, seen), 61, 200)
    assert served.widths == (2, 8, 16)
    some = csr(*(np.array([60]), np.array([3])), 61, 200)
    for width in (2, 8, 16, None):
        ours = evaluate(served, wider(seen, 61, 200), wider(truth, 61, 200), widths=(width,))
        theirs = evaluate(model, seen, truth, widths=(width,))
        assert ours.values == theirs.values
    assert evaluate(served, wider(seen, 61, 200), some).n_users == 1
    with pytest.raises(UsageError, match="1 … 16"):
        recommend(served, np.arange(2), wider(seen, 61, 200), 5, width=17)


def test_who_knows_everybody_and_everything_is_not_copied() -> None:
    rng = np.random.default_rng(0)
    seen = rows([0, 1], [2], n_items=3)
    model = real_factors(rng, 2, 3, 4)
    assert Served(loaded(model, seen), 2, 3).plain is model
    assert Served(loaded(model, seen), 2, 4).plain is not model


HISTORIES = [[0, 1], [2, 5], [], [3, 4, 3], [4]]
"""Of the first five users; user 4 was not trained on."""


@pytest.mark.parametrize("name", ["YouTubeDNN", "ComiRec-SA", "normalised"])
def test_a_sequential_model_serves_those_with_a_history(name: str) -> None:
    rng = np.random.default_rng(3)
    vectors = [rng.normal(size=shape).astype(np.float32) for shape in ((5, 3, 8), (6, 8))]
    if name == "normalised":  # user 2 has a history too
        model = looked(*vectors, normalised=True, widths=(4, 8))
    else:
        model = untrained(name, HISTORIES, 6)
    known = np.flatnonzero(model.histories.lengths > 0)
    seen = rows(*(sorted({*row}) for row in HISTORIES[:4]), [], n_items=6)
    served = Served(loaded(model, seen), 7, 9)
    masked, own = wider(seen, 7, 9), seen
    for width in (4, None):
        items, scores = recommend(model, known, own, 6, width)
        found = recommend(served, known, masked, 6, width)
        there = items >= 0
        np.testing.assert_array_equal(found[0][there], items[there])
        np.testing.assert_array_equal(found[1][there], scores[there])
        assert (found[0][~there] >= 6).all()  # items it does not know come last
    strangers = np.setdiff1d(np.arange(7), known)
    popular = CountModel(np.bincount(seen.indices, minlength=9), 7)
    want, _ = recommend(popular, strangers, masked, 6)
    assert recommend(served, strangers, masked, 6)[0].tolist() == want.tolist()


def test_an_item_item_model_serves_those_whose_history_it_has() -> None:
    weights = np.arange(9, dtype=np.float32).reshape(3, 3)
    model = ItemItemModel(weights, rows([0], [2], [], n_items=3))
    served = Served(loaded(model, rows([0], [], [1], n_items=3)), 3, 3)
    assert served.known_U.tolist() == [True, True, False]


def test_large_scores_stay_above_the_unknown_and_all_are_finite() -> None:
    seen = rows([0], [1], n_items=3)
    model = FactorModel(np.full((2, 1), 1e6, np.float32), np.full((3, 1), -1e6, np.float32))
    served = Served(loaded(model, seen), 2, 3)
    items, scores = recommend(served, np.array([0]), seen, 3)
    assert items[0].tolist() == [1, 2, -1]
    assert np.isfinite(scores[0, :2]).all()
    assert scores[0, 0] == np.float32(-1e12)


def test_pop_puts_items_without_pairs_last() -> None:
    seen = rows([0, 1], [1], n_items=3)
    served = Served(loaded(CountModel(np.array([1, 2, 0]), 2), seen), 3, 5)
    assert served.scores(np.array([2])).tolist() == [[1, 2, 0, 0, 0]]


def test_ids_are_never_taken_back() -> None:
    rng = np.random.default_rng(0)
    seen = sparse(rng, 5, 9, 20)
    with pytest.raises(Mrl4recError, match="5 users × 9 items"):
        Served(loaded(real_factors(rng, 5, 9, 4), seen), 5, 8)
