"""A duel by hand, its file, and what it refuses."""

from __future__ import annotations

from math import log2
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.data.interactions import Interactions, from_pairs, from_sequences
from mrl4rec.data.sequences import Sequences, histories
from mrl4rec.evaluation.ranking import evaluate, topk
from mrl4rec.evaluation.slices import POPULARITY, by_activity, by_popularity
from mrl4rec.kernels.csr import csr
from mrl4rec.models.model_folder import Loaded
from mrl4rec.models.scorers import CountModel, FactorModel, ItemItemModel
from mrl4rec.serving.promotion.duel import duel, shared_widths
from mrl4rec.serving.promotion.per_user import METRICS, SLICED, read
from tests.mrl4rec.models.model_samples import real_factors, rows, sparse
from tests.mrl4rec.models.sequential.sequence_samples import untrained
from tests.mrl4rec.serving.duel_samples import duel_of, loaded, side

TRAIN = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
TEST = [(0, 1), (0, 3), (1, 2), (3, 0), (3, 3)]
"""Item 0 has 3 of 6 training pairs (head), 1 has 2 (middle), 2 has 1 (tail), 3 none (new); item 4
is not in the core. User 3 is new, and user 2 has nothing in the window."""


def window() -> Interactions:
    return from_pairs(TRAIN[1:], TRAIN[:1], TEST, 4, 5)


def by_order(*values: float, n_users: int = 4, **options: object) -> Loaded:
    """A model whose users all rank items by these values."""
    users = np.ones((n_users, 1), np.float32)
    model = FactorModel(users, np.array(values, np.float32)[:, None])
    pairs = np.array(TRAIN)
    return loaded(model, csr(pairs[:, 0], pairs[:, 1], n_users, len(values)), **options)


def places_of_new_item() -> tuple[int, int]:
    """Ranks of item 3 for users 0 and 3: items 3 and 4 are unknown to all, so they go by ties."""
    _, rank = topk.tie_order(5)
    behind = int(rank[3] > rank[4])
    return 3 + behind, 4 + behind


def test_values_and_slices_by_hand() -> None:
    found = duel([by_order(4, 3, 2, 9, 9)], [by_order(1, 2, 3, 9, 9)], window())
    assert found.users_E.tolist() == [0, 1, 3]
    assert found.history_E.tolist() == [1, 2, 0]
    assert found.widths == (None,)
    at_0, at_3 = places_of_new_item()
    both = 1 + 1 / log2(3)
    # user 0 sees 1, 2, then the unknown; user 1 sees 2 first; user 3 gets the popular 0, 1, 2
    expected = [(1 + 1 / log2(at_0 + 1)) / both, 1, (1 + 1 / log2(at_3 + 1)) / both]
    assert found.champion.ndcg_ESW[:, 0, 0] == pytest.approx(expected)
    # the challenger puts 2 before 1 for user 0, and cannot rank for the stranger otherwise
    expected[0] = (1 / log2(3) + 1 / log2(at_0 + 1)) / both
    assert found.challenger.ndcg_ESW[:, 0, 0] == pytest.approx(expected)
    assert (found.champion.recall_ESW == 1).all()
    nan = np.nan
    sliced = [
        [nan, 1, nan, 1 / log2(at_0 + 1)],
        [nan, nan, 1, nan],
        [1, nan, nan, 1 / log2(at_3 + 1)],
    ]
    np.testing.assert_allclose(found.champion.sliced_ESG[:, 0], sliced)
    sliced[0][1] = 1 / log2(3)
    np.testing.assert_allclose(found.challenger.sliced_ESG[:, 0], sliced)


def test_items_outside_the_core_are_nobodys_candidate_before_the_others() -> None:
    pairs = [*TRAIN, (2, 4)]  # an older champion knew item 4, which the core no longer holds
    model = FactorModel(
        np.ones((4, 1), np.float32), np.array([[4], [3], [2], [9], [9]], np.float32)
    )
    rows = np.array(pairs)
    older = loaded(model, csr(rows[:, 0], rows[:, 1], 4, 5))
    found = duel([older], [by_order(4, 3, 2, 9, 9)], window())
    np.testing.assert_array_equal(found.champion.ndcg_ESW, found.challenger.ndcg_ESW)


