"""Weekly dumps: what is late, repeated and poisoned, and that tastes move as they are told to."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.data.synthetic.deliveries import LATEST, Delivery, deliveries, land
from mrl4rec.data.synthetic.weeks import WEEK, Rows, Week, Weekly, play

SMALL = Weekly(history=4, reviews=300, users=120, items=80, new_users=6, new_items=3,
               branching=(2, 2), late=0.1, repeated=0.05, poisoned=3, seed=5)  # fmt: skip

Key = tuple[int, int, int]
"""User, item, time."""

shares = st.floats(0, 1)
worlds = st.builds(
    replace,
    st.sampled_from([replace(SMALL, branching=(3,), reach=(0.7, 0.3)), SMALL]),
    history=st.integers(1, 4),
    reviews=st.integers(20, 60),
    users=st.integers(40, 90),
    items=st.integers(40, 90),
    new_users=st.integers(0, 9),
    new_items=st.integers(0, 9),
    moving_users=shares,
    moving_items=shares,
    late=shares,
    repeated=shares,
    poisoned=st.none() | st.integers(1, 4),
    poison=st.sampled_from(["shuffled", "flood"]),
    seed=st.integers(0, 2**40),
)


def weeks(spec: Weekly, n: int) -> list[Week]:
    return list(itertools.islice(play(spec), n))


def dumps(spec: Weekly, last: int) -> list[Delivery]:
    return list(itertools.islice(deliveries(spec), last + 1))


def keys(rows: Rows) -> list[Key]:
    return list(zip(rows.user_N.tolist(), rows.item_N.tolist(), rows.time_N.tolist(), strict=True))


@settings(max_examples=25, deadline=None)
@given(worlds)
def test_a_week_has_its_own_rows_and_no_pair_comes_twice(spec: Weekly) -> None:
    pairs: set[tuple[int, int]] = set()
    for week in weeks(spec, spec.history + 2):
        rows = week.rows
        first = int(spec.begins(week.number).timestamp())
        times = rows.time_N.tolist()
        assert len(rows) == spec.reviews
        assert times == sorted(set(times))
        assert first <= times[0] < times[-1] < first + WEEK
        assert rows.user_N.max() < spec.users + week.number * spec.new_users
        assert rows.item_N.max() < spec.items + week.number * spec.new_items
        here = {(user, item) for user, item, _ in keys(rows)}
        assert len(here) == spec.reviews
        assert not here & pairs
        pairs |= here


@settings(max_examples=25, deadline=None)
@given(worlds)
def test_every_row_lands_once_in_its_dump_or_late(spec: Weekly) -> None:
    last = 4
    spec = replace(spec, poisoned=None)
    due = {
        key: spec.dump_of(week.number)
        for week in weeks(spec, spec.history + last)
        for key in keys(week.rows)
    }
    landed: dict[Key, int] = {}
    before: list[Key] = []
    for dump in dumps(spec, last):
        all_ = keys(dump.rows)
        own, twice = all_[: len(all_) - dump.repeated], all_[len(all_) - dump.repeated :]
        assert dump.repeated == min(round(spec.repeated * spec.reviews), len(own) + len(before))
        assert len(set(twice)) == len(twice)
        assert set(twice) <= {*own, *before}
        delays = [dump.number - due[key] for key in own]
        assert all(0 <= delay <= LATEST for delay in delays)
        assert dump.late == sum(delay > 0 for delay in delays)
        assert not set(own) & landed.keys()
        landed |= dict.fromkeys(own, dump.number)
        before = own
    missing = due.keys() - landed.keys()
    assert all(due[key] + LATEST > last for key in missing)  # they are yet to land
    if spec.late == 0:
        assert not missing


@settings(max_examples=25, deadline=None)
@given(worlds)
def test_equal_specs_make_equal_dumps_and_more_weeks_change_none(spec: Weekly) -> None:
    few, many = dumps(spec, 2), dumps(spec, 4)
    for one, other in zip(few, many, strict=False):
        assert one.as_dict() == other.as_dict()
        assert keys(one.rows) == keys(other.rows)
    other_seed = dumps(replace(spec, seed=spec.seed + 1), 0)
    assert keys(other_seed[0].rows) != keys(few[0].rows)


def test_shares_are_as_asked_for() -> None:
    spec = replace(SMALL, reviews=3000, users=1500, items=900, late=0.1, poisoned=None)
    late = [dump.late for dump in dumps(spec, 6)]
    assert late[0] == 0
    # Once three weeks are behind it, a dump holds a tenth of a week: 300 ± 4·√(3000·.1·.9).
    assert all(abs(n - 300) < 66 for n in late[3:])
    assert {dump.repeated for dump in dumps(spec, 6)} == {150}


def test_tastes_move_and_people_come() -> None:
    spec = replace(SMALL, users=3000, items=2000, moving_users=0.03, moving_items=0.01)
    seen = weeks(spec, 8)
    for old, new in itertools.pairwise(seen):
        for side, moved in (("user_leaf_U", new.moved_users), ("item_leaf_I", new.moved_items)):
            was, now = getattr(old, side), getattr(new, side)[: len(getattr(old, side))]
            assert moved == int((was != now).sum())
        assert len(new.user_leaf_U) == len(old.user_leaf_U) + 6
        assert len(new.item_leaf_I) == len(old.item_leaf_I) + 3
    moved = [week.moved_users / 3000 for week in seen[1:]]
    assert np.mean(moved) == pytest.approx(0.03, abs=0.005)
    assert np.mean([week.moved_items / 2000 for week in seen[1:]]) == pytest.approx(0.01, abs=0.004)
    away = [dump.away for dump in dumps(spec, 4)]
    assert away[0] == 0
    assert away == sorted(away)
    # Four weeks of 3 %, less those who came home: a third of a move goes to any one other leaf.
    assert away[4] == pytest.approx(1 - 0.97**4, abs=0.015)


def test_the_tree_is_what_people_choose_by() -> None:
    spec = replace(SMALL, reviews=3000, users=1500, items=900, reach=(0.7, 0.2, 0.1))
    week = weeks(spec, 3)[2]
    user, item = (week.user_leaf_U[week.rows.user_N], week.item_leaf_I[week.rows.item_N])
    # .7 in the own leaf, by chance half of the group around it and a quarter of anywhere.
    assert np.mean(user == item) == pytest.approx(0.7 + 0.2 / 2 + 0.1 / 4, abs=0.03)
    near, far = week.rows.rating_N[user == item], week.rows.rating_N[user // 2 != item // 2]
    assert near.mean() > far.mean() + 0.5


def test_shuffled_items_are_the_same_items_of_other_rows() -> None:
    good, bad = (dumps(spec, 4) for spec in (replace(SMALL, poisoned=None), SMALL))
    assert [dump.poison for dump in bad] == [None, None, None, "shuffled", None]
    clean, spoilt = good[3].rows, bad[3].rows
    n = len(clean) - good[3].repeated
    assert np.array_equal(spoilt.user_N[:n], clean.user_N[:n])
    assert np.array_equal(spoilt.time_N[:n], clean.time_N[:n])
    assert Counter(spoilt.item_N[:n].tolist()) == Counter(clean.item_N[:n].tolist())
    assert bad[3].spoilt == int((spoilt.item_N[:n] != clean.item_N[:n]).sum()) > 0.9 * n
    assert good[3].spoilt == 0
    # Nothing of it comes again: what the next dump repeats is its own.
    own = keys(bad[4].rows)[: len(bad[4].rows) - bad[4].repeated]
    assert set(keys(bad[4].rows)) == set(own)
    assert own == keys(good[4].rows)[: len(own)]
    assert all(keys(a.rows) == keys(b.rows) for a, b in zip(good[:3], bad[:3], strict=True))


def test_a_flood_is_one_item() -> None:
    spec = replace(SMALL, poison="flood", flood=0.4, reviews=1000, users=400, items=200)
    dump = dumps(spec, 3)[3]
    (item, most), (_, second) = Counter(dump.rows.item_N.tolist()).most_common(2)
    assert most / len(dump.rows) == pytest.approx(0.4, abs=0.06)
    assert second < 0.1 * len(dump.rows)
    assert item < dump.items


# ------------------------------------------------------------------------------------------ files


def lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as text:
        return [json.loads(line) for line in text]


def test_dumps_land_in_files_with_the_truth_beside_them(tmp_path: Path) -> None:
    found = land(SMALL, tmp_path / "dumps", 4)
    names = sorted(path.name for path in found.folder.iterdir())
    assert names == [f"week-0{n}.json.gz" for n in range(5)]
    truth = json.loads(found.truth.read_text())
    assert truth["spec"]["poisoned"] == 3
    assert truth["dumps"] == [dump.as_dict() for dump in dumps(SMALL, 4)] == list(found.dumps)
    for number, told in enumerate(truth["dumps"]):
        rows = lines(found.file(number))
        assert len(rows) == told["rows"]
        begins = SMALL.begins(0) if number == 0 else SMALL.ends(number - 1)
        times = [datetime.fromtimestamp(row["unixReviewTime"], UTC) for row in rows]
        assert max(times) < SMALL.ends(number)
        earlier = sum(time < begins for time in times[: len(rows) - told["repeated"]])
        assert earlier == told["late"]
        repeats = Counter((r["reviewerID"], r["asin"], r["unixReviewTime"]) for r in rows)
        assert sum(repeats.values()) - len(repeats) <= told["repeated"]
    # 4 weeks of 300 less what is late in the last of them, and 15 repeated.
    assert 1215 - 3 * 60 < truth["dumps"][0]["rows"] <= 1215


def test_ids_stay_whoever_comes_later(tmp_path: Path) -> None:
    found = land(replace(SMALL, poisoned=None), tmp_path / "dumps", 2)
    users = [{row["reviewerID"] for row in lines(found.file(n))} for n in range(3)]
    assert len(users[0] & users[2]) > 60
    assert len(users[0] | users[1] | users[2]) <= 120 + 5 * 6


def test_golden_bytes(tmp_path: Path) -> None:
    """A change of the generator changes every simulation: it must be seen."""
    found = land(SMALL, tmp_path / "dumps", 3)
    text = b"".join(gzip.decompress(found.file(n).read_bytes()) for n in range(4))
    assert hashlib.sha256(text).hexdigest()[:16] == "a064a98c4c36179b"


def test_what_lies_there_stays_and_the_rest_comes(tmp_path: Path) -> None:
    few = land(SMALL, tmp_path / "dumps", 2)
    was = {n: few.file(n).stat().st_mtime_ns for n in range(3)}
    bytes_ = few.file(1).read_bytes()
    few.file(1).unlink()
    more = land(SMALL, tmp_path / "dumps", 4)
    assert few.file(1).read_bytes() == bytes_
    assert {n: more.file(n).stat().st_mtime_ns for n in (0, 2)} == {n: was[n] for n in (0, 2)}
    again = land(SMALL, tmp_path / "dumps", 1)
    assert again == more  # the truth of all five is kept
    twin = land(SMALL, tmp_path / "twin", 4)
    assert [twin.file(n).read_bytes() for n in range(5)] == [
        more.file(n).read_bytes() for n in range(5)
    ]


def test_another_spec_is_refused_where_dumps_lie(tmp_path: Path) -> None:
    land(SMALL, tmp_path / "dumps", 1)
    with pytest.raises(UsageError, match="poisoned 3, not 2"):
        land(replace(SMALL, poisoned=2), tmp_path / "dumps", 1)
    (tmp_path / "dumps.truth.json").write_text("{")
    with pytest.raises(Mrl4recError, match="cannot be read"):
        land(SMALL, tmp_path / "dumps", 1)


def test_a_world_can_be_full() -> None:
    spec = replace(SMALL, users=5, items=5, new_users=0, new_items=0, reviews=20, history=1)
    with pytest.raises(Mrl4recError, match="find no pair that is new"):
        weeks(spec, 3)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"history": 0}, "≥ 1"),
        ({"reach": (0.5, 0.5)}, "needs 3 shares"),
        ({"reach": (0.5, 0.3, 0.3)}, "sum to 1"),
        ({"late": 1.5}, "late is a share"),
        ({"branching": (1, 1)}, "at least 2 leaves"),
        ({"items": 3}, "at least as many"),
        ({"poison": "salt"}, "shuffled, flood"),
        ({"poisoned": 0}, "the first dump is the history"),
        ({"start": "soon"}, "a day like"),
        ({"reviews": 1_000_000}, "seconds for"),
        ({"busiest": 0.5}, "busiest"),
        ({"new_users": -1}, "new users"),
    ],
)
def test_specs_that_do_not_fit(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        replace(SMALL, **values)
