"""Recommendations of everybody: lists by hand, one commit, never computed twice."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from mrl4rec.core import stage
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.evaluation.ranking import recommend
from mrl4rec.evaluation.ranking.topk import tie_order
from mrl4rec.models import resolve
from mrl4rec.models.scorers import CountModel
from mrl4rec.serving.registry import ledger, lists, personal, recommendations
from mrl4rec.serving.registry.ledger import Entry
from mrl4rec.serving.registry.lists import Shape
from mrl4rec.tables import RECOMMENDATIONS
from tests.mrl4rec.models import model_samples
from tests.mrl4rec.models.sequential.sequence_samples import untrained
from tests.mrl4rec.serving import registry_samples as world

DATASET = world.DATASET
THREE = Shape(3, (1,))


def made(settings: Settings, key: str, shape: Shape = THREE) -> stage.Commit:
    commit = recommendations.run(settings, DATASET, key, shape)
    assert commit is not None
    return commit


def test_the_lists_are_those_made_by_hand(settings: Settings) -> None:
    core, key = world.core(settings), world.model(settings)
    commit = made(settings, key)
    assert world.lists(settings) == world.FULL
    assert world.lists(settings, 1) == world.NARROW
    rows = world.table(settings).to_pyarrow_table().to_pylist()
    assert {row["user_id"] for row in rows if row["by"] == "popularity"} == world.BY_POPULARITY
    assert {row["model_version"] for row in rows} == {key}
    assert commit.summary == {
        "model": key, "core": core.key, "n": 3, "widths": [1], "dim": 2, "asked_widths": [1],
        "users": 8, "by_popularity": 3, "popular": [["i2", 5], ["i0", 4], ["i3", 3]],
    }  # fmt: skip


def test_the_table_is_one_commit_sorted_by_user(settings: Settings) -> None:
    world.core(settings)
    commit = made(settings, world.model(settings))
    table = world.table(settings)
    assert table.version() == commit.version == 1  # 0 made the table
    assert table.schema().to_arrow() == RECOMMENDATIONS.schema
    ids = [pq.read_table(path)["user_id"].to_pylist() for path in table.file_uris()]
    assert all(part == sorted(part) for part in ids)


def test_done_once_it_is_found_done(settings: Settings) -> None:
    world.core(settings)
    key = world.model(settings)
    first = made(settings, key)
    again = made(settings, key)
    assert (again.version, again.key, again.found) == (first.version, first.key, True)
    assert world.table(settings).version() == first.version
    world.table(settings).optimize.compact()  # other files, the same rows: nothing to do
    assert made(settings, key).found


def test_other_people_and_another_shape_are_another_version(settings: Settings) -> None:
    world.core(settings)
    key = world.model(settings)
    first = made(settings, key)
    shorter = made(settings, key, Shape(2))
    assert shorter.key != first.key
    assert world.lists(settings) == {user: rows[:2] for user, rows in world.FULL.items()}
    assert world.lists(settings, 1) == {}
    more = [*world.USERS, "z"]
    world.core(settings, users=more, pairs=[*world.PAIRS, (8, 2), (3, 1)], key="later")
    later = made(settings, key)
    assert later.key not in (first.key, shorter.key)
    found = world.lists(settings)
    assert found == world.FULL | {
        "z": [("i0", 4), ("i3", 3), ("i1", 2)], "c": [("i4", 0), ("i5", None)],
    }  # fmt: skip


def test_a_core_of_other_ids_is_not_taken_for_the_models(settings: Settings) -> None:
    core, key = world.core(settings), world.model(settings)
    other = list(reversed(world.USERS))
    world.core(settings, users=other, key="another k")
    commit = made(settings, key)
    assert commit.summary["core"] == core.key
    assert world.lists(settings) == world.FULL
    ids = recommendations.load(world.folder(settings, key)).ids
    strangers = ids._replace(user_ids=np.array([f"x{n}" for n in range(6)], dtype=object))
    assert recommendations.people(settings, DATASET, strangers) is None


def test_back_to_a_model_whose_lists_are_there(settings: Settings) -> None:
    world.core(settings)
    first, second = world.model(settings), world.model(settings, "b", world.factors(-1))
    one, two = made(settings, first), made(settings, second)
    turned = world.lists(settings)
    assert turned["d"] == [("i1", -5), ("i3", -7), ("i5", None)]
    files = set(DeltaTable(world.table(settings).table_uri, one.version).file_uris())
    back = made(settings, first)
    assert back.found
    assert back.version == two.version + 1
    assert set(world.table(settings).file_uris()) == files  # nothing was computed again
    assert world.lists(settings) == world.FULL
    assert made(settings, first).version == back.version
    for path in files:  # gone, as after a vacuum: then they are computed
        Path(path).unlink()
    assert not made(settings, first).found
    assert world.lists(settings) == world.FULL


def test_what_somebody_wrote_by_hand_is_replaced(settings: Settings) -> None:
    world.core(settings)
    key = world.model(settings)
    made(settings, key)
    write_deltalake(world.table(settings), RECOMMENDATIONS.schema.empty_table(), mode="overwrite")
    assert recommendations.state(settings, DATASET) is None
    made(settings, key)
    assert world.lists(settings) == world.FULL
    write_deltalake(
        world.table(settings), pa.table({"a": [1]}), mode="overwrite", schema_mode="overwrite"
    )
    assert made(settings, key, Shape(2)).summary["n"] == 2
    assert world.table(settings).schema().to_arrow() == RECOMMENDATIONS.schema


def test_emptied_it_has_no_rows_and_keeps_its_shape(settings: Settings) -> None:
    world.core(settings)
    key = world.model(settings)
    made(settings, key)
    empty = recommendations.clear(settings, DATASET, THREE)
    assert world.table(settings).to_pyarrow_table().num_rows == 0
    assert recommendations.clear(settings, DATASET, THREE).version == empty.version
    now = recommendations.state(settings, DATASET)
    assert recommendations.shape_of(settings, now) == THREE
    assert made(settings, key).version == empty.version + 1
    assert world.lists(settings, 1) == world.NARROW


def test_the_shape_is_as_asked_else_as_set_else_as_it_is(settings: Settings) -> None:
    assert recommendations.shape_of(settings, None) == Shape(20)
    world.core(settings)
    now = made(settings, world.model(settings), Shape(3, (1, 7)))
    assert now.summary["widths"] == [1]  # the model has two dimensions
    assert recommendations.shape_of(settings, now) == Shape(3, (1, 7))  # the next may have more
    assert recommendations.shape_of(settings, now, n=5, widths=[]) == Shape(5)
    told = Settings(warehouse=settings.warehouse, recommend_n=9, recommend_widths="2,4")
    assert recommendations.shape_of(told, now) == Shape(9, (2, 4))
    assert recommendations.shape_of(told, now, n=1, widths=[3]) == Shape(1, (3,))


@pytest.mark.parametrize("wrong", [Shape, lambda n: Shape(3, (n,))])
def test_an_impossible_shape_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError):
        wrong(0)


@pytest.mark.parametrize("kind", range(5))
def test_every_kind_of_model_against_whole_rows_of_scores(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    rng = np.random.default_rng(kind)
    n_users, n_items, more_users, more_items = 40, 30, 5, 4
    own = model_samples.sparse(rng, n_users, n_items, 200)
    counts = np.bincount(own.indices, minlength=n_items)
    model = model_samples.kinds(rng, n_users, n_items, own)[kind]
    if isinstance(model, CountModel):
        model = CountModel(counts, n_users)  # as Pop is: of its own training pairs
    users, items = ([f"{side}{n}" for n in range(size)] for side, size in (
        ("u", n_users + more_users), ("i", n_items + more_items)))  # fmt: skip
    folder = world.folder(settings, "a" * 64)
    card = model_samples.card(stage_key="a" * 64, dataset=DATASET)
    ids = (np.array(users[:n_users]), np.array(items[:n_items]))
    recommendations.model_folder.save(folder, model, card, ids, own)
    keys = np.unique(rng.integers(0, len(users) * len(items), 150))
    pairs = [(int(key // len(items)), int(key % len(items))) for key in keys]
    world.core(settings, users, items, pairs)
    monkeypatch.setattr(lists, "BATCH_ROWS", 50)  # several batches, the last one short
    made(settings, "a" * 64, Shape(40))  # more than there are: lists go on to the last item

    scores = model.scores(np.arange(n_users))
    _, place = tie_order(len(items))
    found = world.lists(settings)
    for user, name in enumerate(users):
        known = user < n_users and len(own.row(user)) > 0
        had = {i for u, i in pairs if u == user} | (set(own.row(user)) if known else set())
        mine = scores[user] if known else counts
        value = [float(mine[i]) if i < n_items and counts[i] else None for i in range(len(items))]
        order = sorted(
            (i for i in range(len(items)) if i not in had),
            key=lambda i: (value[i] is None, -(value[i] or 0), place[i]),
        )
        assert found.get(name, []) == [(items[i], value[i]) for i in order]


@pytest.mark.fault("F12")
def test_a_reader_during_overwrites_sees_one_version(settings: Settings) -> None:
    world.core(settings)
    models = [world.model(settings), world.model(settings, "b", world.factors(-1))]
    made(settings, models[0])
    seen: list[set[str]] = []
    rows: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            found = world.table(settings).to_pyarrow_table()
            seen.append(set(found["model_version"].to_pylist()))
            rows.add(found.num_rows)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(12):
        made(settings, models[turn % 2], Shape(3, (1,) if turn % 3 else ()))
    stop.set()
    reader.join()
    assert all(len(versions) == 1 for versions in seen)
    assert {version for versions in seen for version in versions} == set(models)
    assert rows == {22, 44}  # of one width or of both, whole


def in_service(settings: Settings, key: str) -> None:
    entry = Entry(decision="by_hand", why="test", champion=key)
    ledger.append(settings, DATASET, entry, ledger.champion(settings, DATASET))


def listed(answer: personal.Answer) -> list[tuple[str, Any]]:
    assert [row["rank"] for row in answer.rows] == list(range(1, len(answer.rows) + 1))
    return [(row["item_id"], row["score"]) for row in answer.rows]


@pytest.mark.parametrize("source", ["table", "model"])
def test_one_users_list(settings: Settings, source: str) -> None:
    world.core(settings)
    key = world.model(settings)
    in_service(settings, key)
    if source == "table":
        made(settings, key)
    for width, by_hand in ((None, world.FULL), (1, world.NARROW), (2, world.FULL)):
        for user, rows in by_hand.items():
            answer = personal.for_user(settings, DATASET, user, 3, width)
            assert listed(answer) == rows
            assert (answer.source, answer.known, answer.width) == (source, True, width)
            assert (answer.by == "popularity") == (user in world.BY_POPULARITY)
    assert listed(personal.for_user(settings, DATASET, "d", 1)) == world.FULL["d"][:1]


def test_nobody_knows_them_so_they_get_what_most_people_took(settings: Settings) -> None:
    world.core(settings)
    key = world.model(settings)
    in_service(settings, key)
    made(settings, key)
    answer = personal.for_user(settings, DATASET, "nobody", 9)
    assert (answer.known, answer.by, answer.source) == (False, "popularity", "model")
    popular = [("i2", 5), ("i0", 4), ("i3", 3), ("i1", 2), ("i4", 1), ("i5", None)]
    assert listed(answer) == popular
    for width in (None, 1):  # no longer than the table's lists: nothing is computed
        answer = personal.for_user(settings, DATASET, "nobody", width=width)
        assert (answer.known, answer.by, answer.source) == (False, "popularity", "table")
        assert listed(answer) == popular[:3]


def test_who_came_after_the_table_was_made_is_somebody(settings: Settings) -> None:
    world.core(settings)
    key = world.model(settings)
    in_service(settings, key)
    made(settings, key)
    world.core(settings, users=[*world.USERS, "z"], pairs=[*world.PAIRS, (8, 2)], key="later")
    answer = personal.for_user(settings, DATASET, "z")
    assert (answer.known, answer.by, answer.source) == (True, "popularity", "model")
    assert listed(answer) == [("i0", 4), ("i3", 3), ("i1", 2)]


def test_a_table_of_another_model_is_not_looked_up_in(settings: Settings) -> None:
    world.core(settings)
    first, second = world.model(settings), world.model(settings, "b", world.factors(-1))
    made(settings, first)
    in_service(settings, second)  # and killed before the table followed
    answer = personal.for_user(settings, DATASET, "d", 3)
    assert (answer.source, answer.model) == ("model", second)
    assert listed(answer) == [("i1", -5), ("i3", -7), ("i5", None)]


def test_more_than_the_table_has_is_computed(settings: Settings) -> None:
    world.core(settings)
    key = world.model(settings)
    in_service(settings, key)
    made(settings, key, Shape(2))
    assert personal.for_user(settings, DATASET, "a").source == "table"
    assert len(personal.for_user(settings, DATASET, "a").rows) == 2  # as many as the table has
    longer = personal.for_user(settings, DATASET, "a", 4)
    assert longer.source == "model"
    assert listed(longer) == [*world.FULL["a"], ("i5", None)]
    assert personal.for_user(settings, DATASET, "a", 2, 1).source == "model"


def test_what_cannot_be_answered_is_said(settings: Settings) -> None:
    with pytest.raises(UsageError, match="has no champion yet"):
        personal.for_user(settings, DATASET, "a")
    world.core(settings)
    key = world.model(settings)
    in_service(settings, key)
    with pytest.raises(UsageError, match=r"(?s)width 3 is not possible.*1 … 2"):
        personal.for_user(settings, DATASET, "a", width=3)
    with pytest.raises(UsageError, match="lists of 0 items"):
        personal.for_user(settings, DATASET, "a", 0)
    world.folder(settings, key).rename(settings.warehouse / "elsewhere")
    with pytest.raises(recommendations.ModelAmiss, match=r"model\.json is missing"):
        personal.for_user(settings, DATASET, "a")


HAD = [[2, 0], [4, 2], [], [0, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3]]
"""The model's six users, in order."""


