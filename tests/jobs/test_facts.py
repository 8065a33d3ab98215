"""Facts by hand: a small good state, one thing planted at a time, and what it breaks, exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import facts
from mrl4rec.tables import CORE_SUITE, REVIEWS_SUITE, TABLES, Suite, split_suite
from mrl4rec.tables.expectation import fill, sql_ranges, sql_time

State = dict[str, pd.DataFrame]
Plant = Callable[[State], None]
NOW = datetime(2014, 7, 23, tzinfo=UTC)
TEXT = {
    "as_of": sql_time(NOW),
    "rating_ranges": sql_ranges({"stars": (1.0, 5.0), "half": (0.5, 5.0)}),
    "strategy": "'random'",
    "split_seed": "0",
    "k": "2",
}


def frames(spark: SparkSession, state: State) -> dict[str, DataFrame]:
    """Spark frames with the declared types, except where a column is not declared."""
    return {name: spark.createDataFrame(arrow(name, rows)) for name, rows in state.items()}


def arrow(name: str, rows: pd.DataFrame) -> pa.Table:
    columns = TABLES[name].columns
    arrays = [pa.array(rows[c], columns[c].type if c in columns else None, from_pandas=True)
              for c in rows.columns]  # fmt: skip
    return pa.table(arrays, names=list(rows.columns))


def broken(suite: Suite, found: DataFrame, values: Mapping[str, float]) -> dict[str, float]:
    """Expectation → what was seen, of those that the facts do not meet."""
    rows = [row.asDict() for row in found.collect()]
    assert len(rows) == 1
    names = {}
    for expectation in suite.expectations:
        low, high = expectation.limits(values)
        seen = rows[0][expectation.fact]
        if not ((low is None or seen >= low) and (high is None or seen <= high)):
            names[expectation.name] = seen
    return names


def planted(state: State, plants: Sequence[Plant]) -> State:
    for plant in plants:
        plant(state)
    return state


def add(table: str, **values: Any) -> Plant:
    """One more row: the first one with some values changed."""

    def plant(state: State) -> None:
        row = state[table].iloc[[0]].assign(**values)
        state[table] = pd.concat([state[table], row], ignore_index=True)

    return plant


def put(table: str, row: int, **values: Any) -> Plant:
    """Other values in a row."""

    def plant(state: State) -> None:
        state[table] = state[table].astype(object)
        for column, value in values.items():
            state[table].at[row, column] = value

    return plant


def drop(table: str, *rows: int) -> Plant:
    """Rows fewer."""

    def plant(state: State) -> None:
        state[table] = state[table].drop(index=list(rows)).reset_index(drop=True)

    return plant


def clear(state: State) -> None:
    """No row in any table."""
    for name in state:
        state[name] = state[name].iloc[:0]


# ------------------------------------------------------------------------------------- reviews


def reviews_state() -> State:
    """Two sources: a gave 2 reviews of 3 records, b gave 2 of 2 with half stars or no rating."""
    day = datetime(2013, 5, 1, tzinfo=UTC)
    return {
        "reviews": pd.DataFrame({
            "user_id": ["u1", "u2", "u1", "u2"],
            "item_id": ["i1", "i1", "i2", "i2"],
            "rating": [1.0, 5.0, 0.5, None],
            "reviewed_at": [day, day, None, NOW],
            "source_sha256": ["a", "a", "b", "b"],
            "record_no": [0, 1, 0, 1],
        }),
        "quarantine": pd.DataFrame({
            "source_sha256": ["a"], "record_no": [2], "record": ["{"], "rule": ["not_json"],
            "detail": [None],
        }),
        "sources": pd.DataFrame({
            "source_sha256": ["a", "b"], "source_no": [0, 1], "path": ["a.json", "b.json"],
            "bytes": [10, 10], "format": ["stars", "half"], "rows_read": [3, 2],
            "rows_accepted": [2, 2], "rows_duplicate": [0, 0], "rows_quarantined": [1, 0],
        }),
    }  # fmt: skip


EARLY, LATE = (
    datetime(1989, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2014, 7, 23, 0, 0, 1, tzinfo=UTC),
)
SHARE = "quarantined_share"
REVIEW_CASES: dict[str, tuple[list[Plant], dict[str, int]]] = {
    "nothing": ([], {}),
    "users null, empty, blank, no-break": (
        [put("reviews", n, user_id=t) for n, t in enumerate([None, "", " \t ", "\u00a0"])],
        {"user_given": 4},
    ),
    "items null and blank": (
        [put("reviews", 0, item_id=None), put("reviews", 1, item_id=" ")],
        {"item_given": 2},
    ),
    "record numbers null and negative": (
        [put("reviews", 0, record_no=None), put("reviews", 1, record_no=-1)],
        {"record_given": 2},
    ),
    "stars of 0.5 and 5.000001": (
        [put("reviews", 0, rating=0.5), put("reviews", 1, rating=5.000001)],
        {"rating_in_range": 2},
    ),
    "half stars of 0 and 6": (
        [put("reviews", 2, rating=0.0), put("reviews", 3, rating=6.0)],
        {"rating_in_range": 2},
    ),
    "times at 1990 and at as-of": (
        [put("reviews", 0, reviewed_at=datetime(1990, 1, 1, tzinfo=UTC)),
         put("reviews", 1, reviewed_at=NOW)],
        {},
    ),
    "times before 1990 and before 1970": (
        [put("reviews", 0, reviewed_at=EARLY),
         put("reviews", 1, reviewed_at=datetime(1969, 12, 31, tzinfo=UTC))],
        {"time_not_early": 2},
    ),
    "time after as-of": ([put("reviews", 0, reviewed_at=LATE)], {"time_not_future": 1}),
    "same key, another rating": (
        [put("reviews", 1, user_id="u1", rating=3.0)],
        {"key_unique": 1},
    ),
    "same key without time": (
        [put("reviews", 3, user_id="u1", reviewed_at=None)],
        {"key_unique": 1},
    ),
    "unknown source": ([put("reviews", 0, source_sha256="c")], {"source_known": 1}),
    "row too many": ([add("reviews", item_id="i9")], {"counts_conserved": 1}),
    "row lost": ([drop("reviews", 3)], {"counts_conserved": -1}),
    "source listed twice": (
        [add("sources", rows_accepted=0, rows_read=1), put("sources", 1, rows_read=2)],
        {"sources_unique": 1, SHARE: 1 / 3},
    ),
    "records lost, negative duplicates": (
        [put("sources", 0, rows_read=4), put("sources", 1, rows_duplicate=-1, rows_read=1)],
        {"sources_balanced": 2},
    ),
    "quarantine row lost, another of no source": (
        [put("quarantine", 0, source_sha256="z")],
        {"quarantine_counted": 2},
    ),
    "empty": ([clear], {"not_empty": 0}),
}  # fmt: skip


@pytest.mark.parametrize("name", REVIEW_CASES)
def test_each_expectation_of_reviews_breaks_by_its_own_row(spark: SparkSession, name: str) -> None:
    """One quarantined record of five read is a share of 0.2: exactly at the limit, it passes."""
    plants, wanted = REVIEW_CASES[name]
    state = planted(reviews_state(), plants)
    found = facts.reviews_facts(frames(spark, state), TEXT, ingest_share=0.0)
    assert broken(REVIEWS_SUITE, found, {"max_quarantined_share": 0.2}) == pytest.approx(wanted)


@pytest.mark.parametrize(("share", "met"), [(0.25, True), (0.2500001, False)])
def test_a_bad_ingest_is_not_hidden_by_a_good_past(
    spark: SparkSession, share: float, met: bool
) -> None:
    """All sources together have 0.2, this ingest's own files more: the larger is judged."""
    found = facts.reviews_facts(frames(spark, reviews_state()), TEXT, ingest_share=share)
    wanted = {} if met else {SHARE: share}
    assert broken(REVIEWS_SUITE, found, {"max_quarantined_share": 0.25}) == wanted


