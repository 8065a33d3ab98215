"""The split stage: folds as invariants, and the authors' own files."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from by_hand import Row, ingest, table
from pyspark.sql import DataFrame, SparkSession

from jobs import filter_kcore
from jobs.split_interactions import CODE, STRATEGIES, assign, run
from mrl4rec import split_files, stage
from mrl4rec.errors import Mrl4recError, UsageError
from mrl4rec.settings import Settings
from mrl4rec.stage import Commit

HASHED = [s for s in STRATEGIES if s != "predefined"]
SHARE = 0.2
CUT = datetime(2011, 2, 11, tzinfo=UTC)
"""Day 15,016: the last four of the twenty are test."""
Folds = dict[tuple[str, str], str]


def frame(spark: SparkSession, n: int = 3000, seed: int = 0) -> DataFrame:
    """Distinct pairs of 200 users and 300 items on 20 days: many ties; one user has one pair."""
    rng = np.random.default_rng(seed)
    pairs = sorted(
        {
            (int(u), int(i))
            for u, i in zip(rng.integers(0, 200, n), rng.integers(0, 300, n), strict=True)
        }
    )
    days = pa.array(rng.integers(15_000, 15_020, len(pairs)) * 86_400_000_000)
    return spark.createDataFrame(
        pa.table(
            {
                "user_id": [f"u{u}" for u, _ in pairs] + ["alone"],
                "item_id": [f"i{i}" for _, i in pairs] + ["i0"],
                "reviewed_at": pa.concat_arrays([days, days[:1]]).cast(
                    pa.timestamp("us", tz="UTC")
                ),
            }
        )
    )


def folds(pairs: DataFrame, strategy: str, seed: int = 0) -> Folds:
    cut = CUT if strategy == "since" else None
    chosen = assign(pairs, strategy, seed, SHARE, cut)
    rows = chosen.select("user_id", "item_id", "fold").collect()
    assert len({row[:2] for row in rows}) == len(rows)  # no pair in two folds
    return {(row[0], row[1]): row[2] for row in rows}


@pytest.fixture(scope="module")
def pairs(spark: SparkSession) -> DataFrame:
    return frame(spark).cache()


@pytest.fixture(scope="module")
def times(pairs: DataFrame) -> dict[tuple[str, str], float]:
    return {
        (r[0], r[1]): r[2].timestamp()
        for r in pairs.select("user_id", "item_id", "reviewed_at").collect()
    }


@pytest.fixture(scope="module")
def by_strategy(pairs: DataFrame) -> dict[str, Folds]:
    return {strategy: folds(pairs, strategy) for strategy in HASHED}


@pytest.mark.parametrize("strategy", HASHED)
def test_every_pair_has_one_fold(
    by_strategy: dict[str, Folds], times: dict[tuple[str, str], float], strategy: str
) -> None:
    got = by_strategy[strategy]
    assert set(got) == set(times)
    counts = Counter(got.values())
    assert set(counts) == {"train", "valid", "test"}
    kept = counts["train"] + counts["valid"]
    assert abs(counts["valid"] - 0.1 * kept) < 4 * (0.09 * kept) ** 0.5


def test_random_is_a_coin_for_each_pair(by_strategy: dict[str, Folds]) -> None:
    got = by_strategy["random"]
    n, tested = len(got), Counter(got.values())["test"]
    assert abs(tested - SHARE * n) < 4 * (SHARE * (1 - SHARE) * n) ** 0.5


def test_test_and_valid_are_independent(by_strategy: dict[str, Folds], pairs: DataFrame) -> None:
    """With one hash for both, valid would lie next to test: here another seed's test cuts it."""
    other = folds(pairs, "random", seed=1)
    valid = [pair for pair, fold in by_strategy["random"].items() if fold == "valid"]
    share = sum(other[pair] == "test" for pair in valid) / len(valid)
    assert 0.05 < share < 0.35


def test_per_user_random_rounds_each_users_share(by_strategy: dict[str, Folds]) -> None:
    per_user: dict[str, Counter[str]] = {}
    for (user, _), fold in by_strategy["per_user_random"].items():
        per_user.setdefault(user, Counter())[fold] += 1
    for count in per_user.values():
        n = count.total()
        assert count["test"] == min(int(SHARE * n + 0.5), n - 1)


