"""The split of sequences: folds against plain Python, and what the stage refuses and keeps."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from by_hand import DAY, Row, ids, ingest, table
from hypothesis import given
from in_order import (
    Divided,
    Event,
    Options,
    Rows,
    Split,
    divided,
    divided_again,
    folds,
    ordered,
    pair_folds,
)
from test_sequences import MANY, some_events

from jobs import ingest as real_ingest
from jobs import kcore, sequences, split
from jobs.ingest import IngestRequest
from mrl4rec.core import stage
from mrl4rec.core.choices import OF_SEQUENCES
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.tables.splits import EVERY_FOLD, FITTED
from mrl4rec.transforms.engine import Engine

USERS, ITEMS = [f"u{n}" for n in range(9)], [f"i{n}" for n in range(6)]
events = st.dictionaries(
    st.tuples(st.sampled_from(USERS), st.sampled_from(ITEMS), st.integers(0, 8)),
    st.just(5.0), min_size=1, max_size=50,
).map(lambda rows: [(u, i, rating, at) for (u, i, at), rating in rows.items()])  # fmt: skip
asked = st.one_of(
    st.builds(Split, st.just("last_out")),
    st.builds(Split, st.just("by_user"), st.integers(-(2**63), 2**63 - 1)),
    st.builds(Split, st.just("global_time"), share=st.sampled_from([0.1, 0.2, 0.5, 0.9])),
    st.builds(Split, st.just("since"), since=st.integers(0, 9)),
)
lengths = st.sampled_from([Options(), Options(max_length=3), Options(repeats=False)])


@MANY
@given(events, asked, lengths)
def test_folds_are_those_of_the_definition(
    engine: Engine, rows: list[Event], asked: Split, options: Options
) -> None:
    check(rows, asked, options, divided(engine, rows, asked, options))


def check(rows: list[Event], asked: Split, options: Options, found: Divided) -> None:
    in_order = ordered(rows, options)
    wanted = folds(in_order, asked)
    pairs = pair_folds(in_order, wanted, rows)
    of_events, of_pairs, counts = found
    assert of_events == wanted
    assert of_pairs == pairs
    sizes = Counter(fold for of_user in wanted.values() for fold in of_user)
    for fold in EVERY_FOLD:
        assert counts[f"{fold}_events"] == sizes[fold]
        assert counts[fold] == list(pairs.values()).count(fold)
    for fold in ("valid", "test"):
        assert counts[f"{fold}_events_users"] == sum(fold in found for found in wanted.values())
        judged = {user for (user, _), found in pairs.items() if found == fold}
        assert counts[f"{fold}_users"] == len(judged)
    assert_whole(wanted)


def assert_whole(wanted: dict[str, list[str]]) -> None:
    """Nothing that is read or trained on comes after a target, and every target has a history."""
    for of_user in wanted.values():
        stages = [("valid", "test").index(f) + 1 if f in ("valid", "test") else 0 for f in of_user]
        assert stages == sorted(stages)
        assert stages[0] == 0


SPLITS = [
    Split("last_out"),
    Split("by_user", seed=-(2**63)),
    Split("global_time", share=0.3),
    Split("since", since=5),
]


def test_engines_agree(engines: tuple[Engine, Engine]) -> None:
    """On ids that are hard to get right, against the definition."""
    rows = some_events()
    for engine in engines:
        first = divided(engine, rows, SPLITS[0], Options())
        check(rows, SPLITS[0], Options(), first)
        for asked in SPLITS[1:]:
            check(rows, asked, Options(), divided_again(engine, asked))


@pytest.mark.parametrize("strategy", ["last_out", "by_user"])
def test_lists_without_times_are_split_by_their_order(engine: Engine, strategy: str) -> None:
    rows, asked = some_events(timed=False), Split(strategy)
    check(rows, asked, Options(), divided(engine, rows, asked, Options()))


@pytest.mark.parametrize("asked", SPLITS, ids=lambda asked: asked.strategy)
def test_numbers_and_the_order_of_the_dump_do_not_matter(engine: Engine, asked: Split) -> None:
    rows = some_events()
    wanted = divided(engine, rows, asked, Options())
    assert divided(engine, rows[::-1], asked, Options(), lambda ids: ids[::-1]) == wanted


def named(*of_users: str) -> list[Event]:
    """Events from texts ``user: item@time item@time …``."""
    found: list[Event] = []
    for text in of_users:
        user, _, rest = text.partition(": ")
        for event in rest.split():
            item, _, at = event.partition("@")
            found.append((user, item, 5.0, int(at)))
    return found


def test_by_hand(engine: Engine) -> None:
    rows = named("a: x@1 y@2 x@3 z@4", "b: x@1 y@4", "c: z@6 x@7", "d: y@1")
    train, valid, test = "train", "valid", "test"
    events, pairs, _ = divided(engine, rows, Split("last_out"), Options())
    assert events == {"a": [train, train, valid, test], "b": [train] * 2, "c": [train] * 2,
                      "d": [train]}  # fmt: skip
    assert pairs["a", "x"] == train  # its repeat is a target, the pair is none
    assert pairs["a", "z"] == test
    # Since 4: of what is before, the newest tenth is that of time 3.
    events, pairs, counts = divided(engine, rows, Split("since", since=4), Options())
    assert (counts["valid_from"], counts["test_from"]) == (3, 4)
    assert events == {"a": [train, train, valid, test], "b": [train, test],
                      "c": ["test_history"] * 2, "d": [train]}  # fmt: skip
    assert pairs["c", "z"] == "test_history"  # never judged: nothing was known of c
    # Of what max_length drops the pairs are known, and nothing more.
    _, pairs, _ = divided(engine, rows, Split("last_out"), Options(max_length=2))
    assert (pairs["a", "x"], pairs["a", "y"]) == (train, "test_history")


def test_by_user_takes_eight_tenths_of_users_and_of_targets_users_history(engine: Engine) -> None:
    rows = [(f"user {n}", f"i{m}", 5.0, m) for n in range(2000) for m in range(10)]
    events, _, counts = divided(engine, rows, Split("by_user", seed=4), Options())
    for fold, share in (("valid", 0.1), ("test", 0.1)):
        users = counts[f"{fold}_events_users"]
        assert abs(users - share * 2000) < 4 * (share * (1 - share) * 2000) ** 0.5
    test_users = [found for found in events.values() if "test" in found]
    assert all(found == ["test_history"] * 8 + ["test"] * 2 for found in test_users)
    other, _, _ = divided(engine, rows, Split("by_user", seed=5), Options())
    assert other != events


# ---------------------------------------------------------------------- the stage

ROWS: list[Row] = [(f"u{n}", f"i{(n * m + m) % 7}", 5, 1 + (n * 3 + m) % 20)
                   for n in range(90) for m in range(1 + n % 7)]  # fmt: skip


def prepared(settings: Settings, rows: list[Row], **options: Any) -> tuple[Commit, Commit]:
    taken = ingest(settings, [rows])
    core = kcore.run("d", taken, k=0, settings=settings)
    return core, sequences.run("d", taken, core, settings=settings, **options)


def since(strategy: str) -> dict[str, Any]:
    return {"since": datetime(1970, 1, 11, tzinfo=UTC)} if strategy == "since" else {}


def of_events(settings: Settings, core: Commit, made: Commit) -> dict[str, list[tuple[str, str]]]:
    """User → items and folds, by external ids."""
    users, items = ids(settings, "users", core), ids(settings, "items", core)
    found: dict[str, list[tuple[str, str]]] = {}
    order = [("sequence_id", "ascending"), ("position", "ascending")]
    for row in table(settings, "sequence_splits", made).sort_by(order).to_pylist():
        event = items[row["item_idx"]], row["fold"]
        found.setdefault(users[row["sequence_id"]], []).append(event)
    return found


@pytest.mark.parametrize("strategy", OF_SEQUENCES)
def test_the_stage_keeps_events_and_pairs_whatever_the_dumps_order(
    settings: Settings, tmp_path: Path, strategy: str
) -> None:
    core, ordered_ = prepared(settings, ROWS)
    made = split.run("d", core, strategy=strategy, sequences=ordered_, settings=settings,
                     **since(strategy))  # fmt: skip
    got = of_events(settings, core, made)
    unique = {(user, item, day) for user, item, _, day in ROWS}
    rows: Rows = ordered([(u, i, 5.0, d * DAY) for u, i, d in unique], Options())
    moment = 10 * DAY if strategy == "since" else None
    wanted = folds(rows, Split(strategy, since=moment))
    assert got == {user: [(item, fold) for (item, _), fold in zip(rows[user], wanted[user],
                          strict=True)] for user in rows}  # fmt: skip
    kept = table(settings, "sequence_splits", made).to_pylist()
    assert {(row["strategy"], row["split_seed"]) for row in kept} == {(strategy, 0)}
    again = split.run("d", core, strategy=strategy, sequences=ordered_, settings=settings,
                      **since(strategy))  # fmt: skip
    assert (again.found, again.key) == (True, made.key)

    shuffled = random.Random(3).sample(ROWS, len(ROWS))
    other = Settings(warehouse=tmp_path / "other", data_engine="duckdb")
    other_core, other_ordered = prepared(other, shuffled)
    made = split.run("d", other_core, strategy=strategy, sequences=other_ordered, settings=other,
                     **since(strategy))  # fmt: skip
    assert of_events(other, other_core, made) == got


def test_a_split_of_pairs_is_what_it_was(settings: Settings) -> None:
    """The same key and folds without sequences, beside one of them."""
    core, ordered_ = prepared(settings, ROWS)
    pairs = split.run("d", core, strategy="last_out", settings=settings)
    inputs: dict[str, Any] = {"kcore": core.key, "files": {}}
    params = {"strategy": "last_out", "split_seed": 0, "test_share": None}
    assert pairs.key == stage.stage_key("split", 2, inputs, params)
    assert set(table(settings, "splits", pairs)["fold"].to_pylist()) == {"train", "valid", "test"}
    sequenced = split.run("d", core, strategy="last_out", sequences=ordered_, settings=settings)
    taken = stage.history(settings.storage.table_uri("d", "sources"), "sources")[0]
    shorter = sequences.run("d", taken, core, max_length=4, settings=settings)
    third = split.run("d", core, strategy="last_out", sequences=shorter, settings=settings)
    assert len({pairs.key, sequenced.key, third.key}) == 3
    assert split.run("d", core, strategy="last_out", settings=settings).found


def test_known_pairs_of_test_users_are_never_trained_on(settings: Settings) -> None:
    core, ordered_ = prepared(settings, ROWS)
    made = split.run("d", core, strategy="by_user", sequences=ordered_, settings=settings)
    got = of_events(settings, core, made)
    tested = [user for user, found in got.items() if "test" in {fold for _, fold in found}]
    assert tested
    for user in tested:
        assert not {fold for _, fold in got[user]} & set(FITTED)


@pytest.mark.parametrize(
    ("strategy", "rows", "says"),
    [
        ("last_out", [("a", "x", 5, 1), ("a", "y", 5, 2), ("b", "x", 5, 3)], "valid"),
        ("by_user", [(f"u{n}", "x", 5, n) for n in range(40)], "valid"),
        ("last_out", [("a", "x", 5, 1), ("a", "x", 5, 2), ("a", "x", 5, 3)], "valid"),
        ("global_time", [("a", "x", 5, 1), ("b", "x", 5, 9)], "valid"),
    ],
)
def test_sequences_too_short_for_the_split_are_refused(
    settings: Settings, strategy: str, rows: list[Row], says: str
) -> None:
    core, ordered_ = prepared(settings, rows)
    with pytest.raises(UsageError, match=says) as caught:
        split.run("d", core, strategy=strategy, sequences=ordered_, settings=settings)
    assert f"--split {strategy}" in str(caught.value)
    assert not stage.history(settings.storage.table_uri("d", "splits"), "splits")


@pytest.mark.parametrize("day", [1, 40])
def test_a_moment_outside_the_data_is_refused(settings: Settings, day: int) -> None:
    core, ordered_ = prepared(settings, ROWS)
    with pytest.raises(UsageError, match="--since"):
        split.run("d", core, strategy="since", sequences=ordered_, settings=settings,
                  since=datetime.fromtimestamp(day * 86_400, UTC))  # fmt: skip


@pytest.mark.parametrize("strategy", ["global_time", "since"])
def test_lists_have_no_time_to_be_split_by(
    settings: Settings, tmp_path: Path, strategy: str
) -> None:
    (tmp_path / "lists.jsonl").write_text("[9, 3, 9, 1]\n[1, 3, 2]\n")
    taken = real_ingest.run(IngestRequest("d", (tmp_path / "lists.jsonl",)), settings)
    core = kcore.run("d", taken, k=0, settings=settings)
    made = sequences.run("d", taken, core, settings=settings)
    with pytest.raises(UsageError, match="by_user"):
        split.run("d", core, strategy=strategy, sequences=made, settings=settings,
                  **since(strategy))  # fmt: skip
    last = split.run("d", core, strategy="last_out", sequences=made, settings=settings)
    assert (last.summary["valid_events"], last.summary["test_events"]) == (2, 2)


def test_by_user_is_of_sequences_and_random_is_not(settings: Settings) -> None:
    core, ordered_ = prepared(settings, ROWS)
    with pytest.raises(UsageError, match="--sequences"):
        split.run("d", core, strategy="by_user", settings=settings)
    with pytest.raises(UsageError, match="--split"):
        split.run("d", core, strategy="random", sequences=ordered_, settings=settings)