# ---------------------------------------------------------------------------------------- core


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
def test_each_expectation_of_the_core_breaks_by_its_own_row(spark: SparkSession, name: str) -> None:
    plants, told, wanted = CORE_CASES[name]
    state = planted(core_state(), plants)
    found = facts.core_facts(frames(spark, state), told)
    assert broken(CORE_SUITE, found, {"k": 2}) == wanted


# --------------------------------------------------------------------------------------- split


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
def test_each_expectation_of_a_split_breaks_by_its_own_row(spark: SparkSession, name: str) -> None:
    plants, wanted = SPLIT_CASES[name]
    state = planted(split_state(), plants)
    found = facts.split_facts(frames(spark, state), TEXT, told(state))
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
    spark: SparkSession, valid: int, test: int, wanted: set[str]
) -> None:
    state = split_state(valid, test)
    found = facts.split_facts(frames(spark, state), TEXT, told(state))
    # With no valid pair of 100, 10 are missing: 9.5 / 3 = 3.17 σ, within the limit.
    assert broken(split_suite(share_asked=True), found, {}).keys() == wanted


def test_a_split_that_differs_from_what_its_stage_told(spark: SparkSession) -> None:
    state = split_state()
    found = facts.split_facts(frames(spark, state), TEXT, told(state) | {"test": 21})
    assert broken(split_suite(share_asked=False), found, {}) == {"folds_as_told": 1}