def in_order(settings: Settings, name: str, letter: str = "c") -> str:
    """A sequential model of the first users and items; its stage key."""
    method = resolve(name).changed(dim=8)
    said = {"method": method.as_dict(), "method_name": name}
    return world.model(settings, letter, untrained(name, HAD, 5), **said)


@pytest.mark.parametrize("name", ["YouTubeDNN", "ComiRec-SA"])
def test_a_sequential_model_has_lists_for_everybody(settings: Settings, name: str) -> None:
    world.core(settings)
    key = in_order(settings, name)
    in_service(settings, key)
    commit = made(settings, key, Shape(6, (4,)))
    assert (commit.summary["dim"], commit.summary["by_popularity"]) == (8, 3)
    model, loaded = untrained(name, HAD, 5), recommendations.load(world.folder(settings, key))
    known = [0, 1, 3, 4, 5]
    for width in (None, 4):
        items, scores = recommend(model, np.array(known), loaded.consumed, 6, width)
        found = world.lists(settings, width)
        for row, user in enumerate(known):
            pairs = zip(items[row].tolist(), scores[row].tolist(), strict=True)
            own = [(f"i{item}", score) for item, score in pairs]
            # user 0 has had i4 since; i5 is newer than the model
            own = [pair for pair in own if pair[0] != "i-1" and (user, pair[0]) != (0, "i4")]
            assert found[world.USERS[user]] == [*own, ("i5", None)]
            by_key = personal.for_user(settings, DATASET, world.USERS[user], 7, width, model=key)
            assert (by_key.source, listed(by_key)) == ("model", found[world.USERS[user]])
        assert found["h"][0] == world.FULL["h"][0]


