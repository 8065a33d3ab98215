"""The planted dump: its bytes, its counts, its tree, and that the tree can be learned."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrl4rec.core.errors import UsageError
from mrl4rec.data.synthetic import dump
from mrl4rec.data.synthetic.dump import write
from mrl4rec.data.synthetic.spec import BAD_KINDS, Planted
from mrl4rec.data.synthetic.truth import Truth, read_truth
from mrl4rec.data.synthetic.world import ITEM_ID, USER_ID, external

SMALL = Planted(users=120, items=90, reviews=1500, branching=(3, 2), reach=(0.5, 0.3, 0.2),
                repeats=13, duplicates=21, bad=25, seed=5)  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return write(SMALL, tmp_path_factory.mktemp("planted") / "dump.json")


def verdict(line: str) -> tuple[str, Any]:
    """What an ingest that follows the rules to the letter would say of a line."""
    try:
        row = json.loads(line)
    except ValueError:
        return "not_json", None
    if not (row["reviewerID"] or "").strip():
        return "no_user", None
    if not (row["asin"] or "").strip():
        return "no_item", None
    time, rating = row["unixReviewTime"], row["overall"]
    if time is None:
        return "no_time", None
    if not isinstance(time, int):
        return "bad_time", None
    if time < 0:
        return "negative_time", None
    if time > 4e9:
        return ("time_unit" if time / 1000 < 2**31 and time > 1e11 else "future_time"), None
    if not isinstance(rating, float):
        return "bad_rating", None
    if not 1 <= rating <= 5:
        return "rating_out_of_range", None
    return "good", (row["reviewerID"], row["asin"], time, rating)


def read(truth: Truth) -> list[tuple[str, Any]]:
    opened = gzip.open if truth.file.suffix == ".gz" else open
    with opened(truth.file, "rt") as lines:  # type: ignore[operator]
        return [verdict(line) for line in lines]


def test_every_row_is_accounted_for(small: Truth) -> None:
    rows = read(small)
    rules = Counter(rule for rule, _ in rows)
    good = [row for _, row in rows if row]
    keys = {row[:3] for row in good}
    assert dict(small.rules) == {rule: n for rule, n in rules.items() if rule != "good"}
    assert set(small.rules) == set(BAD_KINDS)
    assert small.counts["rows_read"] == len(rows) == 1500 + 13 + 21 + 25
    assert small.counts["rows_accepted"] == len(keys) == 1513
    assert small.counts["rows_duplicate"] == len(good) - len(keys) == 21
    assert small.counts["rows_quarantined"] == 25
    assert small.counts["pairs"] == len({row[:2] for row in good}) == 1500
    assert small.counts["users"] == len({row[0] for row in good}) == 120
    assert small.counts["items"] == len({row[1] for row in good})
    twice = Counter(row[:3] for row in good)
    several = [{row[3] for row in good if row[:3] == key} for key, n in twice.items() if n > 1]
    assert {len(ratings) for ratings in several} == {1, 2}  # exact ones, and with another rating


def test_first_reviews_rise_in_time(small: Truth) -> None:
    seen: set[tuple[str, str]] = set()
    times = []
    for _, row in read(small):
        if row and row[:2] not in seen:
            seen.add(row[:2])
            times.append(row[2])
    assert times == sorted(set(times))
    assert datetime.fromtimestamp(times[0], UTC).year == 2010
    assert (times[-1] - times[0]) / 86_400 == pytest.approx(1500, rel=0.01)


def test_bytes_are_a_function_of_the_seed(
    small: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "CHUNK", 257)
    again = write(SMALL, tmp_path / "again.json.gz")
    twin = write(SMALL, tmp_path / "another name.json.gz")
    assert gzip.decompress(again.file.read_bytes()) == small.file.read_bytes()
    assert again.file.read_bytes() == twin.file.read_bytes()
    other = write(Planted(**{**SMALL.as_dict(), "seed": 6}), tmp_path / "other.json")
    assert other.file.read_bytes() != small.file.read_bytes()


def test_golden_bytes(small: Truth) -> None:
    """A change of the generator changes every planted result: it must be seen."""
    assert hashlib.sha256(small.file.read_bytes()).hexdigest()[:16] == "f219aa69bce8512d"


def test_truth_is_read_back(small: Truth) -> None:
    back = read_truth(small.file)
    assert back.spec == SMALL
    assert (back.counts, back.rules, back.reached) == (small.counts, small.rules, small.reached)
    assert back.groups.equals(small.groups)
    assert sum(back.reached) == 1500


def test_groups_nest_and_are_even(small: Truth) -> None:
    rows = small.groups.to_pylist()
    assert all(row["group_2"] // 2 == row["group_1"] for row in rows)
    sizes = Counter(row["group_2"] for row in rows if row["side"] == "item")
    assert set(sizes.values()) == {15}  # 90 items on 6 leaves
    ids = {(row["side"], row["id"]) for row in rows}
    assert {("user", row[0]) for _, row in read(small) if row} <= ids


def test_choices_fall_where_they_should(tmp_path: Path) -> None:
    spec = Planted(users=400, items=4000, reviews=4000, branching=(4, 4), reach=(0.5, 0.3, 0.2))
    truth = write(spec, tmp_path / "wide.json")  # so many items that no user runs out of them
    shares = np.array(truth.reached) / 4000
    assert np.abs(shares - spec.reach).max() < 0.03
    group = {row["id"]: (row["group_1"], row["group_2"]) for row in truth.groups.to_pylist()}
    rows = [row for _, row in read(truth) if row]
    same_leaf = np.mean([group[u][1] == group[i][1] for u, i, *_ in rows])
    same_top = np.mean([group[u][0] == group[i][0] for u, i, *_ in rows])
    # own leaf, and by chance a quarter of the parent's choices and a sixteenth of anywhere's
    assert same_leaf == pytest.approx(0.5 + 0.3 / 4 + 0.2 / 16, abs=0.06)
    assert same_top == pytest.approx(0.5 + 0.3 + 0.2 / 4, abs=0.06)
    near = [row[3] for row in rows if group[row[0]][1] == group[row[1]][1]]
    far = [row[3] for row in rows if group[row[0]][0] != group[row[1]][0]]
    assert np.mean(near) > np.mean(far) + 0.5


def core_of(pairs: np.ndarray, k: int) -> np.ndarray:
    """The pairs (P, 2) of the k-core."""
    while True:
        degrees = [np.bincount(side) for side in pairs.T]
        kept = pairs[(degrees[0][pairs[:, 0]] >= k) & (degrees[1][pairs[:, 1]] >= k)]
        if len(kept) == len(pairs):
            return pairs
        pairs = kept


def test_the_default_is_a_5_core_with_a_learnable_tree(tmp_path: Path) -> None:
    import scipy.sparse as sp
    from scipy.sparse.linalg import svds

    truth = write(Planted(), tmp_path / "default.json")
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    pairs = np.array([(users.setdefault(row[0], len(users)), items.setdefault(row[1], len(items)))
                      for _, row in read(truth) if row])  # fmt: skip
    assert len(core_of(pairs, 5)) > 0.99 * len(pairs)
    test = np.random.default_rng(0).random(len(pairs)) < 0.2
    shape = (len(users), len(items))
    seen = sp.csr_matrix((np.ones((~test).sum()), pairs[~test].T), shape)
    asked = sp.csr_matrix((np.ones(test.sum()), pairs[test].T), shape).toarray()

    def recall(scores: np.ndarray) -> float:
        scores = np.where(seen.toarray() > 0, -np.inf, scores)
        top = np.argpartition(-scores, 20, axis=1)[:, :20]
        with_test = asked.sum(1) > 0
        hits = np.take_along_axis(asked, top, 1).sum(1)
        return float((hits[with_test] / asked.sum(1)[with_test]).mean())

    popularity = recall(np.broadcast_to(np.asarray(seen.sum(0)), shape))
    u, s, v = svds(seen, 32, random_state=0)
    assert recall(u * s @ v) > 2 * popularity
    coarse_u, coarse_s, coarse_v = svds(seen, 4, random_state=0)
    assert popularity < recall(coarse_u * coarse_s @ coarse_v) < recall(u * s @ v)


def test_ids_are_distinct_and_look_like_amazons() -> None:
    users = external(Planted(), USER_ID, 50_000)
    items = external(Planted(), ITEM_ID, 50_000)
    assert len(set(users)) == len(set(items)) == 50_000
    assert {len(u) for u in users} == {14}
    assert {len(i) for i in items} == {10}
    assert users != sorted(users)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"users": 0}, "must be ≥ 1"),
        ({"reach": (0.5, 0.5)}, "needs 4 shares"),
        ({"reach": (0.5, 0.5, 0.5, 0.5)}, "sum to 1"),
        ({"users": 50}, "64 leaves"),
        ({"reviews": 9_999}, "at least 5 reviews need ≥ 10,000"),
        ({"reviews": 2_000_000}, "half of the items"),
        ({"bad": -1}, "extra rows"),
        ({"span_days": 0}, "span_days ≥ 1"),
        ({"start": "soon"}, "a day like"),
        ({"start": "2037-12-31"}, "between 1970 and 2038"),
    ],
)
def test_specs_that_do_not_fit(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Planted(**values)
