"""Portraits by hand, distances that are distances, and what the champion makes of a dump."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrl4rec.checks import drift
from mrl4rec.checks.drift import Change, Portrait, compare, measure, portray, taste
from mrl4rec.core.settings import Settings
from mrl4rec.models.model_folder import Loaded
from mrl4rec.models.scorers import CountModel, ItemItemModel
from tests.mrl4rec.checks.drift_samples import DATASET, START, Row, World, take_in

WORLD = World()


def table(rows: list[Row]) -> pa.Table:
    names = ("user_id", "item_id", "rating", "reviewed_at")
    types = (pa.string(), pa.string(), pa.float64(), pa.timestamp("us", tz="UTC"))
    return pa.table(
        [pa.array([row[n] for row in rows], kind) for n, kind in enumerate(types)], list(names)
    )


def test_portrait_by_hand() -> None:
    """Seven rows: user a has 4, b 2, c 1; item x 3, y 2, z and w 1 each."""
    day = timedelta(days=1)
    users, items = "aaaabbc", "xyzwxyx"
    ratings = [5.0, 5.0, 1.0, None, 5.0, 1.0, 5.0]
    times = [START + n * day for n in range(6)]
    rows = [*zip(users, items, ratings, [*times, None], strict=True)]
    found = portray(table(rows), (pa.array(["b"]), pa.array(["x", "y"])))
    assert (found.rows, found.users, found.items) == (7, 3, 4)
    assert found.new_users == pytest.approx(5 / 7)  # all rows but those of b
    assert found.new_items == pytest.approx(2 / 7)
    assert (found.top_user_id, found.top_user) == ("a", pytest.approx(4 / 7))
    assert (found.top_item_id, found.top_item) == ("x", pytest.approx(3 / 7))
    assert found.ratings == {"1": 2 / 7, "5": 4 / 7, "none": 1 / 7}
    assert found.user_rows == pytest.approx((1 / 7, 2 / 7, 4 / 7))  # bins 1, 2–3, 4–7
    assert found.item_rows == pytest.approx((2 / 7, 5 / 7))
    assert (found.first, found.last) == ("2014-01-01T00:00:00+00:00", "2014-01-06T00:00:00+00:00")
    # Of days 0 … 5 the middle half is 2.5 days long and holds 3 of the 6 rows.
    assert found.pace == pytest.approx(3 / 2.5)
    assert portray(table(rows)).new_users == 1.0  # nothing was there before
    assert portray(table([])) == Portrait()


def test_change_by_hand() -> None:
    before = Portrait(rows=10, new_users=0.3, top_item=0.1, ratings={"1": 0.5, "5": 0.5},
                      user_rows=(0.5, 0.5), item_rows=(1.0,), pace=10.0)  # fmt: skip
    dump = Portrait(rows=10, new_users=0.4, top_item=0.6, ratings={"1": 0.9, "none": 0.1},
                    user_rows=(0.5, 0.25, 0.25), item_rows=(1.0,), pace=5.0)  # fmt: skip
    found = compare(dump, before)
    assert found.ratings == pytest.approx(0.5)  # all of the fives would have to change
    assert found.user_rows == pytest.approx(0.25)
    assert found.item_rows == 0
    assert found.new_users == pytest.approx(0.1)
    assert found.top_item == pytest.approx(0.5)
    assert found.pace == pytest.approx(0.5)
    assert compare(dump, Portrait()) == Change()
    assert compare(dataclasses.replace(dump, pace=None), before).pace == 1.0


ROWS = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.sampled_from("vwxyz"),
        st.none() | st.sampled_from([1.0, 4.5]),
        st.none() | st.integers(0, 40).map(lambda n: START + timedelta(days=n)),
    ),
    min_size=1,
    max_size=40,
)


@given(ROWS, ROWS)
def test_what_holds_for_any_two_dumps(one: list[Row], other: list[Row]) -> None:
    first, second = portray(table(one)), portray(table(other))
    for portrait, rows in ((first, one), (second, other)):
        for shares in (portrait.ratings.values(), portrait.user_rows, portrait.item_rows):
            assert sum(shares) == pytest.approx(1)
        assert portrait.rows == len(rows)
        assert portrait == portray(table(rows[::-1]))
    there, back = compare(first, second), compare(second, first)
    for name in ("ratings", "user_rows", "item_rows"):
        assert getattr(there, name) == pytest.approx(getattr(back, name))
        assert 0 <= getattr(there, name) <= 1 + 1e-12
    assert compare(first, first) == Change()
    assert there.pace * back.pace == pytest.approx(1)


@pytest.fixture(scope="module")
def champion() -> Loaded:
    return WORLD.champion(WORLD.rows(0, 60))


def test_champion_tells_a_week_from_shuffled_ids(champion: Loaded) -> None:
    week = WORLD.rows(60, 7)
    real = taste(table(week), champion)
    assert real is not None
    assert real.auc > 0.75  # 9 of 10 rows are in the own group, the others as popular are in any
    order = np.random.default_rng(0).permutation(len(week))
    shuffled = [(week[n][0], *row[1:]) for n, row in zip(order, week, strict=True)]
    poison = taste(table(shuffled), champion)
    assert poison is not None
    assert abs(poison.auc - 0.5) < 3 * poison.error
    assert poison.upper < 0.6 < real.auc


def test_champion_says_nothing_where_it_knows_nothing(champion: Loaded) -> None:
    known = WORLD.rows(0, 60)
    assert taste(table(known), champion) is None  # all of it was trained on
    strangers = [("stranger", *row[1:]) for row in WORLD.rows(60, 1)]
    assert taste(table(strangers), champion) is None
    model = champion.model
    counts = CountModel(np.arange(model.n_items), model.n_users)
    assert taste(table(WORLD.rows(60, 7)), champion._replace(model=counts)) is None
    n_items = champion.model.n_items
    last = ItemItemModel(np.eye(n_items, dtype=np.float32), champion.seen, last=1)
    assert taste(table(WORLD.rows(60, 7)), champion._replace(model=last)) is None


def test_taste_is_the_same_in_any_order_of_rows(champion: Loaded) -> None:
    week = WORLD.rows(60, 7)
    assert taste(table(week), champion) == taste(table(week[::-1]), champion)


def test_a_dump_is_held_against_as_many_rows_before_it(settings: Settings) -> None:
    history, week = WORLD.rows(0, 60), WORLD.rows(60, 7)
    base = take_in(settings, history, "a" * 64)
    again = week[:50]  # a file that holds 50 rows twice has them once in the table
    ingest = take_in(settings, week, "b" * 64, quarantined=3, duplicate=len(again))
    found = measure(settings, DATASET, ingest, base)
    assert found.judged
    assert (found.dump.rows, found.before.rows) == (len(week), len(week))
    assert found.before == portray(table(history[-len(week) :]), _ids(history[: -len(week)]))
    assert found.dump == portray(table(week), _ids(history))
    assert max(found.change.ratings, found.change.user_rows, found.change.item_rows) < 0.1
    assert found.change.pace == pytest.approx(1, abs=0.05)
    drift.record(settings, DATASET, found)
    drift.record(settings, DATASET, found)
    (row,) = drift.rows(settings, DATASET)
    assert row["rows_read"] == len(week) + 3 + 50
    assert row["quarantined_share"] == pytest.approx(3 / row["rows_read"])
    assert row["change"] == dataclasses.asdict(found.change)
    assert row["paths"] == ["b" * 64 + ".csv"]


def test_rows_that_only_replace_older_ones_are_not_new(settings: Settings) -> None:
    """Of two rows with one key the smaller stays: it may come from a dump that brings nothing."""
    history = WORLD.rows(0, 10)
    base = take_in(settings, history, "b" * 64)
    whole = measure(settings, DATASET, take_in(settings, history, "a" * 64), base)
    assert whole.dump == Portrait()
    assert not whole.judged


def test_a_first_load_is_portrayed_and_not_judged(settings: Settings) -> None:
    first = measure(settings, DATASET, take_in(settings, WORLD.rows(0, 5), "a" * 64), None)
    assert first.dump.rows == 5 * WORLD.a_day
    assert (first.judged, first.change, first.before) == (False, Change(), Portrait())


def test_a_history_without_times_is_taken_whole(settings: Settings) -> None:
    history = [(*row[:3], None) for row in WORLD.rows(0, 5)]
    base = take_in(settings, history, "a" * 64)
    found = measure(settings, DATASET, take_in(settings, WORLD.rows(5, 3), "b" * 64), base)
    assert found.before.rows == len(history)
    assert found.change.pace == 1.0


def _ids(rows: list[Row]) -> tuple[pa.Array, pa.Array]:
    return pa.array(sorted({row[0] for row in rows})), pa.array(sorted({row[1] for row in rows}))
