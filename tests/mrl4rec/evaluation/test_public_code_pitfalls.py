"""Mistakes of public code for several interests that the metrics here do not make.

Each test works a case out by hand in which the mistaken form gives another number.
"""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from mrl4rec.evaluation.ranking import evaluate, ndcg_hits
from mrl4rec.evaluation.ranking.metrics import PER_USER, per_user
from mrl4rec.models.scorers import InterestModel
from tests.mrl4rec.models.model_samples import rows

NDCG, RECALL = PER_USER.index("ndcg"), PER_USER.index("recall")


def judged(items: list[int], truth: list[int], *ks: int) -> np.ndarray:
    """(C, M) values of one user's list."""
    held_out = rows(truth, n_items=40)
    shown = np.zeros((1, len(ks), 40), dtype=bool)
    bounds = np.array([[0, len(truth)]], dtype=np.int64)
    lists, cutoffs = np.array([[items]], dtype=np.int32), np.array(ks, dtype=np.int64)
    return per_user(lists, bounds, held_out.indices, cutoffs, shown)[0, 0]


def gain(*ranks: int) -> float:
    return sum(1 / log2(rank + 1) for rank in ranks)


def test_pitfall_1_ndcg_goes_down_the_list_and_not_through_the_truth() -> None:
    """A hit at rank 3 counts 1/log2(4), whichever place its item has among the test items."""
    first, last = judged([30, 31, 5, 32], [5, 6, 7], 4), judged([30, 31, 7, 32], [5, 6, 7], 4)
    expected = gain(3) / gain(1, 2, 3)
    assert first[0, NDCG] == pytest.approx(expected, rel=1e-15)
    assert last[0, NDCG] == first[0, NDCG]
    through_the_truth = gain(1) / gain(1, 2, 3)  # item 5 is the truth's first
    assert expected < through_the_truth


@pytest.mark.parametrize(
    ("items", "truth", "k", "ndcg", "of_hits"),
    [
        ([1, 30, 31, 32, 33], [1, 2, 3], 5, gain(1) / gain(1, 2, 3), 1),
        ([30, 1, 31, 2], [1, 2, 3, 4], 4, gain(2, 4) / gain(1, 2, 3, 4), gain(2, 4) / gain(1, 2)),
        ([1, 2], [1, 2, 3, 4, 5], 2, 1, 1),
        ([30, 31], [1, 2], 2, 0, 0),
    ],
    ids=["one of three, on top", "two of four", "a full list", "none"],
)  # fmt: skip
def test_pitfall_2_the_ideal_has_all_that_could_be_hit(
    items: list[int], truth: list[int], k: int, ndcg: float, of_hits: float
) -> None:
    """The ideal over min(k, |T|); over the number of hits it is ``ndcg_hits``, which is larger."""
    values = judged(items, truth, k)
    assert values[0, NDCG] == pytest.approx(ndcg, rel=1e-15)
    found = ndcg_hits(values[None, None], np.array([len(truth)]), (k,))
    assert found.shape == (1, 1, 1)
    assert found[0, 0, 0] == pytest.approx(of_hits, rel=1e-15)
    assert found[0, 0, 0] >= values[0, NDCG] - 1e-15


def test_pitfall_2_of_every_user_width_and_cutoff() -> None:
    """``ndcg_hits`` of an evaluation, from its values of each user."""
    users = np.array([[[1, 0], [0, 1]], [[1, 1], [1, 1]]], np.float32)
    items = np.array([[4, 0], [0, 5], [3, 1], [2, 2]], np.float32)
    truth = rows([1, 3], [0, 2, 3], n_items=4)
    model = InterestModel(users, items, widths=(1, 2))
    found = evaluate(model, rows([], [], n_items=4), truth, ks=(1, 2))
    values = ndcg_hits(found.values_EWCM, truth.degrees[found.users], found.ks)
    # width 2: user 0 gets 1, 0 (scores 5, 4): one hit on top; user 1 gets 1 (5), then 0, 2 or 3 (4)
    assert values.shape == (2, 2, 2)
    assert values[0, 1].tolist() == [1, 1]
    assert found.values_EWCM[0, 1, 1, NDCG] == pytest.approx(1 / gain(1, 2))
    assert values[1, 1].tolist() == pytest.approx([0, gain(2) / gain(1)])


def test_pitfall_3_ranks_do_not_depend_on_the_order_of_the_truth() -> None:
    """Other numbers for the same items, and so another order in sets: the same metrics."""
    rng = np.random.default_rng(0)
    items, truth = rng.permutation(40)[:20], rng.permutation(40)[:9]
    expected = judged(items.tolist(), truth.tolist(), 5, 20)
    assert (expected[1, [RECALL, NDCG]] > 0).all()
    for _ in range(20):
        renamed = rng.permutation(40)
        shuffled = rng.permutation(renamed[truth])
        found = judged(renamed[items].tolist(), shuffled.tolist(), 5, 20)
        np.testing.assert_array_equal(found, expected)


def test_pitfall_8_repeats_count_unless_the_history_is_masked() -> None:
    """History {0, 1}, targets {0, 2}: without a mask the repeat of 0 is a hit, with it none is."""
    users = np.array([[[1], [1]]], np.float32)
    items = np.array([[4], [3], [2], [1]], np.float32)  # the list is 0, 1, 2, 3
    model = InterestModel(users, items)
    history, nothing = rows([0, 1], n_items=4), rows([], n_items=4)
    targets, new = rows([0, 2], n_items=4), rows([2], n_items=4)
    unmasked = evaluate(model, nothing, targets, ks=(1, 2))
    assert [unmasked.get("recall", k) for k in (1, 2)] == [1 / 2, 1 / 2]
    assert unmasked.get("ndcg", 2) == pytest.approx(gain(1) / gain(1, 2))
    masked = evaluate(model, history, new, ks=(1, 2))
    assert [masked.get("recall", k) for k in (1, 2)] == [1, 1]
    # judged on what cannot be recommended, the best list has half of it
    mixed = evaluate(model, history, targets, ks=(2,))
    assert mixed.get("recall", 2) == 1 / 2
