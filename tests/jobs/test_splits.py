"""The split stage: folds as invariants, and the authors' own files."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from by_hand import Row, ingest, table

from jobs import kcore
from jobs.split import CODE, run
from mrl4rec.core import stage
from mrl4rec.core.choices import STRATEGIES
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data import split_files
from mrl4rec.transforms import splits
from mrl4rec.transforms.engine import Engine
from mrl4rec.transforms.opening import open_engine

HASHED = [s for s in STRATEGIES if s not in ("predefined", "by_user")]
SHARE = 0.2
CUT = datetime(2011, 2, 11, tzinfo=UTC)
"""Day 15,016: the last four of the twenty are test."""
Folds = dict[tuple[str, str], str]


Pair = tuple[str, str, int]
"""user, item, µs."""


def some_pairs(n: int = 3000, seed: int = 0) -> list[Pair]:
    """Distinct pairs of 200 users and 300 items on 20 days: many ties; one user has one pair."""
    rng = np.random.default_rng(seed)
    numbers = sorted(
        {
            (int(u), int(i))
            for u, i in zip(rng.integers(0, 200, n), rng.integers(0, 300, n), strict=True)
        }
    )
    days = (rng.integers(15_000, 15_020, len(numbers)) * 86_400_000_000).tolist()
    pairs = [(f"u{u}", f"i{i}", day) for (u, i), day in zip(numbers, days, strict=True)]
    return [*pairs, ("alone", "i0", days[0])]


PAIRS = some_pairs()
TIMES = {(user, item): time for user, item, time in PAIRS}


def bind(engine: Engine, pairs: list[Pair]) -> None:
    """Pairs as the relations ``interactions``, ``users`` and ``items``."""
    sides = [sorted({pair[n] for pair in pairs}) for n in (0, 1)]
    for name, ids in zip(("user", "item"), sides, strict=True):
        idx = pa.array(range(len(ids)), pa.int32())
        engine.add(f"{name}s", pa.table({f"{name}_idx": idx, f"{name}_id": ids}))
    numbers = [pa.array([sides[n].index(pair[n]) for pair in pairs], pa.int32()) for n in (0, 1)]
    times = pa.array([pair[2] for pair in pairs], pa.int64())
    names = ["user_idx", "item_idx", "reviewed_at"]
    engine.add("interactions", pa.table([*numbers, times], names))


def folds(engine: Engine, pairs: list[Pair], strategy: str, seed: int = 0) -> Folds:
    bind(engine, pairs)
    counts = splits.build(engine, strategy, seed, SHARE, CUT if strategy == "since" else None)
    rows = engine.query(
        "SELECT user_id, item_id, fold FROM folded JOIN users USING (user_idx) "
        "JOIN items USING (item_idx)"
    ).to_pylist()
    got = {(row["user_id"], row["item_id"]): row["fold"] for row in rows}
    assert len(got) == len(rows)  # no pair in two folds
    tested = {user for (user, _), fold in got.items() if fold == "test"}
    assert counts == {f: Counter(got.values())[f] for f in ("train", "valid", "test")} | {
        "test_users": len(tested)
    }
    return got


@pytest.fixture(scope="module")
def by_strategy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Folds]:
    settings = Settings(warehouse=tmp_path_factory.mktemp("splits"))
    with open_engine(settings) as engine:
        return {strategy: folds(engine, PAIRS, strategy) for strategy in HASHED}


def drawn(seed: int, purpose: str, user: str, item: str) -> str:
    """The hash of a pair, from its definition."""
    text = f"{seed}|{purpose}|{len(user)}|{user}|{item}"
    return hashlib.md5(text.encode()).hexdigest()


def by_definition(pairs: list[Pair], strategy: str, seed: int) -> Folds:
    """The folds in plain Python, from the definition in ``transforms.splits``."""
    hashes = {pair[:2]: drawn(seed, "fold", *pair[:2]) for pair in pairs}
    ties = {pair[:2]: drawn(seed, "tie", *pair[:2]) for pair in pairs}
    in_time = sorted(pairs, key=lambda p: (p[2], ties[p[:2]], p[0].encode(), p[1].encode()))
    if strategy == "random":
        test = {pair for pair, digits in hashes.items() if is_below(digits[:16], SHARE)}
    elif strategy == "global_time":
        test = {pair[:2] for pair in in_time[len(pairs) - int(SHARE * len(pairs) + 0.5) :]}
    elif strategy == "since":
        test = {pair[:2] for pair in pairs if pair[2] >= CUT.timestamp() * 1e6}
    else:
        test = set()
        for user in {pair[0] for pair in pairs}:
            mine = [pair[:2] for pair in in_time if pair[0] == user]
            if strategy == "last_out":
                test |= set(mine[-1:] if len(mine) > 1 else [])
            else:
                mine.sort(key=lambda pair: (hashes[pair], pair[1].encode()))
                test |= set(mine[: min(int(SHARE * len(mine) + 0.5), len(mine) - 1)])
    valid = {pair for pair in hashes if is_below(hashes[pair][16:], 0.1)} - test
    return {pair: "test" if pair in test else "valid" if pair in valid else "train"
            for pair in hashes}  # fmt: skip


def is_below(digits: str, share: float) -> bool:
    return int(digits, 16) < int(Fraction(share) * 2**64)


@pytest.mark.parametrize("strategy", HASHED)
def test_folds_are_those_of_the_definition(engine: Engine, strategy: str) -> None:
    assert folds(engine, PAIRS[-500:], strategy, -7) == by_definition(PAIRS[-500:], strategy, -7)


ODD = ["~", "!", "|", "a|b", "a", "b|a", "A", "a ", "\u00e9", "e\u0301", "\U0001f600", "\uffff",
       "'", '"', "\\", "%", "\u4e2d\u6587", "z" * 256]  # fmt: skip
"""Ids in which two engines could differ: in order, in length, in bytes or by quoting."""


@pytest.mark.fault("F37", "F38")
def test_engines_agree(engines: tuple[Engine, Engine]) -> None:
    """Spark and DuckDB, against the definition, on ids and a seed that are hard to get right."""
    pairs = [(user, item, (15_014 + (n + m) % 4) * 86_400_000_000)
             for n, user in enumerate(ODD) for m, item in enumerate(ODD)]  # fmt: skip
    for strategy in HASHED:
        wanted = by_definition(pairs, strategy, -(2**63))
        for engine in engines:
            assert folds(engine, pairs, strategy, -(2**63)) == wanted, (engine.name, strategy)


@pytest.mark.parametrize("strategy", HASHED)
def test_every_pair_has_one_fold(by_strategy: dict[str, Folds], strategy: str) -> None:
    got = by_strategy[strategy]
    assert set(got) == set(TIMES)
    counts = Counter(got.values())
    assert set(counts) == {"train", "valid", "test"}
    kept = counts["train"] + counts["valid"]
    assert abs(counts["valid"] - 0.1 * kept) < 4 * (0.09 * kept) ** 0.5


def test_random_is_a_coin_for_each_pair(by_strategy: dict[str, Folds]) -> None:
    got = by_strategy["random"]
    n, tested = len(got), Counter(got.values())["test"]
    assert abs(tested - SHARE * n) < 4 * (SHARE * (1 - SHARE) * n) ** 0.5


def test_test_and_valid_are_independent(by_strategy: dict[str, Folds], engine: Engine) -> None:
    """With one hash for both, valid would lie next to test: here another seed's test cuts it."""
    other = folds(engine, PAIRS, "random", seed=1)
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
    by_strategy: dict[str, Folds],
) -> None:
    got = by_strategy["last_out"]
    users = {user for user, _ in got}
    tested = [pair for pair, fold in got.items() if fold == "test"]
    assert sorted(user for user, _ in tested) == sorted(users - {"alone"})
    for user, item in tested:
        assert TIMES[user, item] == max(t for (u, _), t in TIMES.items() if u == user)


