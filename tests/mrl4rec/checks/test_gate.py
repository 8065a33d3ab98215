"""A suite on facts through Great Expectations, and what becomes of the verdict."""

from __future__ import annotations

import json
import re
import shutil
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from deltalake import DeltaTable

from mrl4rec.checks import gate
from mrl4rec.checks.gate import Facts, Finding, Verdict, data_docs, suite_run
from mrl4rec.checks.gate.verdicts import last_failure
from mrl4rec.core import locks
from mrl4rec.core.errors import GateFailed, Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.tables import GATES, VECTOR_SUITES
from mrl4rec.tables.expectation import Expectation, Suite, fill, none

SUITE = Suite(
    "reviews",
    ("reviews", "sources"),
    (
        none("no_blank", "blanks", "nothing is blank", table="reviews", where="user_id = ''"),
        Expectation("enough", "rows", "there are rows", low=5),
        Expectation("few_bad", "share", "few are bad", high="most"),
    ),
)
VALUES = {"most": 0.1}
GOOD = {"blanks": 0, "rows": 5, "share": 0.1}
"""Every fact exactly at its limit."""


def judged(
    settings: Settings,
    facts: dict[str, Any],
    suite: Suite = SUITE,
    version: int = 1,
    **more: Any,
) -> Verdict:
    """The verdict on reviews and sources at a version."""
    marks = {table: str(version) for table in suite.tables}
    found = Facts(pd.DataFrame([facts]), **more)
    return gate.judge(settings, "d", suite, marks, found, values=VALUES)


def known(settings: Settings, version: int = 1, most: float = 0.1) -> Verdict | None:
    marks = {table: str(version) for table in SUITE.tables}
    return gate.find(settings, "d", SUITE.name, marks, SUITE.digest({"most": most}))


# --------------------------------------------------------------------------------------- limits


@pytest.mark.fault("F20")
def test_exactly_at_every_limit_passes(settings: Settings) -> None:
    verdict = judged(settings, GOOD)
    assert verdict.passed
    assert (verdict.declared, verdict.evaluated, verdict.failed) == (3, 3, ())
    assert [finding.seen for finding in verdict.findings] == [0, 5, 0.1]


@pytest.mark.parametrize(
    ("fact", "value", "name"),
    [("blanks", 1, "no_blank"), ("rows", 4, "enough"), ("share", 0.1000001, "few_bad")],
)
@pytest.mark.fault("F20")
def test_one_past_a_limit_fails_that_expectation_alone(
    settings: Settings, fact: str, value: float, name: str
) -> None:
    verdict = judged(settings, GOOD | {fact: value})
    assert not verdict.passed
    assert verdict.complete
    assert [finding.name for finding in verdict.failed] == [name]


# ------------------------------------------------------------------- a gate that cannot be passed


@pytest.mark.fault("F19")
def test_an_empty_suite_fails(settings: Settings) -> None:
    verdict = judged(settings, GOOD, replace(SUITE, expectations=()))
    assert not verdict.passed
    with pytest.raises(GateFailed, match="its suite is empty"):
        gate.require(settings, verdict)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"blanks": 0, "rows": 5}, "share"),  # the fact is missing: Great Expectations raises
        (GOOD | {"share": None}, "nothing to see"),
        (GOOD | {"share": float("nan")}, "nothing to see"),
        (GOOD | {"share": "many"}, ""),  # not a number: the comparison raises
    ],
)
@pytest.mark.fault("F19")
def test_an_expectation_without_an_answer_fails_the_gate(
    settings: Settings, facts: dict[str, Any], why: str
) -> None:
    verdict = judged(settings, facts)
    assert (verdict.declared, verdict.evaluated) == (3, 2)
    assert [finding.name for finding in verdict.failed] == ["few_bad"]
    assert why in str(verdict.failed[0].problem)
    with pytest.raises(GateFailed, match=r"only 2 of 3 expectations[^✗]*✗ no answer from few_bad"):
        gate.require(settings, verdict)


@pytest.mark.fault("F19")
def test_a_verdict_on_part_of_a_suite_is_no_pass(settings: Settings) -> None:
    """Two findings for three expectations, both met: evaluated < declared."""
    whole = judged(settings, GOOD)
    part = replace(whole, findings=whole.findings[:2])
    assert not part.failed
    assert not part.passed
    with pytest.raises(GateFailed, match="only 2 of 3"):
        gate.require(settings, part)


