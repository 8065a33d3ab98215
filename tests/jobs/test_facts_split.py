"""Facts of a split by hand: one thing planted at a time, and what it breaks, exactly."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from plants import (
    LATE,
    NOW,
    TEXT,
    Plant,
    State,
    add,
    bind,
    broken,
    clear,
    drop,
    listed,
    offenders,
    planted,
    put,
    same,
)

from mrl4rec.tables import split_suite
from mrl4rec.tables.expectation import fill, sql_time
from mrl4rec.transforms import facts
from mrl4rec.transforms.engine import Engine


def split_state(valid: int = 8, test: int = 20) -> State:
    """100 pairs, 20 users by 5 items; the last ``test`` are test, ``valid`` before them valid."""
    pairs = pd.DataFrame({
        "user_idx": [u for u in range(20) for _ in range(5)],
        "item_idx": [i for _ in range(20) for i in range(5)],
        "reviewed_at": NOW,
    })  # fmt: skip
    fold = ["train"] * (100 - valid - test) + ["valid"] * valid + ["test"] * test
    return {
        "splits": pairs.assign(fold=fold, strategy="random", split_seed=0),
        "interactions": pairs,
    }


def told(state: State) -> dict[str, Any]:
    sizes = state["splits"]["fold"].value_counts()
    folds = {fold: int(sizes.get(fold, 0)) for fold in ("train", "valid", "test")}
    return folds | {"asked": {"test": 0.2, "valid": 0.1}}


LEAK = [put("splits", 99, fold="train"), add("splits", user_idx=19, item_idx=4, fold="test")]
SPLIT_CASES: dict[str, tuple[list[Plant], dict[str, int]]] = {
    "nothing": ([], {}),
    "test pair planted into train": (LEAK, {"no_leak": 1}),
    "unknown and missing folds": (
        [put("splits", 0, fold="dev"), put("splits", 1, fold=None)],
        {"folds_known": 2},
    ),
    "unknown fold beside test": (
        [put("splits", 99, fold="dev"), LEAK[1]],
        {"folds_known": 1, "no_leak": 1},
    ),
    "pair twice in train": ([add("splits")], {"pairs_unique": 1}),
    "pairs lost": ([drop("splits", 0, 1)], {"none_lost": 2}),
    "pair invented": ([add("splits", item_idx=5)], {"none_invented": 1}),
    "pair without user": ([put("splits", 0, user_idx=None)], {"none_lost": 1, "none_invented": 1}),
    "times changed and lost": (
        [put("splits", 0, reviewed_at=LATE), put("splits", 1, reviewed_at=None)],
        {"times_kept": 2},
    ),
    "other strategy, other seed": (
        [put("splits", 0, strategy="last_out"), put("splits", 1, split_seed=1)],
        {"made_as_asked": 2},
    ),
}


@pytest.mark.parametrize("name", SPLIT_CASES)
def test_each_expectation_of_a_split_breaks_by_its_own_row(engine: Engine, name: str) -> None:
    plants, wanted = SPLIT_CASES[name]
    state = planted(split_state(), plants)
    found = facts.split_facts(bind(engine, state), TEXT, told(state))
    assert broken(split_suite(share_asked=True), found, {}) == wanted


@pytest.mark.parametrize(
    ("valid", "test", "wanted"),
    [
        # Of 100 pairs 20 are asked for, σ = 4: 36 is off by 16 less ½, 3.875 σ; 37 by 4.125 σ.
        (6, 36, set()),
        (6, 37, {"test_share"}),
        (9, 4, set()),
        (9, 3, {"test_share"}),
        # Of 80 train and valid pairs 8, σ = √7.2 = 2.683: 19 is 10.5 off, 3.91 σ; 20 is 4.29 σ.
        (19, 20, set()),
        (20, 20, {"valid_share"}),
        (0, 20, set()),
        (0, 0, {"test_not_empty", "test_share"}),
        (0, 100, {"train_not_empty", "test_share"}),
    ],
)
def test_shares_hold_at_four_sigma_and_not_beyond(
    engine: Engine, valid: int, test: int, wanted: set[str]
) -> None:
    state = split_state(valid, test)
    found = facts.split_facts(bind(engine, state), TEXT, told(state))
    # With no valid pair of 100, 10 are missing: 9.5 / 3 = 3.17 σ, within the limit.
    assert broken(split_suite(share_asked=True), found, {}).keys() == wanted


def test_a_split_that_differs_from_what_its_stage_told(engine: Engine) -> None:
    state = split_state()
    found = facts.split_facts(bind(engine, state), TEXT, told(state) | {"test": 21})
    assert broken(split_suite(share_asked=False), found, {}) == {"folds_as_told": 1}


@pytest.mark.parametrize(
    ("plants", "wanted"),
    [
        ([], {}),
        ([put("splits", 0, fold="test"), put("splits", 99, fold="train")], {"cut_in_time": 2}),
        ([put("splits", 99, reviewed_at=None)], {"cut_in_time": 1, "times_kept": 1}),
        ([put("splits", 99, fold=None)], {"cut_in_time": 1, "folds_known": 1}),
    ],
)
def test_a_cut_in_time_is_held_against_every_pair(
    engine: Engine, plants: list[Plant], wanted: dict[str, int]
) -> None:
    """The twenty test pairs are of the moment itself, the others of a second before."""
    state = split_state()
    for table in state:
        state[table].loc[:79, "reviewed_at"] = NOW - pd.Timedelta(seconds=1)
    state = planted(state, plants)
    text = TEXT | {"since": sql_time(NOW)}
    since = {"since": NOW.isoformat()}
    found = facts.split_facts(bind(engine, state), text, told(state) | since)
    suite = split_suite(share_asked=False, cut_asked=True)
    assert broken(suite, found, {}) == wanted
    cut = next(e.offenders() for e in suite.expectations if e.name == "cut_in_time")
    assert cut is not None
    listed = facts.sample(bind(engine, state), fill(cut, text), rows=10)
    assert len(listed) == wanted.get("cut_in_time", 0)


def test_every_listing_shows_rows_when_broken(engine: Engine) -> None:
    shown = listed(engine, split_suite(share_asked=True), split_state, SPLIT_CASES)
    assert len(shown) == 7


def test_the_listing_of_a_good_state_is_empty(engine: Engine) -> None:
    assert offenders(engine, split_suite(share_asked=True), "none_lost", split_state()) == []


def test_engines_agree(engines: tuple[Engine, Engine]) -> None:
    plants = [*LEAK, put("splits", 0, fold=None), put("splits", 1, fold="dev", reviewed_at=LATE),
              put("splits", 2, user_idx=None), put("splits", 3, strategy=None), add("splits"),
              drop("splits", 10)]  # fmt: skip
    text, since = TEXT | {"since": sql_time(NOW)}, {"since": NOW.isoformat()}
    suite = split_suite(share_asked=True, cut_asked=True)
    for state in (planted(split_state(), plants), planted(split_state(), [clear])):
        told_ = told(state) | since
        same(engines, suite, state, lambda e: facts.split_facts(e, text, told_), text)  # noqa: B023