def test_last_out_takes_a_latest_pair(
    by_strategy: dict[str, Folds], times: dict[tuple[str, str], float]
) -> None:
    got = by_strategy["last_out"]
    users = {user for user, _ in got}
    tested = [pair for pair, fold in got.items() if fold == "test"]
    assert sorted(user for user, _ in tested) == sorted(users - {"alone"})
    for user, item in tested:
        assert times[user, item] == max(t for (u, _), t in times.items() if u == user)


def test_global_time_cuts_the_last_share(
    by_strategy: dict[str, Folds], times: dict[tuple[str, str], float]
) -> None:
    got = by_strategy["global_time"]
    tested = [times[p] for p, fold in got.items() if fold == "test"]
    kept = [times[p] for p, fold in got.items() if fold != "test"]
    assert len(tested) == int(SHARE * len(got) + 0.5)
    assert min(tested) >= max(kept)


def test_since_cuts_at_the_moment_and_the_moment_is_test(
    by_strategy: dict[str, Folds], times: dict[tuple[str, str], float]
) -> None:
    got = by_strategy["since"]
    assert {pair for pair, fold in got.items() if fold == "test"} == {
        pair for pair, time in times.items() if time >= CUT.timestamp()
    }
    assert min(times[pair] for pair in got if got[pair] == "test") == CUT.timestamp()


def test_since_tells_microseconds_apart(spark: SparkSession) -> None:
    moments = [CUT + timedelta(microseconds=n) for n in (-1, 0, 1)]
    pairs = spark.createDataFrame(
        pa.table(
            {
                "user_id": ["u"] * 3,
                "item_id": ["before", "at", "after"],
                "reviewed_at": pa.array(moments, pa.timestamp("us", tz="UTC")),
            }
        )
    )
    got = folds(pairs, "since")
    assert [item for (_, item), fold in sorted(got.items()) if fold == "test"] == ["after", "at"]


@pytest.mark.parametrize("strategy", HASHED)
@pytest.mark.fault("F37", "F38")
def test_partitions_and_time_zone_do_not_matter(
    spark: SparkSession, pairs: DataFrame, by_strategy: dict[str, Folds], strategy: str
) -> None:
    numbers = {
        name: spark.conf.get(name)
        for name in ("spark.sql.shuffle.partitions", "spark.sql.session.timeZone")
    }
    try:
        for partitions, zone in ((7, "Asia/Kathmandu"), (64, "America/New_York")):
            spark.conf.set("spark.sql.shuffle.partitions", partitions)
            spark.conf.set("spark.sql.session.timeZone", zone)
            shuffled = pairs.repartition(partitions, "item_id")
            assert folds(shuffled, strategy) == by_strategy[strategy]
    finally:
        for name, value in numbers.items():
            spark.conf.set(name, str(value))


@pytest.mark.parametrize(
    ("strategy", "digest"),
    [
        ("random", "76132c08c6b39f06"),
        ("per_user_random", "27bd32406cc8df9e"),
        ("last_out", "8faf9d46f7353ad1"),
        ("global_time", "852cc9a5e49b0d34"),
        ("since", "af056557e24463ab"),
    ],
)
def test_golden_digests(by_strategy: dict[str, Folds], strategy: str, digest: str) -> None:
    """The folds of the same pairs: where one changes, split_interactions.CODE must rise."""
    text = json.dumps(sorted(by_strategy[strategy].items()))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest
    assert CODE == 1


@pytest.mark.parametrize("strategy", HASHED)
def test_seeds_differ(pairs: DataFrame, by_strategy: dict[str, Folds], strategy: str) -> None:
    assert folds(pairs, strategy, seed=1) != by_strategy[strategy]


ROWS: list[Row] = [(f"u{n % 7}", f"i{n % 5}", None, 1 + n) for n in range(35)]


