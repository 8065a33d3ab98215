"""Facts of sequences and their split by hand: one thing planted at a time, and what it breaks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from plants import NOW, TEXT, Plant, State, add, bind, broken, clear, drop, listed, planted, put

from mrl4rec.tables import SEQUENCES_SUITE, sequence_split_suite
from mrl4rec.tables.splits import EVERY_FOLD
from mrl4rec.transforms import facts
from mrl4rec.transforms.engine import Engine

LENGTH = 4
SEQUENCES = TEXT | {"max_length": str(LENGTH)}
SPLIT = TEXT | {"strategy": "'by_user'"}


def ordered() -> State:
    """Three users with four events each, item 0 twice; the last is a list without times."""
    events = pd.DataFrame({
        "sequence_id": [u for u in range(3) for _ in range(LENGTH)],
        "position": list(range(LENGTH)) * 3,
        "item_idx": [0, 1, 0, 2] * 3,
        "reviewed_at": [NOW + timedelta(days=n) for n in range(LENGTH)] * 2 + [None] * LENGTH,
    })  # fmt: skip
    events["reviewed_at"] = events["reviewed_at"].astype(object)
    pairs = events.rename(columns={"sequence_id": "user_idx"}).drop_duplicates(
        ["user_idx", "item_idx"]
    )
    return {"sequences": events.assign(user_id="u"),
            "interactions": pairs.drop(columns="position").reset_index(drop=True)}  # fmt: skip


def of_sequences(engine: Engine, state: State) -> dict[str, Any]:
    return facts.listed_facts(bind(engine, state), SEQUENCES_SUITE, SEQUENCES)


EARLIER = NOW - timedelta(days=1)
SEQUENCE_CASES: dict[str, tuple[list[Plant], dict[str, int]]] = {
    "nothing": ([], {}),
    "no event": ([clear], {"not_empty": 0}),
    "a gap": ([put("sequences", 3, position=5)], {"positions_dense": 1}),
    "a place twice": ([put("sequences", 3, position=2)], {"positions_dense": 1}),
    "from one": (
        [put("sequences", n, position=n + 1) for n in range(LENGTH)],
        {"positions_dense": 1},
    ),
    "back in time": ([put("sequences", 1, reviewed_at=EARLIER)], {"in_order": 1}),
    "a time lost": ([put("sequences", 1, reviewed_at=None)], {"in_order": LENGTH}),
    "a time in a list": ([put("sequences", 8, reviewed_at=NOW)], {"in_order": LENGTH}),
    "too long": (
        [add("sequences", sequence_id=2, position=4, reviewed_at=None)],
        {"not_too_long": 1},
    ),
    "not of the core": ([put("sequences", 1, item_idx=7)], {"of_the_core": 1}),
}


@pytest.mark.parametrize("name", SEQUENCE_CASES)
def test_each_expectation_of_sequences_breaks_by_its_own_row(engine: Engine, name: str) -> None:
    plants, wanted = SEQUENCE_CASES[name]
    found = of_sequences(engine, planted(ordered(), plants))
    assert broken(SEQUENCES_SUITE, found, {}) == wanted


def test_each_of_them_is_broken_by_one_case() -> None:
    wanted = {name for _, names in SEQUENCE_CASES.values() for name in names}
    assert wanted | {"columns"} == {asked.name for asked in SEQUENCES_SUITE.expectations}


# ---------------------------------------------------------------------- the split


def divided() -> State:
    """User 0 is of test (events 2 and 3 are targets), 1 of valid, 2 of train."""
    state = ordered()
    events = state["sequences"].drop(columns="user_id")
    fold = ["test_history"] * 2 + ["test"] * 2 + ["valid_history"] * 2 + ["valid"] * 2
    made = {"strategy": "by_user", "split_seed": 0}
    pairs = ["test_history", "test_history", "test", "valid_history", "valid_history", "valid"]
    return state | {
        "sequence_splits": events.assign(fold=fold + ["train"] * 4, **made),
        "splits": state["interactions"].assign(fold=pairs + ["train"] * 3, **made),
    }


def told(state: State) -> dict[str, Any]:
    sizes = state["splits"]["fold"].value_counts()
    return {"of": "sequences", **{fold: int(sizes.get(fold, 0)) for fold in EVERY_FOLD}}


def of_split(engine: Engine, state: State) -> dict[str, Any]:
    return facts.split_facts(bind(engine, state), SPLIT, told(state))


SPLIT_CASES: dict[str, tuple[list[Plant], dict[str, int]]] = {
    "nothing": ([], {}),
    "an unknown fold": ([put("splits", 0, fold="dev")], {"folds_known": 1}),
    "a fold lost": ([put("splits", 0, fold=None)], {"folds_known": 1}),
    "nothing to train on": (
        [put("splits", n, fold="test_history") for n in (6, 7, 8)],
        {"train_not_empty": 0},
    ),
    "nothing to test": ([put("splits", 2, fold="test_history")], {"test_not_empty": 0}),
    "a pair in two folds": (
        [put("splits", 0, fold="test"), add("splits", fold="train")],
        {"no_leak": 1},
    ),
    "a pair twice": ([add("splits")], {"pairs_unique": 1}),
    "a pair lost": ([drop("splits", 0)], {"none_lost": 1}),
    "a pair invented": ([add("splits", item_idx=9)], {"none_invented": 1}),
    "a time of a pair": ([put("splits", 0, reviewed_at=EARLIER)], {"times_kept": 1}),
    "another seed": ([put("splits", 0, split_seed=1)], {"made_as_asked": 1}),
    "an event twice": (
        [add("sequence_splits")],
        {"events_unique": 1},
    ),
    "an event lost": ([drop("sequence_splits", 11)], {"events_kept": 1}),
    "an event invented": (
        [add("sequence_splits", sequence_id=2, position=4, fold="train")],
        {"events_kept": 1},
    ),
    "another item": ([put("sequence_splits", 11, item_idx=1)], {"events_kept": 1}),
    "another time": ([put("sequence_splits", 11, reviewed_at=NOW)], {"events_kept": 1}),
    "trained on after a target": (
        [put("sequence_splits", 3, fold="train")],
        {"no_future": 1},
    ),
    "history after a target": (
        [put("sequence_splits", 7, fold="valid_history")],
        {"no_future": 1},
    ),
    "valid after test": ([put("sequence_splits", 3, fold="valid")], {"no_future": 1}),
    "targets of nothing": (
        [put("sequence_splits", n, fold="test") for n in range(2)],
        {"no_empty_history": 1},
    ),
}


@pytest.mark.parametrize("name", SPLIT_CASES)
def test_each_expectation_of_a_split_breaks_by_its_own_row(engine: Engine, name: str) -> None:
    plants, wanted = SPLIT_CASES[name]
    found = of_split(engine, planted(divided(), plants))
    assert broken(sequence_split_suite(), found, {}) == wanted


def test_each_of_a_split_is_broken_by_one_case(engine: Engine) -> None:
    wanted = {name for _, names in SPLIT_CASES.values() for name in names}
    names = {asked.name for asked in sequence_split_suite().expectations}
    assert wanted | {"columns", "folds_as_told"} == names
    found = facts.split_facts(bind(engine, divided()), SPLIT, told(divided()) | {"valid": 7})
    assert broken(sequence_split_suite(), found, {}) == {"folds_as_told": 6}


def test_every_listing_shows_rows_when_broken(engine: Engine) -> None:
    listed(engine, sequence_split_suite(), divided, SPLIT_CASES, SPLIT)
    listed(engine, SEQUENCES_SUITE, ordered, SEQUENCE_CASES, SEQUENCES)


def test_engines_agree(engines: tuple[Engine, Engine]) -> None:
    plants = [SPLIT_CASES[name][0] for name in ("an event twice", "another time", "a pair lost",
              "trained on after a target", "valid after test", "an unknown fold")]  # fmt: skip
    state = planted(divided(), [plant for some in plants for plant in some])
    found = [of_split(engine, state) for engine in engines]
    assert found[0] == found[1]
    plants = [some for some, _ in SEQUENCE_CASES.values() if some != [clear]]
    state = planted(ordered(), [plant for some in plants for plant in some])
    found = [of_sequences(engine, state) for engine in engines]
    assert found[0] == found[1]
