"""A real dump that lands in three parts, in both orders of the last two: the same tables."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.serving.registry import ledger
from mrl4rec.tables import versions
from tests.faults import scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DATASET = "phones"
DAY = 86_400
RETRAIN = ["retrain", "--dataset", DATASET, "--window", "10%", "--methods", "MRL-M",
           "--seeds", "0", "--start", "cold", "--epochs", "20"]  # fmt: skip
MARKERS = {"reviews": "sources", "interactions": "interactions", "splits": "splits"}
"""Table → the one whose commit names its version; users and items go with the interactions."""


def test_phones_in_parts_comes_to_the_same_in_both_orders(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dump,) = (real_data / "amazon2014").glob("reviews_Cell*")
    parts = cut(dump, tmp_path / "parts")
    found = []
    for order in ((0, 1, 2), (0, 2, 1)):
        settings = Settings(warehouse=tmp_path / "-".join(map(str, order)))
        (settings.warehouse / "dumps").mkdir(parents=True)
        firsts = {}
        for part in order:
            retrain(settings, parts[part])
            firsts = firsts or ids(settings)
            with capsys.disabled():
                print(f"\norder {order}, part {part}: {told(settings)}")
        last = ids(settings)
        assert {
            name: {key: last[name][key] for key in known} for name, known in firsts.items()
        } == (firsts), "an id of the first part has changed"
        found.append(scene.by_ids(settings, commits(settings), DATASET))
    assert found[0] == found[1]


def cut(dump: Path, folder: Path) -> list[Path]:
    """The reviews in order of time, cut between days into about 80, 10 and 10 % of the rows."""
    folder.mkdir()
    with gzip.open(dump, "rt") as lines:
        rows = sorted((json.loads(line)["unixReviewTime"], line) for line in lines)
    days = Counter(time // DAY for time, _ in rows)
    before, ends = 0, []
    for day in sorted(days):
        before += days[day]
        if len(ends) < 2 and before >= (0.8, 0.9)[len(ends)] * len(rows):
            ends.append(before)
    paths = []
    for number, (begin, end) in enumerate(zip([0, *ends], [*ends, len(rows)], strict=True)):
        path = folder / f"part-{number}.json.gz"
        with gzip.open(path, "wt", compresslevel=1) as file:
            file.writelines(line for _, line in rows[begin:end])
        paths.append(path)
    return paths


def retrain(settings: Settings, part: Path) -> None:
    """One more dump lands in the warehouse's folder, and is retrained on."""
    landing = settings.warehouse / "dumps"
    (landing / part.name).write_bytes(part.read_bytes())
    command = [str(Path(sys.executable).with_name("mrl4rec")), *RETRAIN, "--dumps", str(landing)]
    environment = {**os.environ, "MRL4REC_WAREHOUSE": str(settings.warehouse)}
    subprocess.run(command, env=environment, check=True, capture_output=True)


def told(settings: Settings) -> str:
    """What the ledger's last row says, in a line."""
    row = ledger.entries(settings, DATASET)[-1]
    sides = [row.evidence[side] for side in ("champion", "challenger")]
    values = " → ".join(f"{side['ndcg@20']:.4f}" for side in sides)
    named = commits(settings)
    counts = [
        len(scene.read(settings, table, named[table], DATASET))
        for table in ("reviews", "interactions")
    ]
    return (
        f"{counts[0]:,} reviews, {counts[1]:,} pairs of the core, NDCG@20 {values}, "
        f"{row.decision}, {row.evidence['users']:,} users judged"
    )


def commits(settings: Settings) -> dict[str, Commit]:
    """What names the newest good version of each table."""
    found = {}
    for name, marker in MARKERS.items():
        commit = versions.newest_good(settings, DATASET, marker)
        assert commit is not None, name
        found[name] = commit
    return found


def ids(settings: Settings) -> dict[str, dict[str, int]]:
    """The numbers that external ids have."""
    core = commits(settings)["interactions"]
    return {
        side: {
            row[f"{side}_id"]: row[f"{side}_idx"]
            for row in scene.read(settings, f"{side}s", core, DATASET)
        }
        for side in ("user", "item")
    }