def test_a_list_for_a_history(settings: Settings) -> None:
    world.core(settings)
    key = in_order(settings, "ComiRec-SA")
    in_service(settings, key)
    answer = personal.for_history(settings, DATASET, ["i2", "i0"], 3)
    assert (answer.user_id, answer.by, answer.known, answer.left_out) == (None, "model", True, 0)
    items, scores = recommend(untrained("ComiRec-SA", HAD, 5), np.array([0]), world.seen(), 3)
    assert listed(answer) == [(f"i{i}", s) for i, s in zip(items[0], scores[0], strict=True)]
    some = personal.for_history(settings, DATASET, ["i5", "i2", "x", "i0"], 3)
    assert (some.left_out, listed(some)) == (2, listed(answer))
    for items_ in (["x"], []):
        none = personal.for_history(settings, DATASET, items_, 2, width=4)
        assert (none.by, none.known, listed(none)) == ("popularity", False, [("i2", 5), ("i0", 4)])
    with pytest.raises(UsageError, match=r"(?s)width 9 is not possible.*1 … 8"):
        personal.for_history(settings, DATASET, ["i2"], width=9)
    with pytest.raises(UsageError, match="reads no histories"):
        personal.for_history(settings, DATASET, ["i2"], model=world.model(settings))


PAIR = st.tuples(st.integers(0, 5), st.integers(0, 7))


@example_settings(max_examples=60, deadline=None)
@given(st.sets(PAIR), st.lists(st.tuples(st.integers(0, 8), st.integers(0, 9))))
def test_the_union_of_what_was_had(own: set[tuple[int, int]], now: list[tuple[int, int]]) -> None:
    mine = model_samples.rows(
        *[sorted(i for u, i in own if u == user) for user in range(6)], n_items=8
    )
    users, items = np.array(now, dtype=np.int32).reshape(-1, 2).T
    found = lists.union(mine, users, items, 9, 10)
    assert found.problem() is None
    assert {(u, int(i)) for u in range(9) for i in found.row(u)} == own | set(now)