def core_of(settings: Settings, rows: list[Row], **how: str) -> Commit:
    return filter_kcore.run("d", ingest(settings, [rows], **how), k=0, settings=settings)


def author_files(folder: Path, train: str, test: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text(train)
    with gzip.open(folder / "test.txt.gz", "wt") as opened:
        opened.write(test)
    return folder


def test_commit_says_what_was_split_and_is_found(spark: SparkSession, settings: Settings) -> None:
    core = core_of(settings, ROWS)
    split = run("d", core, strategy="last_out", split_seed=3, settings=settings)
    summary = split.summary
    assert (summary["train"] + summary["valid"], summary["test"], summary["test_users"]) == (
        28,
        7,
        7,
    )
    assert summary["asked"] == {"test": None, "valid": 0.1}
    assert split.outputs == {"interactions": core.version, **core.outputs}
    rows = table(settings, "splits", split)
    assert set(rows["strategy"].to_pylist()) == {"last_out"}
    assert set(rows["split_seed"].to_pylist()) == {3}
    keys = list(zip(rows["user_idx"].to_pylist(), rows["item_idx"].to_pylist(), strict=True))
    assert keys == sorted(set(keys))
    assert len(keys) == 35
    params = {"strategy": "last_out", "split_seed": 3, "test_share": None}
    inputs = {"kcore": core.key, "files": {}}
    assert split.key == stage.stage_key("split", 1, inputs, params)  # what was split stays found
    assert "since" not in summary
    again = run("d", core, strategy="last_out", split_seed=3, settings=settings)
    assert again.found
    assert again.version == split.version
    assert not run("d", core, strategy="last_out", split_seed=4, settings=settings).found


def day(n: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=n)


def test_since_is_told_and_found_by_its_moment(spark: SparkSession, settings: Settings) -> None:
    """35 pairs on days 1 to 35: those of days 30 to 35 are test."""
    core = core_of(settings, ROWS)
    split = run("d", core, strategy="since", since=day(30), settings=settings)
    assert split.summary["test"] == 6
    assert split.summary["since"] == "1970-01-31T00:00:00+00:00"
    assert split.summary["asked"] == {"test": None, "valid": 0.1}
    rows = table(settings, "splits", split).to_pylist()
    assert {r["reviewed_at"] for r in rows if r["fold"] == "test"} == {
        day(n) for n in range(30, 36)
    }
    assert {r["strategy"] for r in rows} == {"since"}
    kathmandu = day(30).astimezone(timezone(timedelta(hours=5, minutes=45)))
    for same in (kathmandu, day(30).replace(tzinfo=None)):
        found = run("d", core, strategy="since", since=same, settings=settings)
        assert found.found
        assert found.key == split.key
    assert not run("d", core, strategy="since", since=day(29), settings=settings).found


def test_a_cut_with_nothing_on_one_side_is_refused(spark: SparkSession, settings: Settings) -> None:
    core = core_of(settings, ROWS)
    for moment, says in (
        (day(1), "nothing to train on: 0 pairs are before 1970-01-02"),
        (day(35) + timedelta(seconds=1), "nothing to test: no pair is at or after 1970-02-05"),
    ):
        with pytest.raises(UsageError, match=says) as caught:
            run("d", core, strategy="since", since=moment, settings=settings)
        assert "the pairs reach 1970-01-02 to 1970-02-05" in str(caught.value)
    assert not stage.history(settings.table_uri("d", "splits"), "splits")
    assert run("d", core, strategy="since", since=day(35), settings=settings).summary["test"] == 1


def test_predefined_takes_the_files_word(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    rows: list[Row] = [("a", "x", None, None), ("b", "x", None, None), ("a", "y", None, None)]
    core = core_of(settings, rows)
    files = author_files(tmp_path / "files", "0 0\n1\n\n", "0 1\n1 0\n")
    split = run("d", core, strategy="predefined", split_files=files, settings=settings)
    got = table(settings, "splits", split).to_pylist()
    tested = [(r["user_idx"], r["item_idx"]) for r in got if r["fold"] == "test"]
    assert tested == [(0, 1), (1, 0)]
    with pytest.raises(Mrl4recError) as caught:
        run("d", core, strategy="predefined", settings=settings,
            split_files=author_files(tmp_path / "other", "0 0\n", "0 1\n1 1\n2 5\n"))  # fmt: skip
    message = str(caught.value)
    assert (
        "1 pairs of the interactions are not in the files; the first: user 1 item 0 (b, x)"
        in message
    )
    assert (
        "2 pairs of the files are not in the interactions; the first: user 1 item 1 (b, y)"
        in message
    )


def test_time_splits_need_times(spark: SparkSession, settings: Settings) -> None:
    core = core_of(settings, [*ROWS, ("late", "x", None, None)])
    with pytest.raises(UsageError, match="needs a time"):
        run("d", core, strategy="global_time", settings=settings)
    with pytest.raises(UsageError, match="needs a time for every review"):
        run("d", core, strategy="since", since=day(9), settings=settings)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"strategy": "predefined"}, "needs the files"),
        ({"strategy": "last_uot"}, "did you mean last_out"),
        ({"strategy": "random", "test_share": 1.0}, "between 0 and 1"),
        ({"strategy": "random", "split_files": Path(".")}, "takes no files"),
        ({"strategy": "predefined", "split_files": Path(".")}, "no train.txt"),
        ({"strategy": "since"}, "give --since TIME"),
        ({"strategy": "global_time", "since": CUT}, "'global_time' takes no time"),
    ],
)
def test_bad_requests(settings: Settings, how: dict[str, object], says: str) -> None:
    commit = Commit("kcore", "k", "interactions", 0)
    with pytest.raises(UsageError, match=says):
        run("d", commit, settings=settings, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        ("0 1\n0 1\n", "", "given twice; the first: user 0 item 1 \\(train\\)"),
        ("0 1 2\n", "0 2\n", "user 0 item 2 \\(train and test\\)"),
        ("0 1\n0 x\n", "", "train.txt, line 2"),
        ("0 -1\n", "", "train.txt, line 1"),
        ("0 99999999999999999999\n", "", "train.txt, line 1"),
    ],
)
def test_bad_files(tmp_path: Path, train: str, test: str, says: str) -> None:
    with pytest.raises(Mrl4recError, match=says):
        split_files.read(split_files.find(author_files(tmp_path, train, test)))


