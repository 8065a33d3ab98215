"""Facts of the core by hand: one thing planted at a time, and what it breaks, exactly."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest
from plants import (
    NOW,
    Plant,
    State,
    add,
    bind,
    broken,
    clear,
    listed,
    offenders,
    planted,
    put,
    same,
)

from mrl4rec.tables import CORE_SUITE, TABLES
from mrl4rec.transforms import facts
from mrl4rec.transforms.engine import Engine


def core_state() -> State:
    """Two users with the same two items: k = 2 holds, exactly. User 2 is of an earlier core."""
    return {
        "interactions": pd.DataFrame({
            "user_idx": [0, 0, 1, 1], "item_idx": [0, 1, 0, 1],
            "reviewed_at": [NOW, None, NOW, NOW],
        }),
        "users": pd.DataFrame({"user_idx": [2, 0, 1], "user_id": ["c", "a", "b"]}),
        "items": pd.DataFrame({"item_idx": [0, 1], "item_id": ["x", "y"]}),
    }  # fmt: skip


TOLD = {"interactions": 4, "users": 2, "items": 2}
TOLD_5 = {"interactions": 5, "users": 3, "items": 2}
CORE_CASES: dict[str, tuple[list[Plant], dict[str, int], dict[str, int]]] = {
    "nothing": ([], TOLD, {}),
    "user one below k": ([add("interactions", user_idx=2)], TOLD_5, {"k_by_user": 1}),
    "item one below k": (
        [add("items", item_idx=2, item_id="z"), add("interactions", item_idx=2)],
        {"interactions": 5, "users": 2, "items": 3},
        {"k_by_item": 1},
    ),
    "pair twice": ([add("interactions")], TOLD | {"interactions": 5}, {"pairs_unique": 1}),
    "unknown user": (
        [add("interactions", user_idx=9), add("interactions", user_idx=9, item_idx=1)],
        {"interactions": 6, "users": 3, "items": 2},
        {"user_known": 2},
    ),
    "unknown item": (
        [add("interactions", item_idx=9), add("interactions", item_idx=9, user_idx=1)],
        {"interactions": 6, "users": 2, "items": 3},
        {"item_known": 2},
    ),
    "user without number": (
        [put("interactions", 0, user_idx=None), put("interactions", 1, user_idx=None)],
        TOLD,
        {"user_known": 2},
    ),
    "told wrong": (
        [],
        {"interactions": 5, "users": 3, "items": 1},
        {"pairs_as_told": -1, "users_as_told": -1, "items_as_told": 1},
    ),
    "gap in users": ([put("users", 0, user_idx=3)], TOLD, {"users_dense": 1}),
    "user number twice": ([put("users", 0, user_idx=1)], TOLD, {"users_dense": 1}),
    "negative user number": ([put("users", 0, user_idx=-1)], TOLD, {"users_dense": 1}),
    "null user number": ([put("users", 0, user_idx=None)], TOLD, {"users_dense": 1}),
    "item number one up": ([add("items", item_idx=3, item_id="z")], TOLD, {"items_dense": 1}),
    "blank ids": (
        [put("users", 0, user_id=" "), put("items", 0, item_id=None)],
        TOLD,
        {"user_ids_given": 1, "item_ids_given": 1},
    ),
    "ids twice": (
        [put("users", 0, user_id="a"), put("items", 0, item_id="y")],
        TOLD,
        {"user_ids_unique": 1, "item_ids_unique": 1},
    ),
    "empty": (
        [clear],
        {"interactions": 0, "users": 0, "items": 0},
        {"not_empty": 0, "k_by_user": 0, "k_by_item": 0},
    ),
}


@pytest.mark.parametrize("name", CORE_CASES)
def test_each_expectation_of_the_core_breaks_by_its_own_row(engine: Engine, name: str) -> None:
    plants, told, wanted = CORE_CASES[name]
    state = planted(core_state(), plants)
    found = facts.core_facts(bind(engine, state), told)
    assert broken(CORE_SUITE, found, {"k": 2}) == wanted


def test_columns_that_are_not_as_declared_are_named() -> None:
    schemas = {name: TABLES[name].schema for name in ("interactions", "users", "items", "sources")}
    pairs, users, items, sources = schemas.values()
    schemas["interactions"] = pairs.set(1, pairs.field("item_idx").with_type(pa.int64()))
    schemas["users"] = users.set(1, users.field("user_id").with_name("uid"))
    schemas["items"] = items.append(pa.field("note", pa.string()))
    schemas["sources"] = sources.remove(sources.get_field_index("mapping"))  # an older version
    problems = facts.columns_amiss(schemas)
    assert [(problem.words, problem.fatal) for problem in problems] == [
        ("interactions.item_idx is int64, declared int32", True),
        ("users.user_id is missing", True),
        ("users.uid is not declared", False),
        ("items.note is not declared", False),
    ]


def test_every_listing_shows_rows_when_broken(engine: Engine) -> None:
    cases = {name: (plants, wanted) for name, (plants, _, wanted) in CORE_CASES.items()}
    shown = listed(engine, CORE_SUITE, core_state, cases)
    assert len(shown) == 11


def test_the_listing_of_a_good_state_is_empty(engine: Engine) -> None:
    assert offenders(engine, CORE_SUITE, "users_dense", core_state()) == []


@pytest.mark.parametrize("plants", [
    [clear],
    [add("interactions", user_idx=9), add("interactions"), put("users", 0, user_id=" "),
     put("items", 0, item_id=None, item_idx=7), add("users", user_id="a")],
])  # fmt: skip
def test_engines_agree(engines: tuple[Engine, Engine], plants: list[Plant]) -> None:
    same(engines, CORE_SUITE, planted(core_state(), plants), lambda e: facts.core_facts(e, TOLD))
