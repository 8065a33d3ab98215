"""The kcore stage: its definition, numbers, both engines, appending, and being found done."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from by_hand import Row, given, ids, ingest, named, table
from deltalake import write_deltalake
from hypothesis import HealthCheck, example
from hypothesis import given as given_any
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs import kcore as job
from jobs.kcore import run
from mrl4rec.core import stage
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.tables import GATES, INTERACTIONS, ITEMS, USERS
from mrl4rec.transforms import kcore
from mrl4rec.transforms.engine import Engine
from mrl4rec.transforms.opening import open_engine

TABLES = ("users", "items", "interactions")


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let caplog hear the project's log, whoever else has taken it over."""
    monkeypatch.setattr(job.log.parent, "propagate", True)


def tangled(n_users: int, n_items: int, n: int, seed: int) -> list[Row]:
    """Random rows with repeated pairs, mixed ratings and days, some of each missing."""
    rng = np.random.default_rng(seed)
    return [
        (
            f"u{int(u)}",
            f"i{int(i)}",
            None if rng.random() < 0.1 else float(rng.integers(1, 6)),
            None if rng.random() < 0.1 else int(rng.integers(15_000, 15_100)),
        )
        for u, i in zip(
            rng.integers(0, n_users, n), (rng.random(n) ** 2 * n_items).astype(int), strict=True
        )
    ]


def caterpillar(n: int) -> list[Row]:
    """A path of n items hanging on a square: its 2-core is the square, one item a round."""
    pairs = [(f"u{j + d}", f"i{j}") for j in range(n) for d in (0, 1)]
    square = [(user, item) for user in (f"u{n}", "v") for item in ("z0", "z1")]
    return [(user, item, None, None) for user, item in [*pairs, *square]]


ODD = ("~", "!", "|", "a|b", "a", "A", "a ", "\u00e9", "e\u0301", "\U0001f600", "\uffff", "0", "00",
       "'", '"', "\\", "%", "\u4e2d\u6587", "z" * 256)  # fmt: skip
"""Ids in which two engines could differ: in order, in equality, in length or by quoting."""


def odd(n: int, seed: int) -> list[Row]:
    """Random rows between odd ids, repeats included."""
    rows = tangled(len(ODD), len(ODD), n, seed)
    return [(ODD[int(u[1:])], ODD[int(i[1:])], rating, day) for u, i, rating, day in rows]


def rerun(settings: Settings, ingested: Commit, **how: object) -> Commit:
    """Forget the stage's tables, then run it."""
    for name in TABLES:
        shutil.rmtree(settings.storage.table_uri("d", name), ignore_errors=True)
    return run("d", ingested, settings=settings, **how)  # type: ignore[arg-type]


def contents(settings: Settings, core: Commit) -> dict[str, list[dict[str, object]]]:
    """All rows of the stage's tables, in the order of their keys."""
    out = {}
    for name in TABLES:
        rows = table(settings, name, core).to_pylist()
        out[name] = sorted(rows, key=lambda row: [v for k, v in row.items() if k.endswith("idx")])
    return out


def test_a_path_that_sql_has_to_quote(tmp_path: Path) -> None:
    there = Settings(warehouse=tmp_path / 'it\'s "odd" %x; {a,b} *ä', data_engine="duckdb")
    core = run(
        "d", ingest(there, [[("a", "x", None, 1), ("b", "x", None, 2)]]), k=1, settings=there
    )
    assert ids(there, "users", core) == ["a", "b"]