# ------------------------------------------------------------------------------------- columns


def test_columns_that_are_not_as_declared_are_named(spark: SparkSession) -> None:
    state = core_state()
    state["users"] = state["users"].rename(columns={"user_id": "uid"})
    state["items"] = state["items"].assign(note="n")
    given = frames(spark, state)
    given["interactions"] = given["interactions"].selectExpr(
        "user_idx", "CAST(item_idx AS bigint) AS item_idx", "reviewed_at"
    )
    words = [problem.words for problem in facts.columns_amiss(given)]
    assert words == [
        "interactions.item_idx is bigint, declared int",
        "users.user_id is missing",
        "users.uid is not declared",
        "items.note is not declared",
    ]
    assert facts.core_facts(given, TOLD).collect()[0].asDict() == {"columns_amiss": 4}


def test_a_column_too_many_is_amiss_and_the_rest_is_still_counted(spark: SparkSession) -> None:
    state = core_state()
    state["items"] = state["items"].assign(note="n")
    found = facts.core_facts(frames(spark, state), TOLD)
    assert broken(CORE_SUITE, found, {"k": 2}) == {"columns": 1}


# ------------------------------------------------------------------------------------ listings


def offenders(spark: SparkSession, suite: Suite, name: str, state: State) -> list[dict[str, Any]]:
    expectation = next(e for e in suite.expectations if e.name == name)
    query = expectation.offenders()
    assert query is not None
    return facts.sample(frames(spark, state), fill(query, TEXT), rows=10)


@pytest.mark.parametrize(
    ("suite", "state", "cases"),
    [
        (REVIEWS_SUITE, reviews_state, REVIEW_CASES),
        (CORE_SUITE, core_state, {k: (p, w) for k, (p, _, w) in CORE_CASES.items()}),
        (split_suite(share_asked=True), split_state, SPLIT_CASES),
    ],
    ids=["reviews", "core", "split"],
)
def test_every_listing_shows_rows_when_broken(
    spark: SparkSession, suite: Suite, state: Callable[[], State], cases: dict[str, Any]
) -> None:
    """The first case that breaks an expectation must appear in its listing."""
    listed = 0
    for expectation in suite.expectations:
        plants = next((p for p, w in cases.values() if expectation.name in w), None)
        if plants is None or expectation.offenders() is None:
            continue
        given = planted(state(), plants)
        assert offenders(spark, suite, expectation.name, given), expectation.name
        listed += 1
    assert listed >= 7


def test_listings_of_a_good_state_are_empty(spark: SparkSession) -> None:
    """Those of single rows and of pairs: here the rows they show are the very ones counted."""
    for suite, name, state in (
        (REVIEWS_SUITE, "rating_in_range", reviews_state()),
        (CORE_SUITE, "users_dense", core_state()),
        (split_suite(share_asked=True), "none_lost", split_state()),
    ):
        assert offenders(spark, suite, name, state) == []
