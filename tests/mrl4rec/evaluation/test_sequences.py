"""What is evaluated of sequences: masked and not, by the histories of then, several vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import Interactions, from_sequences
from mrl4rec.data.sequences import Sequences, histories
from mrl4rec.evaluation import sequences
from mrl4rec.evaluation.evaluate import with_besides
from mrl4rec.evaluation.ranking import evaluate
from mrl4rec.evaluation.sequences import COSINE, HITS, UNION
from mrl4rec.evaluation.slices import truth_by_popularity
from mrl4rec.kernels.csr import Csr
from mrl4rec.models import model_folder, resolve
from mrl4rec.models.scorers import CountModel, InterestModel, ItemItemModel, Scorer
from mrl4rec.tables.splits import BEFORE, EVERY_FOLD
from mrl4rec.training import TrainRequest, run
from tests.mrl4rec.models.sequential import sequence_samples

HOW = {"device": "cpu", "memory_mb": 64}


def data() -> Interactions:
    """Two users of five items.

    User 0 had 0 1, targets 1 (again) and 2; user 1 had 3, target 3 (again) alone.
    """
    rows = [[0, 1, 1, 2], [3, 3]]
    folds = [["test_history"] * 2 + ["test"] * 2, ["test_history", "test"]]
    flat = np.array([EVERY_FOLD.index(f) for row in folds for f in row], dtype=np.int8)
    return from_sequences(Sequences(histories(rows, 5), flat))


def found(model: Scorer, made: Interactions, ks: tuple[int, ...] = (1, 2)) -> dict[tuple, float]:
    seen = made.csr(*BEFORE["test"])
    masked = evaluate(model, seen, made.csr("test"), ks=ks)
    more = sequences.besides(model, made, masked, seen, **HOW)  # type: ignore[arg-type]
    return {(v.metric, v.k, v.width): v.value for v in [*masked.values, *more.values]}


def test_masked_lists_are_judged_by_new_targets_and_unmasked_ones_by_all() -> None:
    # The list of everybody is 3 1 2 0 4. Masked, user 0 gets 3 2 4, whose only new target is 2;
    # user 1 has no new target and is not judged. Unmasked, user 0 (targets 1 and 2) has a hit at
    # rank 2, user 1 (target 3) one at rank 1.
    values = found(CountModel(np.array([2, 4, 3, 5, 1]), 2), data())
    assert values["recall", 1, None] == 0
    assert values["recall", 2, None] == 1
    assert values["recall_unmasked", 1, None] == (0 + 1) / 2
    assert values["recall_unmasked", 2, None] == (1 / 2 + 1) / 2
    assert values["hr_unmasked", 2, None] == 1
    second = 1 / np.log2(3)
    assert values["ndcg_unmasked", 2, None] == pytest.approx((second / (1 + second) + 1) / 2)
    # The public form takes the ideal of one hit, at rank 1, for user 0.
    assert values[HITS, 2, None] == pytest.approx((second + 1) / 2)


def test_a_model_is_bound_to_what_came_before_the_targets() -> None:
    weights = np.arange(25, dtype=np.float32).reshape(5, 5)
    nothing = Csr(np.zeros(3, dtype=np.int64), np.empty(0, np.int32), 5)
    model = sequences.bound(ItemItemModel(weights, nothing), data(), "test")
    assert isinstance(model, ItemItemModel)
    assert [model.history.row(user).tolist() for user in (0, 1)] == [[0, 1], [3]]
    served = sequences.bound(ItemItemModel(weights, nothing), data())
    assert isinstance(served, ItemItemModel)
    assert served.history.row(0).tolist() == [0, 1, 2]

    last = sequences.bound(ItemItemModel(weights, nothing, last=1), data(), "test")
    assert isinstance(last, ItemItemModel)
    assert [last.history.row(user).tolist() for user in (0, 1)] == [[1], [3]]


def test_several_vectors_have_a_cosine_and_a_union_of_shorter_lists() -> None:
    items = np.eye(5, dtype=np.float32)
    users = np.zeros((2, 2, 5), dtype=np.float32)
    users[0, 0] = [0, 0, 1.0, 0.9, 0.8]
    users[0, 1] = [0, 0, 0.1, 0.2, 0.3]
    users[1] = users[0]
    values = found(InterestModel(users, items, widths=(5,)), data(), ks=(2,))
    a, b = users[0]
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert values[COSINE, 2, 5] == pytest.approx(cosine, rel=1e-6)
    # One neighbour of each vector: item 2 of the first, item 4 of the second.
    assert values[UNION, 2, 5] == 1
    assert values["recall", 2, 5] == 1


def test_users_have_all_values_null_where_they_have_none() -> None:
    made, model = data(), CountModel(np.array([2, 4, 3, 5, 1]), 2)
    seen, truth = made.csr(*BEFORE["test"]), made.csr("test")
    masked = evaluate(model, seen, truth, ks=(1, 2), slices=truth_by_popularity(seen, truth))
    more = sequences.besides(model, made, masked, seen, **HOW)  # type: ignore[arg-type]
    table = with_besides(masked, more, np.array([2, 1])).to_pylist()
    assert [(row["user_idx"], row["k"], row["history"]) for row in table] == [
        (0, 1, 2), (0, 2, 2), (1, 1, 1), (1, 2, 1)
    ]  # fmt: skip
    assert [row["recall"] for row in table] == [0, 1, None, None]
    assert [row["recall_unmasked"] for row in table] == [0, 0.5, 1, 1]
    assert UNION not in table[0]
    for metric in ("recall", "recall_unmasked", HITS):  # the leaderboard's are their means
        for k in (1, 2):
            known = [row[metric] for row in table if row["k"] == k and row[metric] is not None]
            values = {(v.metric, v.k): v.value for v in [*masked.values, *more.values]}
            assert values[metric, k] == pytest.approx(np.mean(known))


def test_a_trained_model_has_the_values_of_torch_rechub(settings: Settings) -> None:
    """Recall and NDCG, nothing masked. Its HR is hits over targets, which is another figure."""
    metric = pytest.importorskip("torch_rechub.basic.metric")
    made, name, ks = sequence_samples.split("by_user"), "ComiRec-SA", (5, 20)
    sets = [f"{name}.{text}" for text in ("dim=8", "batch=64", "epoch_size=8", "length=8")]
    asked = TrainRequest(resolve(name, sets), None, 3, "paper", 12, "cpu")
    commit = run("toy", Commit("split", "ab" * 32, "splits", 0), asked, settings, data=lambda: made)
    model = sequences.bound(model_folder.load(Path(commit.summary["folder"])).model, made, "test")
    ours = found(model, made, ks)
    assert made.sequences is not None
    targets = made.sequences.targets("test")
    users = np.flatnonzero(targets.degrees > 0)
    lists = np.argsort(-model.scores(users), axis=1)[:, : max(ks)]
    truth = {user: targets.row(user).tolist() for user in users.tolist()}
    theirs = metric.topk_metrics(truth, dict(zip(truth, lists.tolist(), strict=True)), ks)
    for key, metric_name in (("Recall", "recall_unmasked"), ("NDCG", "ndcg_unmasked")):
        for text in theirs[key]:
            k, value = text.removeprefix(f"{key}@").split(": ")
            assert abs(ours[metric_name, int(k), 8] - float(value)) <= 5.1e-5