def test_numbers_by_first_appearance_among_the_core(settings: Settings) -> None:
    rows: list[Row] = [
        ("loner", "x", None, 1),
        ("b", "y", None, 9),
        ("a", "x", None, 4),
        ("b", "x", None, 3),
        ("a", "y", None, 2),
        ("a", "y", None, 1),
    ]
    core = run("d", ingest(settings, [rows]), k=2, settings=settings)
    assert ids(settings, "users", core) == ["b", "a"]  # `loner` came first but is not in the core
    assert ids(settings, "items", core) == ["y", "x"]
    assert core.summary["rounds"] == 1
    got = table(settings, "interactions", core).to_pylist()
    days = {(r["user_idx"], r["item_idx"]): r["reviewed_at"].day - 1 for r in got}
    assert days == {(0, 0): 9, (0, 1): 3, (1, 0): 1, (1, 1): 4}  # (a, y): the smaller of 2 and 1
    assert (core.summary["interactions"], core.summary["users"], core.summary["items"]) == (4, 2, 2)


def test_a_second_source_comes_after_the_first_whatever_its_record_numbers(
    settings: Settings,
) -> None:
    first: list[Row] = [("z", "q", None, 1), ("z", "p", None, 1)]
    second: list[Row] = [("a", "p", None, 1)]
    core = run("d", ingest(settings, [first, second]), k=0, settings=settings)
    assert ids(settings, "users", core) == ["z", "a"]


PAIRS = st.sets(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=50)


def naive(pairs: set[tuple[str, str]], k: int) -> set[tuple[str, str]]:
    """Drop one offender at a time until there is none."""
    pairs = set(pairs)
    while True:
        for side in (0, 1):
            names = [pair[side] for pair in pairs]
            poor = next((name for name in names if names.count(name) < k), None)
            if poor is not None:
                pairs = {pair for pair in pairs if pair[side] != poor}
                break
        else:
            return pairs


def rounds_of(pairs: set[tuple[str, str]], k: int) -> int:
    """Rounds as they are defined: users, then items among the pairs left."""
    rounds = 0
    while True:
        left = pairs
        for side in (0, 1):
            names = [pair[side] for pair in left]
            left = {pair for pair in left if names.count(pair[side]) >= k}
        if left == pairs:
            return rounds
        pairs, rounds = left, rounds + 1


def built(
    engine: Engine, rows: list[Row], k: int, *, integer_ids: bool = False
) -> tuple[dict[str, int], set[tuple[str, str]]]:
    """The core of rows, and its pairs by external id."""
    given(engine, rows)
    for side in (USERS, ITEMS):
        engine.add(f"base_{side.name}", side.schema.empty_table())
    core = kcore.build(engine, k=k, min_rating=None, integer_ids=integer_ids)
    pairs = engine.query(
        "SELECT user_id, item_id FROM core_interactions "
        "JOIN core_users USING (user_idx) JOIN core_items USING (item_idx)"
    )
    return core, set(zip(*(column.to_pylist() for column in pairs.columns), strict=True))


@hypothesis_settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given_any(PAIRS, st.integers(0, 4))
@example({(0, 0), (1, 0), (1, 1), (2, 1)}, 2)  # a path: one round takes all
@example(set(), 2)
def test_core_is_the_largest_with_k_on_both_sides(
    engine: Engine, numbers: set[tuple[int, int]], k: int
) -> None:
    pairs = {(f"u{user}", f"i{item}") for user, item in numbers}
    core, got = built(engine, [(*pair, None, 1) for pair in sorted(pairs)], k)
    assert got == naive(pairs, k)
    assert core["rounds"] == rounds_of(pairs, k)
    assert (core["interactions"], core["users"], core["items"]) == (
        len(got), len({pair[0] for pair in got}), len({pair[1] for pair in got})
    )  # fmt: skip


def test_engines_agree(engines: tuple[Engine, Engine]) -> None:
    """Odd ids, repeated pairs, mixed ratings, and an earlier core whose numbers go on."""
    rows, found = odd(400, 1), []
    for engine in engines:
        given(engine, rows)
        for side in ("user", "item"):
            table = {f"{side}_idx": pa.array([0, 1], pa.int32()), f"{side}_id": ["gone", ODD[3]]}
            engine.add(f"base_{side}s", pa.table(table))
        core = kcore.build(engine, k=3, min_rating=2.0, integer_ids=False)
        tables = [engine.query(f"SELECT * FROM core_{table}").to_pylist() for table in
                  ("users", "items", "interactions")]  # fmt: skip
        found.append((core, [sorted(map(repr, rows)) for rows in tables]))
    assert found[0] == found[1]
    assert 0 < core["interactions"] < len({row[:2] for row in rows})
    assert core["users_table"] == core["users"] + 1