def test_popularity_slices_hold_a_third_of_the_pairs_each_and_keep_equals_together() -> None:
    assert [POPULARITY[g] for g in by_popularity(np.array([3, 2, 1, 0]))] == list(POPULARITY)
    # 12 pairs: 4 are held above 2, 8 above 1; where a third begins its equals come along
    assert by_popularity(np.array([4, 2, 2, 1, 1, 1, 1])).tolist() == [0, 1, 1, 2, 2, 2, 2]
    assert by_popularity(np.array([2, 2, 2, 0])).tolist() == [0, 0, 0, 3]
    assert by_popularity(np.zeros(2, int)).tolist() == [3, 3]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.randoms())
def test_popularity_slices_do_not_depend_on_the_order_of_items(
    counts: list[int], r: object
) -> None:
    pairs = np.array(counts)
    order = np.array(sorted(range(len(pairs)), key=lambda _: r.random()))  # type: ignore[attr-defined]
    slices = by_popularity(pairs)
    np.testing.assert_array_equal(by_popularity(pairs[order]), slices[order])
    falling = slices[np.argsort(-pairs, kind="stable")]
    assert (np.diff(falling) >= 0).all()
    assert ((slices == 3) == (pairs == 0)).all()


@given(st.lists(st.integers(0, 60), min_size=1))
def test_every_user_is_in_one_slice_of_activity(history: list[int]) -> None:
    slices = by_activity(np.array(history))
    assert np.sum(list(slices.values()), axis=0).tolist() == [1] * len(history)
    edges = by_activity(np.array([0, 1, 4, 5, 9, 10, 19, 20, 900]))
    assert {name: np.flatnonzero(inside).tolist() for name, inside in edges.items()} == {
        "new": [0], "1-4": [1, 2], "5-9": [3, 4], "10-19": [5, 6], "20+": [7, 8],
    }  # fmt: skip


def samples(
    n: int,
    first_seed: int = 0,
    *,
    users: int = 80,
    dim: int = 8,
    widths: tuple[int, ...] = (2, 4, 8),
) -> tuple[list[Loaded], Interactions]:
    """Random models that all know a data set of 80 users × 60 items, and its window."""
    rng = np.random.default_rng(3)
    pairs = sparse(rng, 80, 60, 1400)
    rows = np.stack([np.repeat(np.arange(80), pairs.degrees), pairs.indices], axis=1)
    fold = rng.choice(3, len(rows), p=[0.7, 0.1, 0.2])
    parts = [[tuple(row) for row in rows[fold == f].tolist()] for f in range(3)]
    data = from_pairs(*parts, 80, 60)
    seen = data.csr("train", "valid")
    found = []
    for seed in range(first_seed, first_seed + n):
        model = real_factors(np.random.default_rng(seed), users, 60, dim, widths=widths)
        own = csr(*(a[: seen.indptr[users]] for a in _pairs(seen)), users, 60)
        found.append(loaded(model, own, seed=seed, stage_key=f"{seed:064d}"))
    return found, data


def _pairs(seen: object) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(seen.n_rows), seen.degrees), seen.indices  # type: ignore[attr-defined]


