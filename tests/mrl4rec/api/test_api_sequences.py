"""Sequences from a notebook: split as in the pipeline, fitted, judged, and asked by a history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mrl4rec as mr
from mrl4rec.core.errors import UsageError
from mrl4rec.data.interactions import Interactions
from mrl4rec.evaluation import ranking
from mrl4rec.evaluation.sequences import bound
from mrl4rec.models.sequential.model import SequenceModel
from tests.mrl4rec.models.sequential.sequence_samples import walks

SMALL = {"dim": 8, "epochs": 2, "epoch_size": 10, "length": 8, "batch": 32}
Parts = tuple[Interactions, Interactions]


def dataset() -> mr.Dataset:
    """The walks, a step a second; user 0 takes item 1 twice."""
    rows = walks(60)
    rows[0] = [1, 2, 1, 3, 4]
    events = [
        (f"u{user}", f"i{item}", 1_400_000_000 + 100 * step)
        for user, row in enumerate(rows)
        for step, item in enumerate(row)
    ]
    return mr.Dataset.from_frame(pd.DataFrame(events, columns=["user_id", "item_id", "timestamp"]))


@pytest.fixture(scope="module")
def parts() -> Parts:
    return dataset().split("last_out", sequences=True)


@pytest.fixture(scope="module")
def fitted(parts: Parts) -> mr.Model:
    return mr.MTMI(interests=2, **SMALL).fit(parts[0])


def named(data: Interactions, row: int) -> list[str]:
    assert data.sequences is not None
    return [str(data.item_ids[item]) for item in data.sequences.events.row(row)]


def test_the_last_item_is_test_and_unknown_to_training(parts: Parts) -> None:
    train, test = parts
    first = int(np.flatnonzero(train.user_ids == "u0")[0])
    assert named(train, first) == ["i1", "i2", "i1", "i3"]
    assert named(test, first) == ["i1", "i2", "i1", "i3", "i4"]
    assert train.sequences is not None
    assert not train.sequences.in_folds("test").any()
    assert train.in_folds("train", "valid").all()
    assert test.in_folds("test").all()


def test_by_user_trains_on_some_and_tests_on_others() -> None:
    train, test = dataset().split("by_user")
    trained = set(train.pairs("train", "valid", "valid_history")[0].tolist())
    judged = set(test.pairs("test")[0].tolist())
    assert judged
    assert not trained & judged
    for method in ("LastItem", "EASE"):
        values = mr.evaluate(mr.Model(method).fit(train), test, k=(10,))
        assert values["value"].max() > 0
    with pytest.raises(UsageError, match="BPR learns a vector of each user"):
        mr.evaluate(mr.BPR(dim=8, epochs=1).fit(train), test)


def test_metrics_are_of_the_histories_before_the_targets(fitted: mr.Model, parts: Parts) -> None:
    _, test = parts
    assert test.sequences is not None
    found = mr.evaluate(fitted, test, k=(10,), widths=(None,))
    seen = test.sequences.before("test").csr()
    model = bound(fitted.loaded.model, test, "test")
    wanted = ranking.evaluate(model, seen, test.csr("test"), ks=(10,), widths=(None,))
    assert set(found["value"]) <= {value.value for value in wanted.values}


def test_a_history_has_the_list_of_a_user_who_had_the_same(
    fitted: mr.Model, parts: Parts, tmp_path: Path
) -> None:
    assert isinstance(fitted.loaded.model, SequenceModel)
    users = ["u3", "u0"]
    rows = [int(np.flatnonzero(parts[0].user_ids == user)[0]) for user in users]
    had = [named(parts[0], row) for row in rows]
    again = mr.load(fitted.save(tmp_path / "m"))
    for model in (fitted, again):
        by_user = model.recommend(users, n=7)
        by_history = model.recommend(histories=had, n=7)
        assert by_history.columns.tolist() == ["history", "rank", "item", "score"]
        assert by_history["history"].tolist() == [0] * 7 + [1] * 7
        for column in ("rank", "item", "score"):
            assert by_history[column].tolist() == by_user[column].tolist()
    assert len(model.recommend(histories=had, n=3, width=4)) == 6
    assert len(fitted.similar_items("i1", n=3)) == 3


def test_unknown_items_are_left_out_and_said(fitted: mr.Model) -> None:
    known = fitted.recommend(histories=[["i1", "i2"], []], n=4)
    with pytest.warns(UserWarning, match="2 items are unknown .* histories 0, 1"):
        found = fitted.recommend(histories=[["i1", "new", "i2"], ["new"]], n=4)
    pd.testing.assert_frame_equal(found, known)
    popular = np.bincount(fitted.loaded.seen.indices)
    assert known["score"][4] == popular.max()


def test_a_model_of_pairs_reads_no_history(parts: Parts) -> None:
    with pytest.raises(UsageError, match="reads no histories"):
        mr.Model("Pop").fit(parts[0]).recommend(histories=[["i1"]])


def test_sequences_need_times() -> None:
    rows = pd.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["x", "y", "x"]})
    with pytest.raises(UsageError, match="time"):
        mr.Dataset.from_frame(rows).split("by_user")


def test_rows_without_times_stand_in_their_order() -> None:
    rows = [["u1", "b"], ["u2", "a"], ["u1", "a"], ["u2", "b"], ["u1", "b"], ["u1", "c"]]
    rows += [["u3", item] for item in "acb"]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id"])
    with pytest.raises(UsageError) as refused:
        mr.Dataset.from_frame(frame).split("last_out", sequences=True)
    assert "ordered" in str(refused.value.todo)
    data = mr.Dataset.from_frame(frame, ordered=True)
    _, test = data.split("last_out", sequences=True)
    assert [named(test, row) for row in (0, 1, 2)] == [["b", "a", "b", "c"], ["a", "b"], [*"acb"]]
    with pytest.raises(UsageError):
        data.split("global_time", sequences=True)


def test_a_file_of_lists_is_in_order(tmp_path: Path) -> None:
    lists = [[3, 1, 2, 1], [1, 2, 3], [2, 3, 1]]
    path = tmp_path / "sessions.jsonl"
    path.write_text("\n".join(str(row) for row in lists) + "\n")
    _, test = mr.Dataset.from_frame(path, format="session-lists").split("last_out", sequences=True)
    found = sorted(named(test, row) for row in range(3))
    assert found == sorted([str(item) for item in row] for row in lists)


@pytest.mark.parametrize("history", ["i1", None, ["i1", None], [["i1"]], [1.5], {"i1"}, 7])
def test_a_history_that_is_no_list_of_ids_is_refused(fitted: mr.Model, history: Any) -> None:
    with pytest.raises(UsageError, match=r"histories\[1\]"):
        fitted.recommend(histories=[["i1"], history])


def test_no_list_is_longer_than_the_items(fitted: mr.Model) -> None:
    found = fitted.recommend(histories=[["i1"], []], n=10**12)
    assert len(found) < 2 * fitted.loaded.model.n_items
    for name, value in (("n", 0), ("n", 1.5), ("n", None), ("width", "4"), ("width", 4.0)):
        with pytest.raises(UsageError) as caught:
            fitted.recommend(histories=[["i1"]], **{name: value})
        assert caught.value.where == name