@pytest.mark.fault("F16")
def test_rounds_hold_on_to_nothing_on_spark(spark_settings: Settings) -> None:
    """A core of many rounds: what they left in Spark's memory is let go."""
    from pyspark.sql import SparkSession

    def held() -> int:  # Delta holds what it knows of the tables that other tests read
        session = SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()
        return int(session.sparkContext._jsc.getPersistentRDDs().size())

    with open_engine(spark_settings) as engine:
        before = held()
        core, got = built(engine, caterpillar(6), 2)
        after = held()
    assert (core["rounds"], len(got)) == (6, 4)
    assert after - before < 16  # 6 rounds of 4 relations are more


def test_golden_digest(settings: Settings) -> None:
    """The output for the same input: where this changes, jobs.kcore.CODE must rise."""
    core = rerun(settings, ingest(settings, [tangled(60, 50, 220, 1)]), k=3)
    text = json.dumps(contents(settings, core), default=str)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "3a6e2ed3598566fa"
    assert job.CODE == 2


def emptied(settings: Settings) -> None:
    core = run("d", ingest(settings, [caterpillar(2)]), k=3, settings=settings)
    assert [len(rows) for rows in contents(settings, core).values()] == [0, 0, 0]
    assert core.summary["interactions"] == 0
    assert run("d", ingest(settings, [caterpillar(2)]), k=3, settings=settings).found


