"""Each metric on lists small enough to work out by hand."""

from __future__ import annotations

from fractions import Fraction
from math import log2

import numpy as np
import pytest

from mrl4rec.evaluation.ranking import METRICS, evaluate
from mrl4rec.evaluation.ranking.metrics import PER_USER, discounts, per_user
from mrl4rec.models.scorers import FactorModel
from tests.mrl4rec.models.model_samples import rows


def values(items: list[int], truth: list[int], *ks: int, n_items: int = 20) -> dict:
    """{(metric, k): value} of one user's list."""
    csr = rows(truth, n_items=n_items)
    bounds = np.array([[0, len(truth)]], dtype=np.int64)
    lists = np.array([[items]], dtype=np.int32)
    shown = np.zeros((1, len(ks), n_items), dtype=bool)
    out = per_user(lists, bounds, csr.indices, np.array(ks, dtype=np.int64), shown)
    return {(m, k): out[0, 0, c, i] for c, k in enumerate(ks) for i, m in enumerate(PER_USER)}


def test_two_hits_of_three_at_ranks_two_and_four() -> None:
    found = values([9, 4, 8, 2, 7], [2, 4, 6], 1, 2, 4, 5)
    assert [found["recall", k] for k in (1, 2, 4, 5)] == [0, 1 / 3, 2 / 3, 2 / 3]
    assert [found["precision", k] for k in (1, 2, 4, 5)] == [0, 1 / 2, 2 / 4, 2 / 5]
    assert [found["hr", k] for k in (1, 2, 4, 5)] == [0, 1, 1, 1]
    assert [found["mrr", k] for k in (1, 2, 4, 5)] == [0, 1 / 2, 1 / 2, 1 / 2]
    dcg_4 = 1 / log2(3) + 1 / log2(5)
    ideal_3 = 1 + 1 / log2(3) + 1 / log2(4)
    assert found["ndcg", 4] == pytest.approx(dcg_4 / ideal_3, rel=1e-15)
    assert found["ndcg", 2] == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)), rel=1e-15)
    # precision at the hits: 1/2 and 2/4; three test items, so min(4, 3) = 3 and min(2, 3) = 2
    assert found["map", 4] == pytest.approx(float((Fraction(1, 2) + Fraction(2, 4)) / 3), rel=1e-15)
    assert found["map", 2] == pytest.approx(1 / 4, rel=1e-15)


def test_the_ideal_is_capped_at_the_cutoff_and_at_the_test_items() -> None:
    many = values([0, 1], list(range(10)), 2)
    assert many["ndcg", 2] == 1.0  # two places, both hit: nothing better is possible
    assert many["map", 2] == 1.0
    assert many["recall", 2] == 2 / 10
    one = values([5, 6, 7], [5], 3)
    assert one["ndcg", 3] == 1.0  # one test item on top, though three places are free
    assert one["map", 3] == 1.0
    assert one["precision", 3] == 1 / 3


def test_short_lists_count_what_is_missing_as_misses() -> None:
    found = values([3, -1, -1], [3, 4], 3, 10)
    assert found["precision", 3] == 1 / 3
    assert found["precision", 10] == 1 / 10
    assert found["recall", 10] == 1 / 2
    assert found["ndcg", 10] == pytest.approx(1 / (1 + 1 / log2(3)), rel=1e-15)


def test_no_hit_is_zero_everywhere() -> None:
    assert set(values([1, 2, 3], [9], 1, 3).values()) == {0.0}


def test_discounts_are_one_over_log2_of_rank_plus_one() -> None:
    assert discounts(3).tolist() == [1.0, 1 / log2(3), 0.5]