def test_global_time_cuts_the_last_share(
    by_strategy: dict[str, Folds],
) -> None:
    got = by_strategy["global_time"]
    tested = [TIMES[p] for p, fold in got.items() if fold == "test"]
    kept = [TIMES[p] for p, fold in got.items() if fold != "test"]
    assert len(tested) == int(SHARE * len(got) + 0.5)
    assert min(tested) >= max(kept)


def test_since_cuts_at_the_moment_and_the_moment_is_test(
    by_strategy: dict[str, Folds],
) -> None:
    got = by_strategy["since"]
    assert {pair for pair, fold in got.items() if fold == "test"} == {
        pair for pair, time in TIMES.items() if time >= CUT.timestamp() * 1e6
    }
    assert min(TIMES[pair] for pair in got if got[pair] == "test") == CUT.timestamp() * 1e6


def test_since_tells_microseconds_apart(engine: Engine) -> None:
    moment = int(CUT.timestamp()) * 1_000_000
    names = ("before", "at", "after")
    pairs = [("u", name, moment + n - 1) for n, name in enumerate(names)]
    got = folds(engine, pairs, "since")
    assert [item for (_, item), fold in sorted(got.items()) if fold == "test"] == ["after", "at"]


@pytest.mark.parametrize(
    ("strategy", "digest"),
    [
        ("random", "a93a94c4b10bdcce"),
        ("per_user_random", "4cd91a77889c9364"),
        ("last_out", "ebb5fccd89b1e3e4"),
        ("global_time", "f696ab2ad4492be9"),
        ("since", "9c6cb92cc7570254"),
    ],
)
def test_golden_digests(by_strategy: dict[str, Folds], strategy: str, digest: str) -> None:
    """The folds of the same pairs: where one changes, jobs.split.CODE must rise."""
    text = json.dumps(sorted(by_strategy[strategy].items()))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest
    assert CODE == 2