@pytest.mark.fault("F16")
def test_empty_core_is_committed_and_said(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    emptied(settings)
    assert "3-core of d is empty" in caplog.text


@pytest.mark.fault("F16")
def test_empty_core_is_committed_by_spark(spark_settings: Settings) -> None:
    emptied(spark_settings)


@pytest.mark.fault("F16")
def test_many_rounds(settings: Settings) -> None:
    core = run("d", ingest(settings, [caterpillar(52)]), k=2, settings=settings)
    assert (core.summary["rounds"], core.summary["interactions"]) == (52, 4)


def test_known_ids_keep_their_numbers(settings: Settings) -> None:
    old: list[Row] = [(u, i, None, 1) for u in "ab" for i in "xy"] + [("c", "x", None, 2)]
    first = run("d", ingest(settings, [old]), k=2, settings=settings)
    new: list[Row] = [("d", "w", None, 3), ("d", "x", None, 3), ("c", "w", None, 4)]
    both = ingest(settings, [new], mode="append", name="b")
    second = run("d", both, k=2, settings=settings)
    assert ids(settings, "users", first) == ["a", "b"]
    assert ids(settings, "users", second) == ["a", "b", "c", "d"]
    assert ids(settings, "items", second) == ["x", "y", "w"]
    old_rows = contents(settings, first)["interactions"]
    assert [
        row for row in contents(settings, second)["interactions"] if row in old_rows
    ] == old_rows


def test_a_user_who_dropped_out_stays_in_users(settings: Settings) -> None:
    square: list[Row] = [(u, i, None, 1) for u in "ab" for i in "xy"]
    run("d", ingest(settings, [square]), k=2, settings=settings)
    other: list[Row] = [(u, i, None, 1) for u in "bc" for i in "xy"]
    core = run("d", ingest(settings, [other], name="b"), k=2, settings=settings)
    assert ids(settings, "users", core) == ["a", "b", "c"]
    assert (core.summary["users"], core.summary["users_table"]) == (2, 3)


def test_found_done_without_an_engine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ingested = ingest(settings, [tangled(20, 10, 100, 3)])
    core = run("d", ingested, k=2, settings=settings)
    monkeypatch.setattr(job, "open_engine", pytest.fail)
    again = run("d", ingested, k=2, settings=settings)
    assert again.found
    assert (again.version, again.outputs, again.summary) == (
        core.version,
        core.outputs,
        core.summary,
    )


def test_lost_files_are_made_again(settings: Settings) -> None:
    ingested = ingest(settings, [tangled(20, 10, 100, 3)])
    core = run("d", ingested, k=2, settings=settings)
    for file in Path(settings.storage.table_uri("d", "users")).glob("*.parquet"):
        file.unlink()
    again = run("d", ingested, k=2, settings=settings)
    assert not again.found
    assert again.key == core.key
    assert len(ids(settings, "users", again)) == core.summary["users"]


def test_numbers_do_not_go_on_from_a_core_that_failed(settings: Settings) -> None:
    good: list[Row] = [(u, i, None, 1) for u in "ab" for i in "xy"]
    bad: list[Row] = [(u, i, None, 1) for u in "pq" for i in "xy"]
    first = run("d", ingest(settings, [good]), k=2, settings=settings)
    second = run("d", ingest(settings, [[*good, *bad]], name="b"), k=2, settings=settings)
    verdict = dict.fromkeys(GATES.schema.names, "") | {
        "table": "interactions", "version": str(second.version), "verdict": "fail",
        "declared": 1, "evaluated": 1, "failed": 1, "judged_at": datetime.now(UTC),
    }  # fmt: skip
    write_deltalake(
        settings.storage.table_uri("d", "gates"), pa.Table.from_pylist([verdict], GATES.schema)
    )
    healed: list[Row] = [(u, i, None, 2) for u in "ac" for i in "xy"]
    third = run("d", ingest(settings, [[*good, *healed]], name="c"), k=2, settings=settings)
    assert ids(settings, "users", second) == ["a", "b", "p", "q"]
    assert ids(settings, "users", third) == ["a", "b", "c"]
    assert third.summary["base"] == first.key


def test_a_commit_in_between_is_noticed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody writes the marker while the stage computes: nothing is laid over it."""
    ingested = ingest(settings, [tangled(20, 10, 100, 3)])
    build, uri = kcore.build, settings.storage.table_uri("d", "interactions")

    def overtaken(*args: Any, **how: Any) -> dict[str, int]:
        write_deltalake(uri, INTERACTIONS.schema.empty_table(), mode="append")
        return build(*args, **how)

    monkeypatch.setattr(kcore, "build", overtaken)
    with pytest.raises(Mrl4recError) as caught:
        run("d", ingested, k=2, settings=settings)
    assert caught.value.where == uri
    assert not stage.history(uri, "interactions")
    monkeypatch.undo()
    assert not run("d", ingested, k=2, settings=settings).found


def test_other_parameters_are_another_core(settings: Settings) -> None:
    ingested = ingest(settings, [tangled(20, 10, 100, 3)])
    two = run("d", ingested, k=2, settings=settings)
    three = run("d", ingested, k=3, settings=settings)
    assert three.version == two.version + 1
    assert three.key != two.key
    assert run("d", ingested, k=2, settings=settings).version == two.version


@pytest.mark.fault("F10")
def test_order_of_dumps_changes_ids_only(settings: Settings) -> None:
    one, two = tangled(30, 20, 150, 4), tangled(30, 20, 150, 5)
    seen = []
    for dumps in ([one, two], [two, one]):
        core = rerun(settings, ingest(settings, dumps), k=3)
        pairs = named(settings, core, table(settings, "interactions", core))
        seen.append((pairs, ids(settings, "users", core)))
    assert seen[0][0] == seen[1][0]
    assert seen[0][1] != seen[1][1]
    assert sorted(seen[0][1]) == sorted(seen[1][1])


def test_min_rating_needs_ratings(settings: Settings) -> None:
    ingested = ingest(settings, [caterpillar(3)])
    with pytest.raises(UsageError, match="--min-rating"):
        run("d", ingested, k=2, min_rating=4, settings=settings)


def test_rows_without_rating_are_said(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    rows: list[Row] = [("a", "x", 4.0, 1), ("a", "y", None, 1), ("b", "x", 3.5, 1)]
    core = run("d", ingest(settings, [rows]), k=0, min_rating=4, settings=settings)
    assert core.summary["interactions"] == 1
    assert core.summary["without_rating"] == 1
    assert "1 reviews have no rating" in caplog.text


def kept_integers(settings: Settings) -> None:
    rows: list[Row] = [("10", "2", None, None), ("3", "0", None, None), ("3", "2", None, None)]
    core = run("d", ingest(settings, [rows], ids="integer"), k=0, settings=settings)
    assert ids(settings, "users", core) == [str(n) for n in range(11)]
    assert ids(settings, "items", core) == ["0", "1", "2"]
    pairs = table(settings, "interactions", core)
    assert pairs["reviewed_at"].null_count == 3
    numbers = zip(pairs[0].to_pylist(), pairs[1].to_pylist(), strict=True)
    assert sorted(numbers) == [(3, 0), (3, 2), (10, 2)]
    assert (core.summary["users"], core.summary["users_table"]) == (2, 11)


def test_integer_ids_are_the_numbers(settings: Settings) -> None:
    kept_integers(settings)


def test_integer_ids_are_the_numbers_on_spark(spark_settings: Settings) -> None:
    kept_integers(spark_settings)


@pytest.mark.parametrize("bad", ["007", "-1", "1.0", "x", "", "1e3", " 1", "1_0", "+1", "\u0661"])
def test_integer_ids_must_be_plain_numbers(engine: Engine, bad: str) -> None:
    with pytest.raises(Mrl4recError, match=re.escape(repr(bad))):
        built(engine, [("3", "1", None, 1), (bad, "1", None, 1)], 0, integer_ids=True)


@pytest.mark.parametrize("large", ["2000000", "99999999999"])
def test_integer_ids_far_apart_are_refused(engine: Engine, large: str) -> None:
    with pytest.raises(Mrl4recError, match=f"{int(large):,}"):
        built(engine, [("3", "1", None, 1), (large, "1", None, 1)], 0, integer_ids=True)


def test_rows_without_an_id_are_refused(engine: Engine) -> None:
    with pytest.raises(Mrl4recError, match="item_id"):
        built(engine, [("a", "x", None, 1), ("a", None, None, 1)], 0)  # type: ignore[list-item]


def test_rows_of_an_unlisted_source_are_refused(settings: Settings) -> None:
    ingested = ingest(settings, [caterpillar(3)])
    ingest(settings, [caterpillar(4)], name="b")  # sources now lists b only
    stale = Commit("ingest", "x" * 64, "sources", ingested.version + 1, ingested.outputs)
    with pytest.raises(Mrl4recError, match="sources"):
        run("d", stale, k=2, settings=settings)


def test_negative_k_is_refused(settings: Settings) -> None:
    with pytest.raises(UsageError, match="--kcore"):
        run("d", ingest(settings, [caterpillar(3)]), k=-1, settings=settings)


def test_phones_gets_the_authors_numbers(settings: Settings, real_data: Path) -> None:
    file = real_data / "amazon2014" / "Cell_Phones_and_Accessories_5.interactions.csv.gz"
    with gzip.open(file) as opened:
        csv = pd.read_csv(opened, dtype={"reviewerID": str, "asin": str})
    rows = zip(csv.reviewerID, csv.asin, csv.unixReviewTime // 86_400, strict=True)
    ingested = ingest(settings, [[(user, item, None, day) for user, item, day in rows]])
    core = run("d", ingested, k=5, settings=settings)
    summary = core.summary
    assert (summary["interactions"], summary["users"], summary["items"]) == (
        194_439,
        27_879,
        10_429,
    )
    assert summary["rounds"] == 0
    users, items = ids(settings, "users", core), ids(settings, "items", core)
    assert [users[n] for n in csv.author_uid] == csv.reviewerID.tolist()
    assert [items[n] for n in csv.author_iid] == csv.asin.tolist()