def test_values_are_those_of_evaluate_and_slices_those_of_the_whole_list() -> None:
    (one, two, three), data = samples(3)
    found = duel([one], [two, three], data, memory_mb=16)
    assert found.widths == (None, 2, 4)
    seen, truth = data.csr("train", "valid"), data.csr("test")
    for s, model in enumerate((two.model, three.model)):
        for w, width in enumerate(found.widths):
            theirs = evaluate(model, seen, truth, ks=(20,), widths=(width,)).values_EWCM[:, 0, 0]
            np.testing.assert_array_equal(found.challenger.ndcg_ESW[:, s, w], theirs[:, 1])
            np.testing.assert_array_equal(found.challenger.recall_ESW[:, s, w], theirs[:, 0])
    slices = by_popularity(np.bincount(seen.indices, minlength=60))
    rows, items = _pairs(truth)
    for g in range(len(POPULARITY)):
        part = csr(rows[slices[items] == g], items[slices[items] == g], 80, 60)
        if len(part.indices):
            theirs = evaluate(one.model, seen, part, ks=(20,), widths=(None,))
            places = np.searchsorted(found.users_E, theirs.users)
            ours = found.champion.sliced_ESG[:, 0, g]
            np.testing.assert_array_equal(ours[places], theirs.values_EWCM[:, 0, 0, 1])
            assert np.isnan(np.delete(ours, places)).all()


def test_the_file_gives_the_duel_back_whatever_the_order_of_its_rows(tmp_path: Path) -> None:
    (one, two, three), data = samples(3)
    found = duel([one], [two, three], data)
    path = found.write(tmp_path / "deep" / "duel.parquet")
    assert [p.name for p in path.parent.iterdir()] == ["duel.parquet"]
    table = pq.read_table(path)
    assert table.num_rows == found.n_users * 3 * 3
    assert {*METRICS, *SLICED, "user_idx", "history", "side", "seed", "width"} < set(
        table.column_names
    )
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    pq.write_table(shuffled, tmp_path / "shuffled.parquet")
    for file in (path, tmp_path / "shuffled.parquet"):
        again = read(file)
        assert (again.split_key, again.widths) == (found.split_key, found.widths)
        np.testing.assert_array_equal(again.users_E, found.users_E)
        np.testing.assert_array_equal(again.history_E, found.history_E)
        for ours, theirs in zip(again.sides, found.sides, strict=True):
            assert ours.recipe == theirs.recipe
            np.testing.assert_array_equal(ours.ndcg_ESW, theirs.ndcg_ESW)
            np.testing.assert_array_equal(ours.recall_ESW, theirs.recall_ESW)
            np.testing.assert_array_equal(ours.sliced_ESG, theirs.sliced_ESG)


def test_another_file_is_no_duel(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    pq.write_table(duel_of(side([0.5]), side([0.5]))._rows(0, side([0.5]), 0, 0), tmp_path / "y")
    for name in ("x.parquet", "y", "none"):
        with pytest.raises(Mrl4recError, match="no file of per-user values"):
            read(tmp_path / name)


def test_widths_that_both_sides_have() -> None:
    (wide,), _ = samples(1, dim=16, widths=(2, 4, 8, 16))
    (narrow,), _ = samples(1, dim=8, widths=(4, 8))
    assert shared_widths([wide, wide]) == (None, 2, 4, 8)
    assert shared_widths([wide, narrow]) == (None, 4, 8)  # 8 is the whole of one, not of the other
    pop = loaded(CountModel(np.ones(60, int), 80), sparse(np.random.default_rng(0), 80, 60, 9))
    assert shared_widths([wide, pop]) == (None,)


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(3)))
def test_the_order_of_seeds_is_the_order_given(order: list[int]) -> None:
    models, data = samples(3)
    plain = duel([models[0]], models, data)
    turned = duel([models[0]], [models[n] for n in order], data)
    np.testing.assert_array_equal(turned.challenger.ndcg_ESW, plain.challenger.ndcg_ESW[:, order])
    assert turned.challenger.recipe.seeds == tuple(order)


def test_an_older_model_is_compared_on_the_same_users() -> None:
    (older,), _ = samples(1, users=50)
    (newer,), data = samples(1, 1)
    found = duel([older], [newer], data)
    strangers = found.users_E >= 50
    assert strangers.any()
    assert found.champion.ndcg_ESW.shape == found.challenger.ndcg_ESW.shape
    pop = loaded(CountModel(np.bincount(older.seen.indices, minlength=60), 50), older.seen)
    popular = duel([pop], [newer], data)
    ours, theirs = (d.champion.ndcg_ESW[strangers, 0, 0] for d in (found, popular))
    np.testing.assert_array_equal(ours, theirs)


