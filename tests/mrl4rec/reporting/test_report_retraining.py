"""Retraining on the page: ledger, drawings and numbers are those of the tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mrl4rec import reporting as report
from mrl4rec.checks import drift
from mrl4rec.checks.drift import Drift, compare, portray
from mrl4rec.checks.drift.taste import Taste
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.reporting import promotion_figures, promotions
from mrl4rec.serving.registry import ledger
from mrl4rec.serving.registry.ledger import Entry
from tests.mrl4rec.checks.drift_samples import DATASET, World, take_in
from tests.mrl4rec.checks.test_drift import table
from tests.mrl4rec.reporting.test_report import Page

WORLD = World(a_day=30)
NOW = datetime(2014, 6, 1, 3, 0, tzinfo=UTC)
KEYS = [f"{n:x}" * 64 for n in range(10, 16)]


def evidence(week: int, champion: float, gain: float, doubt: float) -> dict[str, Any]:
    since = datetime(2014, 3, 1, tzinfo=UTC) + timedelta(days=7 * week)
    difference = {
        "judged": True, "champion": champion, "challenger": champion + gain, "difference": gain,
        "low": gain - doubt, "high": gain + doubt, "users": 1234,
    }  # fmt: skip
    return {"metric": "ndcg@20", "difference": difference, "window": {"since": since.isoformat()}}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Four weeks: promoted, kept, a flood refused, promoted; each with the drift of its dump."""
    settings = Settings(warehouse=tmp_path_factory.mktemp("report") / "warehouse")
    names = ["a", "b", "c", "d"]
    before = WORLD.rows(0, 60)
    for n, name in enumerate(names):
        rows = before if n == 0 else WORLD.rows(53 + 7 * n, 7)
        ingest = take_in(settings, rows, name * 64)
        old = portray(table(before)) if n else portray(table([]))
        new = portray(table(rows))
        taste = Taste((0.0, 0.8, 0.51, 0.78)[n], 200) if n else None
        sources = [{"path": f"/dumps/week-{n}.csv", "source_sha256": name * 64, "rows_read": 210,
                    "rows_duplicate": 0, "rows_quarantined": 21}]  # fmt: skip
        drift.record(
            settings, DATASET, Drift(ingest, sources, new, old, compare(new, old), taste, n > 0)
        )
    steps = [
        ("promoted", KEYS[1], KEYS[0], evidence(0, 0.15, 0.16, 0.04)),
        ("kept", KEYS[2], KEYS[0], evidence(1, 0.29, 0.005, 0.02)),
        ("refused", None, KEYS[0], {"kind": "dump", "sources": ["c" * 64]}),
        ("promoted", KEYS[4], KEYS[3], evidence(2, 0.28, 0.03, 0.02)),
    ]
    champion = None
    for n, (decision, challenger, now, told) in enumerate(steps):
        row = Entry(decision=decision, why=f"reason {n}", champion=now, champion_before=champion,
                    challenger=challenger, run=str(n), evidence=told,
                    at=NOW + n * timedelta(days=7))  # fmt: skip
        ledger.append(settings, DATASET, row, champion)
        champion = now
    return settings


def test_the_page_tells_the_ledger(warehouse: Settings) -> None:
    page = Page(report.build(warehouse, [DATASET]).read_text(encoding="utf-8"))
    rows = page.table("row", "at (UTC)", "decision")
    assert [row["decision"] for row in rows] == ["promoted", "kept", "refused", "promoted"]
    assert rows[0]["champion"] == f"none → {KEYS[0][:12]}"
    assert rows[1]["champion"] == KEYS[0][:12]
    assert rows[1]["NDCG@20"] == "0.2900 → 0.2950"
    assert rows[1]["interval of the gain"] == "-0.0150 … +0.0250"
    assert (rows[2]["NDCG@20"], rows[2]["why"]) == ("–", "reason 2")
    assert rows[3]["at (UTC)"] == "2014-06-22 03:00"
    drawn = page.table("window from", "champion", "challenger")
    assert [row["window from"] for row in drawn] == ["2014-03-01", "2014-03-08", "2014-03-15"]
    dumps = page.table("dump", "first", "last")
    assert [row["dump"] for row in dumps] == [f"week-{n}.csv" for n in range(4)]
    assert dumps[1]["champion's AUC"] == "0.800"
    assert dumps[0]["champion's AUC"] == "–"
    assert dumps[1]["quarantined"] == "10.0%"
    changes = page.table("dump", "ratings", "rows a user")
    assert len(changes) == 3  # a first load has nothing to differ from
    assert changes[0]["pace"].endswith("×")
    for title in ("Champion and challenger", "How each dump differs", "New rows of each dump",
                  "What the champion makes of each dump"):  # fmt: skip
        assert title in page.text


