"""The records that broke a rule, listed; what every ingest says of them."""

from __future__ import annotations

import json
import logging
import shlex
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows import ingest_messages
from flows.cli.quarantine import run as quarantine
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from tests.flows import warehouse
from tests.flows.dumps import answer, mrl4rec
from tests.flows.parsed import parsed

BAD = {
    "source_sha256": ["a"] * 3,
    "record_no": [103, 101, 102],
    "rule": ["no_user", "no_user", "bad_time"],
    "record": ["[/red] \x1b[2J", '{"b": 1}', "x" * 500], "detail": [None, "nothing in b", "-1"],
}  # fmt: skip


@pytest.fixture
def bad(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A warehouse with four quarantined records, which the settings name."""
    warehouse.build(settings)
    warehouse.write(settings, "quarantine", BAD)
    monkeypatch.setenv("MRL4REC_WAREHOUSE", str(settings.warehouse))
    return settings


def asked(*words: str) -> Namespace:
    return parsed("quarantine", "--dataset", warehouse.DATASET, *words)


@pytest.mark.usefixtures("bad")
def test_records_by_rule_with_their_file() -> None:
    found = quarantine(asked("--json"))
    assert found["rules"] == {"no_user": 2, "bad_time": 1, "not_json": 1}
    assert [row["record_no"] for row in found["rows"]] == [100, 101, 102, 103]
    assert {row["path"] for row in found["rows"]} == {"a.json"}
    assert found["rows"][2]["record"] == "x" * 500
    assert json.dumps(found)


@pytest.mark.usefixtures("bad")
def test_one_rule_and_a_few_rows() -> None:
    found = quarantine(asked("--json", "--rule", "no_user", "--rows", "1"))
    assert [row["rule"] for row in found["rows"]] == ["no_user"]
    with pytest.raises(UsageError, match="no_user") as refused:
        quarantine(asked("--rule", "no_usr"))
    assert warehouse.DATASET in refused.value.what
    with pytest.raises(UsageError, match="--rows"):
        quarantine(asked("--rows", "-1"))


@pytest.mark.usefixtures("bad")
def test_people_see_records_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert quarantine(asked()) is None
    said = capsys.readouterr().out
    assert "[/red]" in said  # no markup
    assert "\x1b" not in said  # and nothing for the terminal
    assert "x" * 500 not in said


def test_none_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRL4REC_WAREHOUSE", str(settings.warehouse))
    with pytest.raises(UsageError) as refused:
        quarantine(asked())
    assert refused.value.where == str(settings.warehouse.absolute())


# ----------------------------------------------------------------------------- what an ingest says

SUMMARY: dict[str, Any] = {
    "sources": [{"path": "a b.csv", "mapping": "csv: user=a, item=b"}],
    "total": {"rows_read": 200, "rows_accepted": 190, "rows_duplicate": 5, "rows_quarantined": 5},
    "rules": {"bad_time": 1, "no_user": 4},
    "first_bad": {"no_user": {"path": "a b.csv", "record_no": 7, "record": ",x\n", "detail": None}},
    "notes": ["unit seen: ms"],
}


def test_what_was_read_is_said() -> None:
    assert list(ingest_messages.taken(SUMMARY)) == [
        "200 records read: 190 accepted, 5 duplicate, 5 quarantined",
        "note: unit seen: ms",
    ]


def test_rules_come_with_their_first_record_and_a_command_to_paste(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path / "my warehouse")
    head, first, second, command = ingest_messages.quarantined(SUMMARY, "d", settings)
    assert head.startswith("5 of 200 records of d")
    assert first.startswith("4 no_user")
    assert first.endswith(r"a b.csv record 7: ,x\n")
    assert second == "1 bad_time"
    words = shlex.split(command.removeprefix("list them: "))
    assert words == ["mrl4rec", "quarantine", "--dataset", "d", "--warehouse",
                     str(settings.warehouse)]  # fmt: skip
    parsed(*words[1:])
    nothing = {**SUMMARY, "total": {**SUMMARY["total"], "rows_quarantined": 0}}
    assert list(ingest_messages.quarantined(nothing, "d", settings)) == []


def test_a_long_record_is_cut(settings: Settings) -> None:
    first = {"path": "a", "record_no": 0, "record": "y" * 1000, "detail": "z"}
    told = {**SUMMARY, "first_bad": {"no_user": first}}
    line = list(ingest_messages.quarantined(told, "d", settings))[1]
    assert line.count("y") == 200


def test_of_an_ingest_that_was_found_only_the_quarantine_is_said(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[logging.LogRecord] = []
    monkeypatch.setattr(ingest_messages.log, "handle", records.append)
    commit = Commit("ingest", "k", "sources", 0, {}, SUMMARY)
    with caplog.at_level("INFO", logger=ingest_messages.log.name):
        ingest_messages.tell(commit, "d", settings)
        assert len(records) == 3
        records.clear()
        ingest_messages.tell(replace(commit, found=True), "d", settings)
    assert [record.levelname for record in records] == ["WARNING"]


def test_a_command_that_ingests_says_it(tmp_path: Path) -> None:
    rows = [f"u{n % 9},i{n % 7},{1 + n % 5},{1_300_000_000 + n}" for n in range(300)]
    rows[17] = ",i1,3,1300000000"
    dump = tmp_path / "r.csv"
    dump.write_text("\n".join(["userId,movieId,rating,timestamp", *rows]) + "\n")
    asked = ["kcore", "--dataset", "d", "--source", str(dump)]
    done = mrl4rec(*asked, warehouse=tmp_path / "w")
    answer(done)
    assert done.stderr.count("1 no_user, the first: ") == 1
    (line,) = [line for line in done.stderr.splitlines() if "list them: " in line]
    words = shlex.split(line.partition("list them: ")[2])
    (bad,) = answer(mrl4rec(*words[1:-2], warehouse=tmp_path / "w"))["rows"]
    assert (bad["rule"], bad["record"], bad["path"]) == ("no_user", rows[17], str(dump))