def test_what_is_no_duel_is_refused() -> None:
    (one, two), data = samples(2)
    with pytest.raises(UsageError, match="no model"):
        duel([], [one], data)
    other = two._replace(card=loaded(two.model, two.seen, method_name="BPR").card)
    with pytest.raises(UsageError, match="several recipes"):
        duel([one], [two, other], data)
    nobody = from_pairs(TRAIN, [], [], 80, 60)
    with pytest.raises(Mrl4recError, match="nobody has test pairs"):
        duel([one], [two], nobody)
    with pytest.raises(Mrl4recError, match="80 users × 60 items"):
        duel([one], [two], window())


def in_order() -> Interactions:
    """User 0 has 0, 1, then 2; user 1 has 1, 0, then 3 and 0 again; user 2 has no target."""
    rows = histories([[0, 1, 2], [1, 0, 3, 0], [0, 3]], 5)
    folds = np.array([0, 0, 2, 0, 0, 2, 2, 0, 0], dtype=np.int8)
    return from_sequences(Sequences(rows, folds))


def follows(data: Interactions, n_items: int = 5) -> Loaded:
    """After 1 comes 2, after 0 comes 3, after anything else 4; all events read, targets too."""
    weights = np.zeros((n_items, n_items), np.float32)
    weights[:, -1] = 1
    weights[0, 3], weights[1, 2] = 2, 2
    assert data.sequences is not None
    events = data.sequences.events.within(n_items)
    model = ItemItemModel(weights, events.newest(1).csr(), last=1)
    return loaded(model, rows([0, 1, 2], [0, 1, 3], [0, 3], n_items=n_items))


def test_histories_end_where_the_window_begins() -> None:
    data = in_order()
    found = duel([follows(data)], [follows(data)], data)
    assert found.users_E.tolist() == [0, 1]
    assert found.champion.ndcg_ESW[:, 0, 0].tolist() == [1, 1]
    assert found.history_E.tolist() == [2, 2]


def test_a_sequential_model_reads_the_histories_before_the_window() -> None:
    data = in_order()
    assert data.sequences is not None
    before = data.sequences.before("test")
    known = rows([0, 1, 2], [0, 1, 3], [0, 3], n_items=5)
    mine = untrained("ComiRec-SA", [[4], [4]], 5)  # of then: other histories, one user less
    now = loaded(mine.bound(before), known)
    then = loaded(mine, csr(np.array([0, 1]), np.array([4, 4]), 2, 5))._replace(seen=known)
    found = duel([then], [now], data)
    assert found.widths == (None, 4)
    np.testing.assert_array_equal(found.champion.ndcg_ESW, found.challenger.ndcg_ESW)


def test_items_that_a_model_does_not_know_are_no_part_of_its_histories() -> None:
    rows_ = histories([[0, 1, 4, 2]], 5)
    data = from_sequences(Sequences(rows_, np.array([0, 0, 0, 2], dtype=np.int8)))
    known = rows([0, 1, 2], n_items=4)
    weights = np.zeros((4, 4), np.float32)
    weights[1, 2] = 1
    model = ItemItemModel(weights, rows([1], n_items=4), last=1)
    found = duel([loaded(model, known)], [loaded(model, known)], data)
    assert found.champion.ndcg_ESW[:, 0, 0].tolist() == [1]


def test_a_model_of_sequences_is_not_judged_on_a_split_of_pairs() -> None:
    reading = [
        loaded(
            untrained("ComiRec-SA", [[0], [0, 1], [2], [3]], 5), rows([], [], [], [], n_items=5)
        ),
        follows(in_order()),
    ]
    for model in reading:
        with pytest.raises(UsageError, match="reads sequences") as refused:
            duel([by_order(4, 3, 2, 1, 0)], [model], window())
        assert "--sequences" in str(refused.value.todo)