def test_a_frame_of_two_rows_is_refused(settings: Settings) -> None:
    """The judged value is a maximum: of two rows it would hide the smaller."""
    frame = pd.DataFrame([GOOD, GOOD])
    with pytest.raises(GateFailed, match="one row"):
        gate.judge(settings, "d", SUITE, {"reviews": "1"}, Facts(frame), values=VALUES)


# ------------------------------------------------------------------------------------- the words


def test_the_message_says_what_a_person_needs(settings: Settings) -> None:
    """Table, version, expectation, seen and wanted, a note, rows, how to list them, the page."""
    rows = [{"user_id": "", "n": n} for n in range(9)]
    verdict = judged(
        settings,
        GOOD | {"blanks": 9},
        version=7,
        notes={"blanks": "look here"},
        sample=lambda _: rows,
    )
    with pytest.raises(GateFailed) as error:
        gate.require(settings, verdict)
    text = str(error.value)
    assert error.value.exit_code == 3
    for part in ("reviews version 7", "no_blank", "nothing is blank", "seen 9, wanted 0",
                 "look here", "user_id='', n=4", "--expectation no_blank", ".html"):  # fmt: skip
        assert part in text
    assert "n=5" not in text  # five rows, no more
    assert "enough" not in text


def test_a_sample_that_cannot_be_taken_does_not_change_the_verdict(settings: Settings) -> None:
    def sample(_: Expectation) -> list[dict[str, Any]]:
        return [{}[0]]

    verdict = judged(settings, GOOD | {"blanks": 1}, sample=sample)
    assert verdict.complete
    assert verdict.failed[0].sample == ()


def test_markdown_has_a_row_an_expectation_and_a_link(settings: Settings) -> None:
    verdict = judged(settings, GOOD | {"rows": 4})
    text = gate.markdown(verdict, "[Data Docs](http://127.0.0.1/page.html)")
    assert "Gate reviews FAILED: d" in text
    assert "| ✗ | enough | 4 | ≥ 5 | there are rows |" in text
    assert "| ✓ | few_bad | 0.1 | ≤ 0.1 | few are bad |" in text
    assert "\n[Data Docs](http://127.0.0.1/page.html)\n" in text


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0, 0, "0"), (5, None, "≥ 5"), (None, 0.25, "≤ 0.25"), (1, 1234567, "1 to 1,234,567")],
)
def test_limits_in_words(low: float | None, high: float | None, words: str) -> None:
    assert Finding("n", "m", None, low, high, met=False).wanted == words


# ---------------------------------------------------------------------------------- what is kept


def test_a_verdict_is_kept_for_every_table_and_found_again(settings: Settings) -> None:
    given = judged(settings, GOOD)
    rows = DeltaTable(settings.storage.table_uri("d", "gates")).to_pyarrow_table().to_pylist()
    assert {(r["table"], r["version"], r["verdict"]) for r in rows} == {
        ("reviews", "1", "pass"),
        ("sources", "1", "pass"),
    }
    assert [(r["declared"], r["evaluated"], r["failed"]) for r in rows] == [(3, 3, 0)] * 2
    assert json.loads(rows[0]["seen"])["findings"][1]["seen"] == 5
    assert known(settings) == replace(given, known=True)
    assert known(settings, version=2) is None


def test_a_failed_version_stays_failed(settings: Settings) -> None:
    """Better facts for the same version and question change nothing that is kept."""
    judged(settings, GOOD | {"rows": 4})
    judged(settings, GOOD)
    verdict = known(settings)
    assert verdict is not None
    assert not verdict.passed


def test_another_question_is_judged_anew(settings: Settings) -> None:
    """The share was above the limit then; with a higher limit it is asked again and passes."""
    judged(settings, GOOD | {"share": 0.2})
    assert known(settings, most=0.3) is None
    facts = Facts(pd.DataFrame([GOOD | {"share": 0.2}]))
    marks = {"reviews": "1", "sources": "1"}
    gate.judge(settings, "d", SUITE, marks, facts, values={"most": 0.3})
    verdict = known(settings, most=0.3)
    assert verdict is not None
    assert verdict.passed


