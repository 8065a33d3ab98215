"""Facts of reviews by hand: one thing planted at a time, and what it breaks, exactly."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest
from plants import (
    EARLY,
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

from mrl4rec.tables import REVIEWS_SUITE
from mrl4rec.tables.expectation import fill, sql_session_place
from mrl4rec.transforms import facts
from mrl4rec.transforms.engine import Engine


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
            "bytes": [10, 10], "format": ["stars", "half"], "mapping": [None, None],
            "rows_read": [3, 2], "rows_accepted": [2, 2], "rows_duplicate": [0, 0],
            "rows_quarantined": [1, 0],
        }),
    }  # fmt: skip


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
@pytest.mark.fault("F19")
def test_each_expectation_of_reviews_breaks_by_its_own_row(engine: Engine, name: str) -> None:
    """One quarantined record of five read is a share of 0.2: exactly at the limit, it passes."""
    plants, wanted = REVIEW_CASES[name]
    state = planted(reviews_state(), plants)
    found = facts.reviews_facts(bind(engine, state), TEXT, ingest_share=0.0)
    assert broken(REVIEWS_SUITE, found, {"max_quarantined_share": 0.2}) == pytest.approx(wanted)


def test_a_session_names_an_item_twice_and_a_record_is_there_once(
    engines: tuple[Engine, Engine],
) -> None:
    """b holds sessions, a does not; rows of both have the same user and item, and no time."""
    text = TEXT | {"session_place": sql_session_place(["b"])}
    same_pair: dict[str, object] = {"user_id": "u1", "item_id": "i2", "reviewed_at": None}
    repeats = [put("reviews", 0, **same_pair), put("reviews", 3, **same_pair)]
    twice = [put("reviews", 1, **same_pair), put("reviews", 3, record_no=0, **same_pair)]
    for engine in engines:
        for plants, wanted in ((repeats, {}), (repeats + twice, {"key_unique": 2})):
            state = planted(reviews_state(), plants)
            found = facts.reviews_facts(bind(engine, state), text, ingest_share=0.0)
            assert broken(REVIEWS_SUITE, found, {"max_quarantined_share": 0.2}) == wanted
        listing = next(e for e in REVIEWS_SUITE.expectations if e.name == "key_unique").offenders()
        shown = facts.sample(engine, fill(str(listing), text), 9)
        assert [(row["user_id"], row["rows"]) for row in shown] == [("u1", 2), ("u1", 2)]


@pytest.mark.parametrize(("share", "met"), [(0.25, True), (0.2500001, False)])
def test_a_bad_ingest_is_not_hidden_by_a_good_past(engine: Engine, share: float, met: bool) -> None:
    """All sources together have 0.2, this ingest's own files more: the larger is judged."""
    found = facts.reviews_facts(bind(engine, reviews_state()), TEXT, ingest_share=share)
    wanted = {} if met else {SHARE: share}
    assert broken(REVIEWS_SUITE, found, {"max_quarantined_share": 0.25}) == wanted


def test_every_listing_shows_rows_when_broken(engine: Engine) -> None:
    shown = listed(engine, REVIEWS_SUITE, reviews_state, REVIEW_CASES)
    assert len(shown) == 12


def test_the_listing_of_a_good_state_is_empty(engine: Engine) -> None:
    assert offenders(engine, REVIEWS_SUITE, "rating_in_range", reviews_state()) == []


@pytest.mark.parametrize("plants", [
    [clear],
    [put("reviews", 0, user_id="\u2003\u00a0", rating=0.5), put("reviews", 1, reviewed_at=EARLY),
     put("reviews", 2, source_sha256="z"), put("reviews", 3, item_id=None), add("reviews"),
     add("reviews", rating=4.0), put("sources", 1, rows_read=7), add("quarantine", record_no=9),
     add("quarantine", rule="no_user", record="x" * 300)],
])  # fmt: skip
def test_engines_agree(engines: tuple[Engine, Engine], plants: list[Plant]) -> None:
    state = planted(reviews_state(), plants)
    same(engines, REVIEWS_SUITE, state, lambda e: facts.reviews_facts(e, TEXT, 0.125))


def test_examples_of_quarantine_are_the_first_of_each_rule(engine: Engine) -> None:
    plants = [add("quarantine", record_no=0, record="x" * 300), add("quarantine", rule="no_user")]
    query = next(e.example for e in REVIEWS_SUITE.expectations if e.name == SHARE)
    assert query is not None
    rows = facts.sample(bind(engine, planted(reviews_state(), plants)), query, 5)
    assert [(row["rule"], row["records"]) for row in rows] == [("not_json", 2), ("no_user", 1)]
    assert rows[0]["record"] == "x" * 200
