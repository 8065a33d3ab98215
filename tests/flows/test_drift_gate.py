"""The gate on a dump as a whole: planted poisons stop, a normal next week passes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows.retraining import drift_gate
from mrl4rec.checks import drift
from mrl4rec.core.errors import GateFailed
from mrl4rec.core.hashing import chain
from mrl4rec.core.settings import Settings
from mrl4rec.models import model_folder
from mrl4rec.serving.registry import ledger
from mrl4rec.serving.registry.ledger import Entry
from mrl4rec.tables import versions
from tests.mrl4rec.checks.drift_samples import DATASET, Row, World, take_in

WORLD = World()
HISTORY, WEEK = WORLD.rows(0, 60), WORLD.rows(60, 7)


@pytest.fixture
def loaded(settings: Settings) -> Settings:
    """60 days taken in, and a champion trained on them."""
    take_in(settings, HISTORY, "a" * 64)
    key = "c" * 64
    known = WORLD.champion(HISTORY)
    folder = settings.storage.model_dir(DATASET, key)
    model_folder.save(folder, known.model, known.card, known.ids, known.seen)
    entry = Entry(decision="promoted", champion=key, challenger=key, why="the first", run="r")
    ledger.append(settings, DATASET, entry, None)
    return settings


def shuffled(rows: list[Row]) -> list[Row]:
    """The users of the rows dealt anew: every column looks as before, and nothing fits."""
    order = np.random.default_rng(1).permutation(len(rows))
    return [(rows[n][0], *row[1:]) for n, row in zip(order, rows, strict=True)]


def flood(rows: list[Row]) -> list[Row]:
    """Three rows in ten are of one item."""
    return [(row[0], "i7" if chain(n) % 10 < 3 else row[1], *row[2:]) for n, row in enumerate(rows)]


def unhappy(rows: list[Row]) -> list[Row]:
    return [(*row[:2], 1.0, row[3]) for row in rows]


def garbled(rows: list[Row]) -> list[Row]:
    return [(f"new-{row[0]}", *row[1:]) for row in rows]


def thinned(rows: list[Row]) -> list[Row]:
    """One row in ten: a dump that lost the rest."""
    return [row for n, row in enumerate(rows) if chain(n) % 10 == 0]


POISONS: dict[str, tuple[Callable[[list[Row]], list[Row]], set[str]]] = {
    "shuffled ids": (shuffled, {"tastes_known"}),
    "a flood of one item": (flood, {"no_flood_of_an_item"}),
    "every rating is 1": (unhappy, {"ratings_alike"}),
    "ids of another data set": (garbled, {"users_known"}),
    "a tenth of the rows": (thinned, {"pace_kept"}),
}


@pytest.mark.parametrize("name", POISONS)
def test_poison_stops(loaded: Settings, name: str) -> None:
    spoil, broken = POISONS[name]
    rows = spoil(WORLD.rows(60, 28) if spoil is thinned else WEEK)
    ingest = take_in(loaded, rows, "b" * 64)
    with pytest.raises(GateFailed, match="drift") as caught:
        drift_gate.check_drift(DATASET, ingest, loaded)
    for expectation in broken:
        assert expectation in str(caught.value)
    # Known from now on, and the next ingest goes on from the good one.
    with pytest.raises(GateFailed, match="drift"):
        drift_gate.check_drift(DATASET, ingest, loaded)
    good = versions.newest_good(loaded, DATASET, "sources")
    assert good is not None
    assert good.version < ingest.version


def test_a_normal_week_passes_and_is_kept(
    loaded: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    ingest = take_in(loaded, WEEK, "b" * 64)
    with caplog.at_level(logging.WARNING, "mrl4rec"):
        verdict = drift_gate.check_drift(DATASET, ingest, loaded)
    assert verdict is not None
    assert verdict.passed
    assert not caplog.records  # no warning either
    (row,) = drift.rows(loaded, DATASET)
    assert row["judged"]
    assert row["champion_auc"] > 0.75
    assert drift_gate.summary(row).startswith("840 new rows of ")
    again = drift_gate.check_drift(DATASET, ingest, loaded)
    assert again is not None
    assert again.known


def test_halfway_to_a_limit_warns(loaded: Settings, caplog: pytest.LogCaptureFixture) -> None:
    rows = [(*row[:2], 1.0 if n % 5 < 2 else row[2], row[3]) for n, row in enumerate(WEEK)]
    ingest = take_in(loaded, rows, "b" * 64)
    with caplog.at_level(logging.WARNING, "mrl4rec"):
        drift_gate.check_drift(DATASET, ingest, loaded)
    assert "drift_warning" in caplog.text
    assert "ratings_alike: 0.3" in caplog.text
    assert "18.9% → 51.8%" in caplog.text


def test_tastes_are_held_against_those_of_the_last_dump(loaded: Settings) -> None:
    """A quarter of the week is good: not without relation, and most of what was told is lost."""
    drift_gate.check_drift(DATASET, take_in(loaded, WEEK, "b" * 64), loaded)
    week = WORLD.rows(67, 7)
    half = [*week[: len(week) // 4], *shuffled(week[len(week) // 4 :])]
    with pytest.raises(GateFailed, match="tastes_kept") as caught:
        drift_gate.check_drift(DATASET, take_in(loaded, half, "c" * 64), loaded)
    assert "tastes_known" not in str(caught.value)
    # What was stopped is not what the next week is held against.
    verdict = drift_gate.check_drift(DATASET, take_in(loaded, WORLD.rows(74, 7), "d" * 64), loaded)
    assert verdict is not None
    assert verdict.passed


def test_a_limit_set_later_throws_nothing_out(loaded: Settings) -> None:
    ingest = take_in(loaded, WEEK, "b" * 64)
    drift_gate.check_drift(DATASET, ingest, loaded)
    strict = loaded.model_copy(update={"drift_max_distance": 0.0})
    verdict = drift_gate.check_drift(DATASET, ingest, strict)
    assert verdict is not None
    assert verdict.passed
    # What comes after it is judged by the limit of its day.
    with pytest.raises(GateFailed):
        drift_gate.check_drift(DATASET, take_in(loaded, WORLD.rows(67, 7), "d" * 64), strict)


def test_exactly_at_a_limit_passes(loaded: Settings) -> None:
    ingest = take_in(loaded, flood(WEEK), "b" * 64)
    base = versions.newest_good(loaded, DATASET, "sources")
    assert base is not None
    first = next(c for c in versions.good(loaded, DATASET, "sources") if c.version < ingest.version)
    gain = drift.measure(loaded, DATASET, ingest, first).change.top_item
    at = loaded.model_copy(update={"drift_max_top_gain": gain, "drift_min_auc": 0.5})
    assert drift_gate.check_drift(DATASET, ingest, at) is not None


def test_first_load_and_a_handful_of_rows_are_not_judged(settings: Settings) -> None:
    first = take_in(settings, HISTORY, "a" * 64)
    assert drift_gate.check_drift(DATASET, first, settings) is None
    few = take_in(settings, unhappy(WEEK[:100]), "b" * 64)
    assert drift_gate.check_drift(DATASET, few, settings) is None
    assert [row["judged"] for row in drift.rows(settings, DATASET)] == [False, False]


def test_a_champion_that_is_gone_costs_its_opinion_alone(
    loaded: Settings, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    folder = loaded.storage.model_dir(DATASET, "c" * 64)
    folder.rename(tmp_path / "away")
    with caplog.at_level(logging.WARNING, "mrl4rec"):
        verdict = drift_gate.check_drift(DATASET, take_in(loaded, WEEK, "b" * 64), loaded)
    assert verdict is not None
    assert verdict.passed
    assert "champion" in caplog.text
    assert drift.rows(loaded, DATASET)[0]["champion_auc"] is None