def test_an_incomplete_verdict_is_kept_as_a_failure_and_judged_again(settings: Settings) -> None:
    judged(settings, {"blanks": 0, "rows": 5})
    rows = DeltaTable(settings.storage.table_uri("d", "gates")).to_pyarrow_table().to_pylist()
    assert {(row["verdict"], row["declared"], row["evaluated"]) for row in rows} == {("fail", 3, 2)}
    assert known(settings) is None
    judged(settings, GOOD)
    verdict = known(settings)
    assert verdict is not None
    assert verdict.passed


def test_a_table_that_passed_stays_good_when_its_companion_fails_later(settings: Settings) -> None:
    """reviews stays at version 1 while sources moves on to a bad version 2."""
    judged(settings, GOOD)
    bad = Facts(pd.DataFrame([GOOD | {"share": 1.0}]))
    gate.judge(settings, "d", SUITE, {"reviews": "1", "sources": "2"}, bad, values=VALUES)
    rows = DeltaTable(settings.storage.table_uri("d", "gates")).to_pyarrow_table().to_pylist()
    verdicts = {(row["table"], row["version"]): row["verdict"] for row in rows}
    assert verdicts == {
        ("reviews", "1"): "pass",
        ("sources", "1"): "pass",
        ("sources", "2"): "fail",
    }
    both = gate.find(
        settings, "d", "reviews", {"reviews": "1", "sources": "2"}, SUITE.digest(VALUES)
    )
    assert both is not None
    assert not both.passed