@pytest.mark.parametrize("strategy", HASHED)
def test_seeds_differ(engine: Engine, by_strategy: dict[str, Folds], strategy: str) -> None:
    assert folds(engine, PAIRS, strategy, seed=1) != by_strategy[strategy]


ROWS: list[Row] = [(f"u{n % 7}", f"i{n % 5}", None, 1 + n) for n in range(35)]


def core_of(settings: Settings, rows: list[Row], **how: str) -> Commit:
    return kcore.run("d", ingest(settings, [rows], **how), k=0, settings=settings)


def author_files(folder: Path, train: str, test: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.txt").write_text(train)
    with gzip.open(folder / "test.txt.gz", "wt") as opened:
        opened.write(test)
    return folder


def test_commit_says_what_was_split_and_is_found(settings: Settings) -> None:
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
    assert split.key == stage.stage_key("split", 2, inputs, params)  # what was split stays found
    assert "since" not in summary
    again = run("d", core, strategy="last_out", split_seed=3, settings=settings)
    assert again.found
    assert again.version == split.version
    assert not run("d", core, strategy="last_out", split_seed=4, settings=settings).found


def day(n: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=n)


def test_since_is_told_and_found_by_its_moment(settings: Settings) -> None:
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


def test_a_cut_with_nothing_on_one_side_is_refused(settings: Settings) -> None:
    core = core_of(settings, ROWS)
    for moment, says in (
        (day(1), "train"),
        (day(35) + timedelta(seconds=1), "test"),
    ):
        with pytest.raises(UsageError, match=says) as caught:
            run("d", core, strategy="since", since=moment, settings=settings)
        assert caught.value.where == "--since"
        assert re.search("1970-01-02.*1970-02-05", str(caught.value))
    assert not stage.history(settings.storage.table_uri("d", "splits"), "splits")
    assert run("d", core, strategy="since", since=day(35), settings=settings).summary["test"] == 1


def test_predefined_takes_the_files_word(settings: Settings, tmp_path: Path) -> None:
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
    assert "user 1 item 0 (b, x)" in message
    assert "user 1 item 1 (b, y)" in message


def test_time_splits_need_times(settings: Settings) -> None:
    core = core_of(settings, [*ROWS, ("late", "x", None, None)])
    with pytest.raises(UsageError, match="reviewed_at"):
        run("d", core, strategy="global_time", settings=settings)
    with pytest.raises(UsageError, match="reviewed_at"):
        run("d", core, strategy="since", since=day(9), settings=settings)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"strategy": "predefined"}, "--split-files"),
        ({"strategy": "last_uot"}, "last_out"),
        ({"strategy": "random", "test_share": 1.0}, "share"),
        ({"strategy": "random", "split_files": Path(".")}, "--split-files"),
        ({"strategy": "predefined", "split_files": Path(".")}, "train.txt"),
        ({"strategy": "since"}, "--since"),
        ({"strategy": "global_time", "since": CUT}, "--since"),
    ],
)
def test_bad_requests(settings: Settings, how: dict[str, object], says: str) -> None:
    commit = Commit("kcore", "k", "interactions", 0)
    with pytest.raises(UsageError, match=says):
        run("d", commit, settings=settings, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        ("0 1\n0 1\n", "", "user 0 item 1 \\(train\\)"),
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


def test_phones_predefined(settings: Settings, real_data: Path) -> None:
    import pandas as pd

    file = real_data / "amazon2014" / "Cell_Phones_and_Accessories_5.interactions.csv.gz"
    csv = pd.read_csv(file, dtype={"reviewerID": str, "asin": str})
    rows: list[Row] = [
        (user, item, None, day)
        for user, item, day in zip(
            csv.reviewerID, csv.asin, csv.unixReviewTime // 86_400, strict=True
        )
    ]
    core = kcore.run("d", ingest(settings, [rows]), k=5, settings=settings)
    split = run("d", core, strategy="predefined", settings=settings,
                split_files=real_data / "author-splits" / "phone")  # fmt: skip
    summary = split.summary
    assert summary["train"] + summary["valid"] == 155_163
    assert (summary["test"], summary["test_users"]) == (39_276, 20_899)
    got = table(settings, "splits", split).to_pandas()
    expected = set(zip(csv.author_uid, csv.author_iid, csv.author_split == "test", strict=True))
    assert set(zip(got.user_idx, got.item_idx, got.fold == "test", strict=True)) == expected
