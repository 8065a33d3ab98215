"""The kcore stage: numbers, both paths, appending, and being found done."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from by_hand import Row, ids, ingest, named, table
from deltalake import write_deltalake
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from jobs import filter_kcore, kcore_spark
from jobs.filter_kcore import run
from mrl4rec.errors import Mrl4recError, UsageError
from mrl4rec.settings import Settings
from mrl4rec.stage import Commit
from mrl4rec.tables import GATES

TABLES = ("users", "items", "interactions")


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let caplog hear the project's log, whoever else has taken it over."""
    monkeypatch.setattr(filter_kcore.log.parent, "propagate", True)


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


def spark_only(settings: Settings) -> Settings:
    return settings.model_copy(update={"kcore_driver_pairs": 0})


def rerun(settings: Settings, ingested: Commit, **how: object) -> Commit:
    """Forget the stage's tables, then run it."""
    for name in TABLES:
        shutil.rmtree(settings.table_uri("d", name), ignore_errors=True)
    return run("d", ingested, settings=settings, **how)  # type: ignore[arg-type]


def contents(settings: Settings, core: Commit) -> dict[str, list[dict[str, object]]]:
    """All rows of the stage's tables, in the order of their keys."""
    out = {}
    for name in TABLES:
        rows = table(settings, name, core).to_pylist()
        out[name] = sorted(rows, key=lambda row: [v for k, v in row.items() if k.endswith("idx")])
    return out


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


def test_spark_and_memory_agree(spark: SparkSession, settings: Settings) -> None:
    ingested = ingest(settings, [tangled(60, 50, 220, 1), tangled(60, 50, 100, 2)])
    how = {"k": 3, "min_rating": 2.0}
    here = rerun(settings, ingested, **how)
    expected = contents(settings, here)
    assert 0 < here.summary["interactions"] < 250
    there = rerun(spark_only(settings), ingested, **how)
    assert contents(settings, there) == expected
    assert (there.key, there.summary) == (here.key, here.summary)
    # Spark for the first round, memory for the rest.
    limit = int(here.summary["interactions"]) + 15
    between = rerun(settings.model_copy(update={"kcore_driver_pairs": limit}), ingested, **how)
    assert contents(settings, between) == expected
    assert between.summary == here.summary


@pytest.mark.parametrize("handed_over", [False, True])
def test_ids_that_share_a_key_are_found_and_get_others(
    spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch, handed_over: bool
) -> None:
    ingested = ingest(settings, [caterpillar(2)])
    here = rerun(settings, ingested, k=2)
    expected = contents(settings, here)
    whole, asked = kcore_spark.key, []

    def colliding(id_: Column, seed: int) -> Column:
        asked.append(seed)
        return whole(id_, seed) % 2 if seed < 2 else whole(id_, seed)

    monkeypatch.setattr(kcore_spark, "key", colliding)
    chosen = settings.model_copy(update={"kcore_driver_pairs": 7 if handed_over else 0})
    there = rerun(chosen, ingested, k=2)
    assert set(asked) == {0, 1, 2}
    assert contents(settings, there) == expected
    assert there.summary == here.summary


def test_keys_that_always_collide_are_refused(
    spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kcore_spark, "key", lambda id_, seed: F.length(id_).cast("long"))
    monkeypatch.setattr(kcore_spark, "SEEDS", range(2))
    with pytest.raises(Mrl4recError, match="same 64-bit key"):
        run("d", ingest(settings, [caterpillar(3)]), k=2, settings=spark_only(settings))


def test_golden_digest(settings: Settings) -> None:
    """The output for the same input: where this changes, filter_kcore.CODE must rise."""
    core = rerun(settings, ingest(settings, [tangled(60, 50, 220, 1)]), k=3)
    text = json.dumps(contents(settings, core), default=str)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "3a6e2ed3598566fa"
    assert filter_kcore.CODE == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("F16")
def test_many_rounds_keep_plan_and_memory_bounded(spark: SparkSession, settings: Settings) -> None:
    ingested = ingest(settings, [caterpillar(52)])
    here = rerun(settings, ingested, k=2)
    expected = contents(settings, here)
    assert here.summary["rounds"] == 52
    held = spark.sparkContext._jsc.getPersistentRDDs().size()
    there = rerun(spark_only(settings), ingested, k=2)
    assert contents(settings, there) == expected
    assert there.summary == here.summary
    assert spark.sparkContext._jsc.getPersistentRDDs().size() - held < 12  # not one a round


@pytest.mark.parametrize("on_spark", [False, True])
@pytest.mark.fault("F16")
def test_empty_core_is_committed_and_said(
    spark: SparkSession, settings: Settings, caplog: pytest.LogCaptureFixture, on_spark: bool
) -> None:
    chosen = spark_only(settings) if on_spark else settings
    core = run("d", ingest(settings, [caterpillar(2)]), k=3, settings=chosen)
    assert [len(rows) for rows in contents(settings, core).values()] == [0, 0, 0]
    assert core.summary["interactions"] == 0
    assert "3-core of d is empty" in caplog.text


