"""A simulated month: the ledger's story, the poison kept out, and nothing done twice."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from flows.cli.simulate import verdict
from flows.simulate import Simulation, Story, simulate
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import open_table
from mrl4rec.data.synthetic.weeks import Weekly
from mrl4rec.serving.registry import ledger
from mrl4rec.serving.registry.agree import bring_into_agreement
from mrl4rec.tables import TABLES

POISONED = 3
SPEC = Weekly(history=3, reviews=1500, users=450, items=240, new_users=24, new_items=8,
              branching=(3, 2), poisoned=POISONED)  # fmt: skip
MONTH = Simulation(
    SPEC,
    weeks=4,
    options={
        "methods": ("MRL-M",),
        "levels": ("4,8",),
        "overrides": ("MRL-M.dim=8", "MRL-M.lr=0.02", "MRL-M.batch=256"),
        "epochs": 11,
        "seeds": (0, 1),
    },
)
WIDE = {"drift_max_distance": 1.0, "drift_max_top_gain": 1.0, "drift_max_pace": 1e6,
        "drift_min_auc": 0.0}  # fmt: skip
"""Limits of drift within which anything goes in."""


@dataclass
class Month:
    """One warehouse after four weeks, a copy from before the poisoned one, and the stories."""

    settings: Settings
    before: Path
    story: Story
    again: Story
    tables: tuple[dict[str, int], dict[str, int]]
    """Versions of all tables after the first time and after the second."""


def state(settings: Settings) -> dict[str, int]:
    """The versions of the tables there are: a simulation has no results of a benchmark."""
    opened = {name: open_table(settings.storage.table_uri(MONTH.dataset, name)) for name in TABLES}
    return {name: delta.version() for name, delta in opened.items() if delta is not None}


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    folder = tmp_path_factory.mktemp("simulate")
    settings = Settings(warehouse=folder / "warehouse", retrain_min_users=60)
    simulate(replace(MONTH, weeks=POISONED - 1), settings)
    shutil.copytree(settings.warehouse, folder / "before")
    story = simulate(MONTH, settings)
    first = state(settings)
    again = simulate(MONTH, settings)
    return Month(settings, folder / "before", story, again, (first, state(settings)))


@pytest.mark.slow
def test_the_ledger_tells_the_story(month: Month) -> None:
    weeks = month.story.weeks
    rows = ledger.entries(month.settings, MONTH.dataset)
    assert [told.row for told in weeks] == rows  # a row a week, in their order
    first, poisoned = weeks[0], weeks[POISONED]
    assert first.row.decision == "promoted"
    assert first.row.evidence["champion"]["method"] == "Pop"
    assert first.measured is not None
    assert first.measured["low"] > 0
    assert poisoned.truth["poison"] == "shuffled"
    assert (poisoned.row.decision, poisoned.measured) == ("refused", None)
    assert "tastes_known" in poisoned.row.why
    assert poisoned.row.champion == weeks[POISONED - 1].row.champion
    others = [told for told in weeks if told is not poisoned]
    assert {told.row.decision for told in others} <= {"promoted", "kept"}
    assert all(told.measured is not None for told in others)
    for told in weeks[1:]:
        asked = told.row.evidence.get("asked")
        assert told is poisoned or asked["as_of"] == SPEC.ends(told.week).isoformat()


@pytest.mark.slow
def test_the_poison_is_kept_out_and_what_comes_after_goes_in(month: Month) -> None:
    story, settings = month.story, month.settings
    assert story.ok
    assert story.taken == {0, 1, 2, 4}
    assert verdict(story) == (
        "week 3 (shuffled) was kept out: refused, and none of its rows is in reviews"
    )
    reviews = DeltaTable(settings.storage.table_uri(MONTH.dataset, "reviews")).to_pyarrow_table()
    sources = DeltaTable(settings.storage.table_uri(MONTH.dataset, "sources")).to_pyarrow_table()
    files = {row["source_sha256"]: Path(row["path"]).name for row in sources.to_pylist()}
    assert {files[digest] for digest in set(reviews["source_sha256"].to_pylist())} == {
        f"week-{n:02}.json.gz" for n in (0, 1, 2, 4)
    }
    # Nor is there a row at a moment that the poisoned dump alone tells of.
    poisoned = month.story.landed.dumps[POISONED]
    stretch = pc.and_(
        pc.greater_equal(reviews["reviewed_at"], SPEC.ends(POISONED - 1)),
        pc.less(reviews["reviewed_at"], SPEC.ends(POISONED)),
    )
    late_of_it = pc.sum(stretch).as_py()
    assert 0 < late_of_it <= month.story.landed.dumps[4]["late"] < poisoned["rows"] / 4


@pytest.mark.slow
def test_every_row_of_a_good_dump_is_accounted_for(month: Month) -> None:
    sources = DeltaTable(
        month.settings.storage.table_uri(MONTH.dataset, "sources")
    ).to_pyarrow_table()
    told = {Path(row["path"]).name: row for row in sources.to_pylist()}
    for number in sorted(month.story.taken):
        truth, row = month.story.landed.dumps[number], told[f"week-{number:02}.json.gz"]
        assert row["rows_read"] == truth["rows"]
        assert row["rows_duplicate"] == truth["repeated"]
        assert row["rows_quarantined"] == 0


@pytest.mark.slow
def test_ids_are_appended_and_never_renumbered(month: Month) -> None:
    for side in ("user", "item"):
        uri = month.settings.storage.table_uri(MONTH.dataset, f"{side}s")
        newest = DeltaTable(uri).version()
        ids = [
            DeltaTable(uri, version).to_pyarrow_table().sort_by(f"{side}_idx")
            for version in range(newest + 1)
        ]
        for table in ids:
            assert table[f"{side}_idx"].to_pylist() == list(range(len(table)))
        for older, newer in itertools.pairwise(ids):
            was = older[f"{side}_id"].to_pylist()
            assert newer[f"{side}_id"].to_pylist()[: len(was)] == was
        assert len(ids[-1]) > len(ids[0]) > 0


@pytest.mark.slow
def test_again_changes_nothing(month: Month) -> None:
    assert month.tables[1] == month.tables[0]
    assert month.again == month.story
    found = bring_into_agreement(month.settings, MONTH.dataset)
    assert found.ok
    assert (found.champion, found.repaired) == (month.story.weeks[-1].row.champion, [])
    page = month.story.report.read_text(encoding="utf-8")
    assert "week-03.json.gz" in page


@pytest.mark.slow
def test_shuffled_ids_that_drift_lets_in_are_not_promoted(month: Month) -> None:
    settings = month.settings.model_copy(update={"warehouse": month.before, **WIDE})
    story = simulate(replace(MONTH, weeks=POISONED), settings)
    poisoned = story.weeks[POISONED]
    assert poisoned.row.decision == "kept"
    assert poisoned.measured is not None
    assert story.ok
    assert POISONED in story.taken
    assert "not promoted" in verdict(story)


# ------------------------------------------------------------------------------ what is refused


def test_a_data_set_of_other_dumps_is_left_alone(settings: Settings) -> None:
    from tests.flows import warehouse

    warehouse.build(settings)
    with pytest.raises(UsageError, match="--dataset"):
        simulate(replace(MONTH, dataset=warehouse.DATASET), settings)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"weeks": 0}, "--weeks"),
        ({"dataset": "../elsewhere"}, "../elsewhere"),
        ({"options": {"epochs": 0}}, "--epochs"),
    ],
)
def test_simulations_that_cannot_be(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        replace(MONTH, **values)