def test_means_are_over_users_with_test_items_and_coverage_over_items() -> None:
    # scores: user 0 ranks 3, 2, 1, 0; user 1 ranks 0, 1, 2, 3; user 2 has nothing held out
    vectors = np.array([[1.0], [-1.0], [1.0]], dtype=np.float32)
    items = np.array([[0.0], [1.0], [2.0], [3.0]], dtype=np.float32)
    seen = rows([3], [], [], n_items=4)
    truth = rows([2], [3, 1], [], n_items=4)
    found = evaluate(FactorModel(vectors, items), seen, truth, ks=(2, 1))
    assert found.n_users == 2
    assert found.get("recall", 1) == (1 + 0) / 2  # user 0's first unseen item is 2
    assert found.get("recall", 2) == (1 + 1 / 2) / 2
    assert found.get("mrr", 2) == (1 + 1 / 2) / 2
    assert found.get("coverage", 1) == 2 / 4  # items 2 and 0
    assert found.get("coverage", 2) == 3 / 4  # items 2, 1 and 0, 1
    assert {value.metric for value in found.values} == set(METRICS)
    table = found.per_user
    assert table.column_names == ["user_idx", "width", "k", *PER_USER]
    assert table["user_idx"].to_pylist() == [0, 0, 1, 1]
    assert table["k"].to_pylist() == [1, 2, 1, 2]
    assert table["recall"].to_pylist() == [1.0, 1.0, 0.0, 0.5]
    assert table["width"].null_count == 4


def random_lists(rng: np.random.Generator) -> tuple[np.ndarray, list[list[int]]]:
    """(B, 20) lists and the test items of 50 users, some with more of them than places."""
    lists = np.stack([rng.permutation(60)[:20] for _ in range(50)]).astype(np.int32)
    truths = [rng.permutation(60)[: rng.integers(1, 30)].tolist() for _ in range(50)]
    return lists, truths


def means(lists: np.ndarray, truths: list[list[int]], ks: tuple[int, ...]) -> dict:
    csr = rows(*truths, n_items=60)
    bounds = np.stack([csr.indptr[:-1], csr.indptr[1:]], axis=1)
    shown = np.zeros((1, len(ks), 60), dtype=bool)
    cutoffs = np.array(ks, dtype=np.int64)
    out = per_user(lists[:, None], bounds, csr.indices, cutoffs, shown).mean(axis=0)[0]
    return {(m, k): out[c, i] for c, k in enumerate(ks) for i, m in enumerate(PER_USER)}


def test_random_lists_against_the_definitions_in_plain_python() -> None:
    lists, truths = random_lists(np.random.default_rng(0))
    found = means(lists, truths, (1, 5, 20))
    for k in (1, 5, 20):
        recall, ndcg, hr = [], [], []
        for items, truth in zip(lists.tolist(), map(set, truths), strict=True):
            hits = [rank for rank, item in enumerate(items[:k], start=1) if item in truth]
            ideal = sum(1 / log2(rank + 1) for rank in range(1, min(k, len(truth)) + 1))
            recall.append(len(hits) / len(truth))
            ndcg.append(sum(1 / log2(rank + 1) for rank in hits) / ideal)
            hr.append(len(hits) > 0)
        for metric, each in (("recall", recall), ("ndcg", ndcg), ("hr", hr)):
            assert found[metric, k] == pytest.approx(np.mean(each), rel=1e-12)


@pytest.mark.slow  # it compiles for a minute
def test_random_lists_against_ranx() -> None:
    ranx = pytest.importorskip("ranx")
    lists, truths = random_lists(np.random.default_rng(0))
    found = means(lists, truths, (1, 5, 20))
    judged = {f"u{u}": {f"i{item}": 1 for item in truth} for u, truth in enumerate(truths)}
    ranked = {
        f"u{u}": {f"i{item}": float(-place) for place, item in enumerate(items)}
        for u, items in enumerate(lists.tolist())
    }
    names = {"recall": "recall", "ndcg": "ndcg", "hr": "hit_rate", "mrr": "mrr"}
    asked = {f"{theirs}@{k}": (ours, k) for ours, theirs in names.items() for k in (1, 5, 20)}
    theirs = ranx.evaluate(ranx.Qrels(judged), ranx.Run(ranked), list(asked))
    for name, place in asked.items():
        assert found[place] == pytest.approx(theirs[name], rel=1e-9), name