def test_every_drawing_is_made_and_can_be_saved(warehouse: Settings, tmp_path: Path) -> None:
    from mrl4rec.reporting import figures

    found = promotions.history(warehouse, DATASET)
    drawn = promotion_figures.draw(found)
    assert set(drawn) == {"champion_over_time", "drift", "drift_rows", "drift_auc"}
    assert all(path.stat().st_size > 5_000 for path in figures.save(drawn, tmp_path, "x"))
    axes = drawn["champion_over_time"].axes[0]
    labels = axes.get_legend_handles_labels()[1]
    assert set(labels) == {"champion", "challenger promoted", "challenger kept", "dump refused"}
    # Week 2, which has no late rows here, is shaded as a whole; a span is in days since 1970.
    (dump,) = found.refused()
    ends = [datetime.fromisoformat(found.dumps[2][name]) for name in ("first", "last")]
    assert [dump.begins, dump.ends] == ends
    (shade,) = (patch for patch in axes.patches if patch.get_zorder() == 0)
    days = (shade.get_x(), shade.get_x() + shade.get_width())
    assert days == pytest.approx([time.timestamp() / 86_400 for time in (dump.begins, dump.ends)])


@pytest.mark.filterwarnings("error")
def test_a_single_judgement_is_drawn_too(settings: Settings) -> None:
    row = Entry(decision="promoted", why="first", champion=KEYS[0], challenger=KEYS[1], run="r",
                evidence=evidence(0, 0.15, 0.16, 0.04))  # fmt: skip
    drawn = promotion_figures.draw(promotions.History([row], []))
    drawn["champion_over_time"].canvas.draw()


def test_without_retraining_there_is_no_such_section(settings: Settings) -> None:
    take_in(settings, WORLD.rows(0, 2), "a" * 64)
    page = report.build(settings, [DATASET]).read_text(encoding="utf-8")
    assert "<h3>Retraining</h3>" not in page
    assert promotion_figures.draw(promotions.history(settings, DATASET)) == {}


def test_a_ledger_of_refusals_alone(settings: Settings) -> None:
    take_in(settings, WORLD.rows(0, 2), "a" * 64)
    row = Entry(decision="refused", why="cut off", run="r", evidence={"kind": "dump"})
    ledger.append(settings, DATASET, row, None)
    page = Page(report.build(settings, [DATASET]).read_text(encoding="utf-8"))
    assert page.table("row", "at (UTC)")[0]["champion"] == "none"
    assert promotions.champion_table(promotions.history(settings, DATASET)) is None


def test_commits_are_not_needed_for_names() -> None:
    ingest = Commit("ingest", "k", "sources", 0, {"reviews": 3})
    assert promotions.name_of({"paths": [], "reviews_version": ingest.outputs["reviews"]}) == (
        "drift 3"
    )
    assert promotions.name_of({"paths": ["/x/a.csv", "/x/b.csv"]}) == "a.csv and 1 more"


def test_what_a_refused_dump_adds_to_the_time() -> None:
    def dump(digest: str, first: int | None, last: int | None) -> dict[str, Any]:
        days = [None if n is None else f"2014-03-{n:02}T00:00:00+00:00" for n in (first, last)]
        return {"source_sha256": [digest], "first": days[0], "last": days[1]}

    def day(n: int) -> datetime:
        return datetime(2014, 3, n, tzinfo=UTC)

    dumps = [dump("a", 1, 8), dump("late", 5, 15), dump("old", 2, 9), dump("none", None, None),
             dump("gap", 20, 22)]  # fmt: skip
    rows = [Entry(decision="refused", why="r", evidence={"sources": [name]})
            for name in ("late", "old", "none", "gap", "gone")]  # fmt: skip
    found = promotions.History(rows, dumps).refused()
    assert [(r.row.evidence["sources"], r.begins, r.ends) for r in found] == [
        (["late"], day(8), day(15)),
        (["old"], day(2), day(9)),
        (["gap"], day(20), day(22)),
    ]
