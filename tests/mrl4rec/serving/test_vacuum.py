"""Vacuum: what a champion was made from stays readable, what nobody needs goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable, write_deltalake

from mrl4rec.core import stage
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data import interactions
from mrl4rec.serving.registry import ledger, recommendations
from mrl4rec.serving.registry.ledger import Entry
from mrl4rec.serving.registry.lists import Shape
from mrl4rec.serving.registry.vacuum import Swept, needed, vacuum
from mrl4rec.tables.promotions import PROMOTIONS
from tests.mrl4rec.serving import registry_samples as world

DATASET = world.DATASET
MADE = ("reviews", "quarantine", "sources", "users", "items", "interactions", "splits")


def write(settings: Settings, commit: Commit, rows: dict[str, list[Any]]) -> Commit:
    said = stage.properties(commit.metadata())
    return replace(commit, version=world.overwrite(settings, commit.table, rows, said))


def ingest(settings: Settings, name: str) -> Commit:
    """Reviews, quarantine and sources, replaced as a whole by one dump."""
    n = len(world.PAIRS)
    place = {"source_sha256": [name] * n, "record_no": list(range(n))}
    rows = {
        "user_id": [world.USERS[user] for user, _ in world.PAIRS],
        "item_id": [world.ITEMS[item] for _, item in world.PAIRS],
        "rating": [None] * n, "reviewed_at": [None] * n, **place,
    }  # fmt: skip
    bad = {"source_sha256": [name], "record_no": [n], "record": ["{"], "rule": ["not_json"],
           "detail": [None]}  # fmt: skip
    outputs = {
        table: world.overwrite(settings, table, content, None)
        for table, content in (("reviews", rows), ("quarantine", bad))
    }
    source = {"source_sha256": [name], "source_no": [0], "path": [name], "bytes": [1],
              "format": ["csv"], "mapping": [None], "rows_read": [n + 1], "rows_accepted": [n],
              "rows_duplicate": [0], "rows_quarantined": [1]}  # fmt: skip
    return write(settings, Commit("ingest", f"ingest {name}", "sources", -1, outputs), source)


def round_of(settings: Settings, name: str) -> Commit:
    """One whole round: ingest, core and split, all tables replaced; the split."""
    ingest(settings, name)
    core = world.core(settings, key=f"core {name}")
    n = len(world.PAIRS)
    rows = {
        "user_idx": [user for user, _ in world.PAIRS],
        "item_idx": [item for _, item in world.PAIRS],
        "reviewed_at": [None] * n, "fold": ["train"] * (n - 2) + ["valid", "test"],
        "strategy": [name] * n, "split_seed": [0] * n,
    }  # fmt: skip
    outputs = {"interactions": core.version, **core.outputs}
    return write(settings, Commit("split", f"split {name}", "splits", -1, outputs), rows)


def trained(settings: Settings, letter: str, split: Commit) -> str:
    """A model whose card names the split, as training writes it."""
    said = {"split_key": split.key, split.table: split.version, **split.outputs}
    return world.model(settings, letter, versions=said)


def promoted(settings: Settings, key: str) -> None:
    card = recommendations.load(world.folder(settings, key)).card
    entry = Entry(decision="promoted", why="w", champion=key, versions=card.versions)
    ledger.append(settings, DATASET, entry, ledger.champion(settings, DATASET))
    recommendations.run(settings, DATASET, key, Shape(3))


def readable(settings: Settings, table: str, version: int) -> bool:
    """Whether the rows of a version can really be read."""
    try:
        found = DeltaTable(settings.storage.table_uri(DATASET, table), version).to_pyarrow_table()
    except FileNotFoundError:
        return False
    return found.num_rows > 0


def files(settings: Settings) -> set[Path]:
    return {p for p in settings.warehouse.rglob("*.parquet") if "models" not in p.parts}


@pytest.fixture
def rounds(settings: Settings) -> list[Commit]:
    """Six rounds; the models of the second, the fourth and the fifth were champions in turn."""
    splits = []
    for number in range(6):
        splits.append(round_of(settings, f"r{number}"))
        if number in (1, 3, 4):
            promoted(settings, trained(settings, str(number), splits[-1]))
    return splits


@pytest.mark.fault("F13")
def test_what_the_champion_was_made_from_can_still_be_read(
    settings: Settings, rounds: list[Commit]
) -> None:
    swept = vacuum(settings, DATASET, keep_days=0)
    champion = rounds[4]
    found = interactions.load(settings, DATASET, champion)
    assert len(found.users_P) == len(world.PAIRS)
    for table in MADE:
        # The champion's, and the newest; nothing else, of the champions before least of all.
        state = [readable(settings, table, version) for version in range(6)]
        assert state == [False, False, False, False, True, True], table
    assert {s.table: s.kept for s in swept} == {
        **dict.fromkeys(MADE, (4, 5)), "recommendations": (3,),
    }  # fmt: skip
    assert ledger.champion(settings, DATASET) == "4" * 64
    assert world.lists(settings) == world.FULL


def test_the_days_keep_the_champions_of_these_days(
    settings: Settings, rounds: list[Commit]
) -> None:
    kept = needed(settings, DATASET, keep_days=1)
    assert kept == {
        **{table: {1, 3, 4, 5} for table in MADE},
        "recommendations": {1, 2, 3},
    }  # fmt: skip
    before = files(settings)
    for swept in vacuum(settings, DATASET, keep_days=1):
        assert (swept.files, swept.bytes) == (0, 0)  # all was replaced today
    assert files(settings) == before


def test_a_dry_run_says_and_removes_nothing(settings: Settings, rounds: list[Commit]) -> None:
    before = files(settings)
    said = vacuum(settings, DATASET, keep_days=0, dry_run=True)
    assert files(settings) == before
    assert DeltaTable(settings.storage.table_uri(DATASET, "splits")).version() == 5
    done = vacuum(settings, DATASET, keep_days=0)
    assert done == said
    gone = before - files(settings)
    assert len(gone) == sum(swept.files for swept in done) == 4 * len(MADE) + 2
    assert [swept.bytes > 0 for swept in done] == [True] * len(done)
    again = vacuum(settings, DATASET, keep_days=0)
    assert again == [replace(swept, files=0, bytes=0) for swept in done]


@pytest.mark.fault("F13")
def test_after_it_stages_go_on_and_roll_back(settings: Settings, rounds: list[Commit]) -> None:
    vacuum(settings, DATASET, keep_days=0)
    for marker, key in (("splits", "split r5"), ("interactions", "core r5")):
        newest = stage.history(settings.storage.table_uri(DATASET, marker), marker)[0]
        assert newest.key == key
    now = recommendations.state(settings, DATASET)
    assert now is not None
    assert now.summary["model"] == "4" * 64
    again = recommendations.run(settings, DATASET, "3" * 64, Shape(3))  # whose lists went
    assert again is not None
    assert not again.found
    assert world.lists(settings) == world.FULL


def test_without_a_champion_the_newest_stays(settings: Settings) -> None:
    for number in range(3):
        round_of(settings, f"r{number}")
    vacuum(settings, DATASET, keep_days=0)
    for table in MADE:
        assert [readable(settings, table, v) for v in range(3)] == [False, False, True]


def test_a_champion_whose_folder_is_gone_keeps_what_the_ledger_says(
    settings: Settings, rounds: list[Commit]
) -> None:
    world.folder(settings, "4" * 64).rename(settings.warehouse / "elsewhere")
    vacuum(settings, DATASET, keep_days=0)
    assert all(readable(settings, table, 4) for table in MADE)


def test_the_newest_good_stays_where_a_worse_one_is_on_top(
    settings: Settings, rounds: list[Commit]
) -> None:
    round_of(settings, "poisoned")
    row = {
        "table": ["reviews"], "version": ["6"], "suite": ["reviews"], "verdict": ["fail"],
        "declared": [1], "evaluated": [1], "failed": [1], "seen": ["{}"], "data_docs": [None],
        "judged_at": [ledger.Entry(decision="kept", why="w").at],
    }  # fmt: skip
    world.overwrite(settings, "gates", row, None)
    vacuum(settings, DATASET, keep_days=0)
    for table in ("reviews", "quarantine", "sources"):
        assert readable(settings, table, 5), table  # what the next ingest goes back to


def test_what_a_killed_writer_left_goes_after_a_day(settings: Settings) -> None:
    import os
    import time

    round_of(settings, "r0")
    left = [
        Path(settings.storage.table_uri(DATASET, "splits")) / f"{name}.parquet" for name in "ab"
    ]
    for path in left:
        path.write_bytes(b"half a file")
    old = time.time() - 3 * 86_400
    os.utime(left[0], (old, old))
    vacuum(settings, DATASET, keep_days=0)
    assert all(path.exists() for path in left)  # a writer may live
    (splits,) = (s for s in vacuum(settings, DATASET, keep_days=2) if s.table == "splits")
    assert splits == Swept("splits", 1, 11, (0,))
    assert [path.exists() for path in left] == [False, True]


@pytest.mark.fault("F13")
def test_a_damaged_ledger_stops_it(settings: Settings, rounds: list[Commit]) -> None:
    before = files(settings)
    row = ledger.entries(settings, DATASET)[0]
    rows = DeltaTable(settings.storage.table_uri(DATASET, "promotions")).to_pyarrow_table()
    odd = rows.slice(0, 1).set_column(0, "seq", [[9]]).cast(PROMOTIONS.schema)
    write_deltalake(settings.storage.table_uri(DATASET, "promotions"), odd, mode="append")
    assert row.seq == 0
    with pytest.raises(Mrl4recError, match="row 3 is missing"):
        vacuum(settings, DATASET, keep_days=0)
    assert before <= files(settings)


@pytest.mark.parametrize("days", [-1, float("nan"), float("inf")])
def test_days_that_are_no_time_are_refused(settings: Settings, days: float) -> None:
    with pytest.raises(UsageError, match=f"--keep-days is {days:g}"):
        vacuum(settings, DATASET, keep_days=days)