@pytest.mark.fault("F11")
def test_writers_at_once_lose_no_verdict(settings: Settings) -> None:
    """Eight threads keep eight verdicts in one table that is not there yet."""
    findings = (Finding("a", "b", 1.0, 1.0, 1.0, met=True),)

    def keep(version: int) -> None:
        gate.record(
            settings,
            Verdict("d", "s", {"t": str(version)}, findings, 1, "q", datetime.now(UTC)),
        )

    threads = [threading.Thread(target=keep, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    table = DeltaTable(settings.storage.table_uri("d", GATES.name)).to_pyarrow_table()
    assert sorted(table["version"].to_pylist()) == [str(n) for n in range(8)]


def test_one_run_judges_a_data_set_at_a_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Great Expectations keeps in its folder is rewritten by every run that judges."""
    waits: list[str] = []

    def other() -> None:
        path = settings.storage.lock_file("d", "gates")
        with pytest.raises(Mrl4recError) as caught, locks.locked(path, timeout=0):
            pass
        waits.append(caught.value.what)

    def beside(*given: Any) -> Any:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(60)
        return suite_run.run_suite(*given)

    monkeypatch.setattr(sys.modules[gate.judge.__module__], "run_suite", beside)
    assert judged(settings, GOOD).passed
    assert judged(settings, GOOD, version=2).passed
    assert len(waits) == 2


def test_the_newest_failure_of_an_expectation_is_found(settings: Settings) -> None:
    judged(settings, GOOD | {"blanks": 1}, version=1)
    judged(settings, GOOD | {"blanks": 2}, version=2)
    verdict, finding = last_failure(settings, "d", "reviews", "no_blank")
    assert verdict.marks["reviews"] == "2"
    assert finding.listing == "SELECT * FROM reviews WHERE user_id = ''"
    with pytest.raises(UsageError, match="has 'enough' not met"):
        last_failure(settings, "d", "reviews", "enough")


# ------------------------------------------------------------------------------------ Data Docs


def test_pages_of_two_runs_stay_and_move_with_the_warehouse(
    settings: Settings, tmp_path: Path
) -> None:
    first, second = judged(settings, GOOD, version=1), judged(settings, GOOD, version=2)
    moved = tmp_path / "elsewhere"
    shutil.move(settings.warehouse, moved)
    there = settings.model_copy(update={"warehouse": moved})
    third = judged(there, GOOD, version=3)
    pages = [verdict.page(there) for verdict in (first, second, third)]
    assert all(page is not None and page.is_file() for page in pages)
    index = (moved / "d" / "gx" / "data_docs" / "index.html").read_text()
    for version in (1, 2, 3):
        assert f"reviews-v{version}" in index
    assert not settings.warehouse.exists()
    text = pages[2].read_text() if pages[2] else ""
    assert "few are bad" in text
    assert not re.findall(r"<(?:script|link|img)[^>]*(?:https?:)?//[^>]*>", index + text)
    assert pages[2] is not None
    for local in re.findall(r'(?:src|href)="(\.\./[^"#]*|static/[^"#]*)"', text):
        assert (pages[2].parent / local).is_file(), local
    assert str(tmp_path) not in text


def test_the_index_lists_the_verdicts_and_leads_to_their_pages(settings: Settings) -> None:
    judged(settings, GOOD, version=1)
    judged(settings, GOOD | {"rows": 4}, version=2)
    index = settings.storage.data_docs_dir("d") / "data_docs" / "index.html"
    rows = re.findall(r"<tr>(.*?)</tr>", index.read_text(), re.S)[1:]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    told = [(table, version, re.sub("<.*?>", "", word)) for table, version, _, word, *_ in cells]
    assert told == [
        ("reviews", "2", "✗ failed"), ("reviews", "1", "✓ passed"),
        ("sources", "2", "✗ failed"), ("sources", "1", "✓ passed"),
    ]  # fmt: skip
    links = re.findall(r'<a href="([^"]*)">', index.read_text())
    assert len(links) == 4
    assert all((index.parent / link).is_file() for link in links)


def test_pages_of_older_versions_get_local_styles_too(settings: Settings) -> None:
    page = judged(settings, GOOD, version=1).page(settings)
    assert page is not None
    site = settings.storage.data_docs_dir("d") / "data_docs"
    page.write_text('<head><script src="https://cdn.example/x.js"></script></head>old')
    (site / "static" / "data_docs.css").unlink()
    data_docs.refresh(settings)
    text = page.read_text()
    assert "cdn.example" not in text
    assert "data_docs.css" in text
    assert text.endswith("old")
    assert (site / "static" / "data_docs.css").is_file()


def test_nothing_is_written_outside_the_warehouse(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    judged(settings, GOOD)
    assert list(home.rglob("*")) == []


# -------------------------------------------------------------------------------------- warnings

SUITE_WARNS = replace(
    SUITE,
    expectations=(*SUITE.expectations[:2], replace(SUITE.expectations[2], warns=True)),
)


def test_a_warning_passes_is_logged_and_is_kept(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    notes = {"share": "look at the dump"}
    verdict = judged(settings, GOOD | {"share": 0.2}, SUITE_WARNS, notes=notes)
    assert verdict.passed
    assert [finding.name for finding in verdict.warnings] == ["few_bad"]
    marks = {"reviews": "1", "sources": "1"}
    kept = gate.find(settings, "d", SUITE.name, marks, SUITE_WARNS.digest(VALUES))
    assert kept is not None
    for one in (verdict, kept):
        caplog.clear()
        assert gate.require(settings, one) is one
        (record,) = caplog.records
        for words in ("few_bad", "reviews version 1", "seen 0.2", "≤ 0.1", "look at the dump"):
            assert words in record.message
    assert "| ⚠ | few_bad | 0.2 |" in gate.markdown(verdict)


def test_a_warning_within_its_limits_says_nothing_and_others_still_fail(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert gate.require(settings, judged(settings, GOOD, SUITE_WARNS)).warnings == ()
    assert not caplog.records
    bad = judged(settings, GOOD | {"share": 0.2, "rows": 4}, SUITE_WARNS, version=2)
    assert [finding.name for finding in bad.failed] == ["enough"]
    silent = judged(settings, {"blanks": 0, "rows": 5}, SUITE_WARNS, version=3)
    for verdict in (bad, silent):  # without an answer it fails as any other
        with pytest.raises(GateFailed):
            gate.require(settings, verdict)


def test_suites_without_warnings_ask_what_they_asked_before_there_were_any() -> None:
    """Or every table version and model of older warehouses would be judged again."""
    assert VECTOR_SUITES["factors"].digest({}) == "de7084539df168c2"
    assert SUITE_WARNS.digest(VALUES) != SUITE.digest(VALUES)


# ---------------------------------------------------------------------------------- declarations


def test_a_suite_says_so_when_it_is_declared_wrong() -> None:
    with pytest.raises(ValueError, match="no limit"):
        Expectation("a", "f", "m")
    with pytest.raises(ValueError, match="table and where"):
        none("a", "f", "m", where="x = 1")
    with pytest.raises(ValueError, match="twice"):
        Suite("s", ("t",), (none("a", "f", "m"), none("a", "g", "m")))
    with pytest.raises(KeyError):
        Expectation("a", "f", "m", low="k").limits({})


def test_sql_text_goes_in_for_the_names_it_has() -> None:
    assert fill("{a} {b} {2}", {"a": "1"}) == "1 {b} {2}"