def test_known_ids_keep_their_numbers(spark: SparkSession, settings: Settings) -> None:
    old: list[Row] = [(u, i, None, 1) for u in "ab" for i in "xy"] + [("c", "x", None, 2)]
    first = run("d", ingest(settings, [old]), k=2, settings=settings)
    new: list[Row] = [("d", "w", None, 3), ("d", "x", None, 3), ("c", "w", None, 4)]
    both = ingest(settings, [new], mode="append", name="b")
    second = run("d", both, k=2, settings=settings)
    assert ids(settings, "users", first) == ["a", "b"]
    assert ids(settings, "users", second) == ["a", "b", "c", "d"]
    assert ids(settings, "items", second) == ["x", "y", "w"]
    expected = contents(settings, second)
    # The same two versions on Spark; and the first is still there to be found.
    rerun(settings, ingest(settings, [old], dataset="d"), k=2)
    again = ingest(settings, [new], mode="append", name="b")
    there = run("d", again, k=2, settings=spark_only(settings))
    assert contents(settings, there) == expected


def test_a_user_who_dropped_out_stays_in_users(settings: Settings) -> None:
    square: list[Row] = [(u, i, None, 1) for u in "ab" for i in "xy"]
    run("d", ingest(settings, [square]), k=2, settings=settings)
    other: list[Row] = [(u, i, None, 1) for u in "bc" for i in "xy"]
    core = run("d", ingest(settings, [other], name="b"), k=2, settings=settings)
    assert ids(settings, "users", core) == ["a", "b", "c"]
    assert (core.summary["users"], core.summary["users_table"]) == (2, 3)


def test_found_done_without_a_session(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ingested = ingest(settings, [tangled(20, 10, 100, 3)])
    core = run("d", ingested, k=2, settings=settings)
    monkeypatch.setattr(filter_kcore, "_in_memory", pytest.fail)
    monkeypatch.setattr(filter_kcore, "_on_spark", pytest.fail)
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
    for file in Path(settings.table_uri("d", "users")).glob("*.parquet"):
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
    write_deltalake(settings.table_uri("d", "gates"), pa.Table.from_pylist([verdict], GATES.schema))
    healed: list[Row] = [(u, i, None, 2) for u in "ac" for i in "xy"]
    third = run("d", ingest(settings, [[*good, *healed]], name="c"), k=2, settings=settings)
    assert ids(settings, "users", second) == ["a", "b", "p", "q"]
    assert ids(settings, "users", third) == ["a", "b", "c"]
    assert third.summary["base"] == first.key


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


@pytest.mark.parametrize("on_spark", [False, True])
def test_min_rating_needs_ratings(spark: SparkSession, settings: Settings, on_spark: bool) -> None:
    ingested = ingest(settings, [caterpillar(3)])
    with pytest.raises(UsageError, match="have no ratings"):
        run("d", ingested, k=2, min_rating=4,
            settings=spark_only(settings) if on_spark else settings)  # fmt: skip


def test_rows_without_rating_are_said(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    rows: list[Row] = [("a", "x", 4.0, 1), ("a", "y", None, 1), ("b", "x", 3.5, 1)]
    core = run("d", ingest(settings, [rows]), k=0, min_rating=4, settings=settings)
    assert core.summary["interactions"] == 1
    assert core.summary["without_rating"] == 1
    assert "1 reviews have no rating" in caplog.text


@pytest.mark.parametrize("on_spark", [False, True])
def test_integer_ids_are_the_numbers(
    spark: SparkSession, settings: Settings, on_spark: bool
) -> None:
    rows: list[Row] = [("10", "2", None, None), ("3", "0", None, None), ("3", "2", None, None)]
    ingested = ingest(settings, [rows], ids="integer")
    core = run("d", ingested, k=0, settings=spark_only(settings) if on_spark else settings)
    assert ids(settings, "users", core) == [str(n) for n in range(11)]
    assert ids(settings, "items", core) == ["0", "1", "2"]
    pairs = table(settings, "interactions", core)
    assert sorted(zip(pairs[0].to_pylist(), pairs[1].to_pylist(), strict=True)) == [
        (3, 0),
        (3, 2),
        (10, 2),
    ]
    assert (core.summary["users"], core.summary["users_table"]) == (2, 11)


@pytest.mark.parametrize("on_spark", [False, True])
def test_rows_of_an_unlisted_source_are_refused(
    spark: SparkSession, settings: Settings, on_spark: bool
) -> None:
    ingested = ingest(settings, [caterpillar(3)])
    ingest(settings, [caterpillar(4)], name="b")  # sources now lists b only
    stale = Commit("ingest", "x" * 64, "sources", ingested.version + 1, ingested.outputs)
    with pytest.raises(Mrl4recError, match="sources does not list"):
        run("d", stale, k=2, settings=spark_only(settings) if on_spark else settings)


def test_negative_k_is_refused(settings: Settings) -> None:
    with pytest.raises(UsageError, match="k ≥ 0"):
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