@pytest.mark.parametrize(
    ("name", "train", "test", "test_users"),
    [
        ("tool", 107_772, 26_704, 12_924),
        ("ml100k", 80_217, 19_783, 941),
        ("phone", 155_163, 39_276, 20_899),
    ],
)
def test_authors_files_have_the_known_counts(
    real_data: Path, name: str, train: int, test: int, test_users: int
) -> None:
    rows = split_files.read(split_files.find(real_data / "author-splits" / name)).to_pandas()
    assert (rows.fold == "train").sum() == train
    assert (rows.fold == "test").sum() == test
    assert rows.user_idx[rows.fold == "test"].nunique() == test_users


@pytest.mark.slow
def test_phones_predefined(spark: SparkSession, settings: Settings, real_data: Path) -> None:
    import pandas as pd

    file = real_data / "amazon2014" / "Cell_Phones_and_Accessories_5.interactions.csv.gz"
    csv = pd.read_csv(file, dtype={"reviewerID": str, "asin": str})
    rows: list[Row] = [
        (user, item, None, day)
        for user, item, day in zip(
            csv.reviewerID, csv.asin, csv.unixReviewTime // 86_400, strict=True
        )
    ]
    core = filter_kcore.run("d", ingest(settings, [rows]), k=5, settings=settings)
    split = run("d", core, strategy="predefined", settings=settings,
                split_files=real_data / "author-splits" / "phone")  # fmt: skip
    summary = split.summary
    assert summary["train"] + summary["valid"] == 155_163
    assert (summary["test"], summary["test_users"]) == (39_276, 20_899)
    got = table(settings, "splits", split).to_pandas()
    expected = set(zip(csv.author_uid, csv.author_iid, csv.author_split == "test", strict=True))
    assert set(zip(got.user_idx, got.item_idx, got.fold == "test", strict=True)) == expected
