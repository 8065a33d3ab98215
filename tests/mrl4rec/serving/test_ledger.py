"""The ledger: rows are added, never changed; of two at once one wins; damage is said."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import METADATA, LostRace, properties
from mrl4rec.serving.registry import ledger
from mrl4rec.serving.registry.ledger import Conflict, Entry, Reign
from mrl4rec.tables.promotions import PROMOTIONS

DATASET = "d"
DAY = datetime(2026, 3, 1, tzinfo=UTC)


def promoted(model: str, run: str = "", **more: Any) -> Entry:
    return Entry(
        decision="promoted", why="better", champion=model, challenger=model, run=run, **more
    )


def table(settings: Settings) -> DeltaTable:
    return DeltaTable(settings.storage.table_uri(DATASET, "promotions"))


@pytest.mark.fault("F36")
def test_an_empty_ledger_has_no_champion(settings: Settings) -> None:
    assert ledger.entries(settings, DATASET) == []
    assert ledger.champion(settings, DATASET) is None
    assert not settings.warehouse.exists()  # to look is not to write


def test_rows_come_back_as_they_were_written(settings: Settings) -> None:
    told = promoted(
        "a",
        "run-1",
        evidence={"ndcg": {"interval": [0.01, 0.03]}, "users": 500},
        evidence_file="duels/x.parquet",
        versions={"splits": 4, "split_key": "s"},
        at=DAY,
    )
    row = ledger.append(settings, DATASET, told, None)
    assert row == replace(told, seq=0)
    kept = Entry(decision="kept", why="noise", challenger="b", run="run-2")
    second = ledger.append(settings, DATASET, kept, "a")
    assert (second.seq, second.champion_before, second.champion) == (1, "a", "a")
    back = ledger.append(settings, DATASET, Entry(decision="rolled_back", why="bad"), "a")
    assert (back.seq, back.champion_before, back.champion) == (2, "a", None)
    assert ledger.entries(settings, DATASET) == [row, second, back]
    assert ledger.champion(settings, DATASET) is None


def test_a_row_against_another_champion_is_a_conflict(settings: Settings) -> None:
    ledger.append(settings, DATASET, promoted("a"), None)
    with pytest.raises(Conflict, match="it was none, it is a since row 0"):
        ledger.append(settings, DATASET, promoted("b"), None)
    with pytest.raises(Conflict, match="it was z"):
        ledger.append(settings, DATASET, Entry(decision="kept", why="w"), "z")
    assert [row.champion for row in ledger.entries(settings, DATASET)] == ["a"]


@pytest.mark.fault("F9")
def test_the_same_run_again_gets_the_row_that_is_there(settings: Settings) -> None:
    first = ledger.append(settings, DATASET, promoted("a", "run-1"), None)
    ledger.append(settings, DATASET, promoted("b", "run-2"), "a")
    again = ledger.append(settings, DATASET, promoted("a", "run-1"), None)
    assert again == first
    assert len(ledger.entries(settings, DATASET)) == 2


def test_by_hand_twice_is_two_rows(settings: Settings) -> None:
    for before in (None, "a"):
        hand = Entry(decision="by_hand", why="I know", champion="a")
        ledger.append(settings, DATASET, hand, before)
    assert [row.seq for row in ledger.entries(settings, DATASET)] == [0, 1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"decision": "demoted", "why": "w"},
        {"decision": "kept", "why": "  "},
        {"decision": "kept", "why": "w", "champion": "b", "champion_before": "a"},
        {"decision": "promoted", "why": "w"},
        {"decision": "rolled_back", "why": "w", "at": datetime(2026, 1, 1)},
    ],
)
def test_a_row_that_contradicts_itself_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Mrl4recError, match="cannot stand in the ledger"):
        Entry(**wrong)


def test_evidence_that_json_cannot_hold_is_refused(settings: Settings) -> None:
    with pytest.raises(Mrl4recError, match="cannot stand in the ledger"):
        ledger.append(settings, DATASET, promoted("a", evidence={"gain": float("nan")}), None)
    assert ledger.entries(settings, DATASET) == []


def test_delta_refuses_to_change_or_delete_a_row(settings: Settings) -> None:
    ledger.append(settings, DATASET, promoted("a"), None)
    with pytest.raises(CommitFailedError, match="append-only"):
        table(settings).delete()
    with pytest.raises(CommitFailedError, match="append-only"):
        table(settings).update({"champion": "'b'"})
    with pytest.raises(CommitFailedError, match="append-only"):
        write_deltalake(table(settings), PROMOTIONS.schema.empty_table(), mode="overwrite")
    assert ledger.champion(settings, DATASET) == "a"


def by_hand(settings: Settings, seq: int, before: str | None, champion: str | None) -> None:
    """Append a row as somebody would who goes around the ledger."""
    row = {
        "seq": seq, "at": DAY, "decision": "rolled_back", "champion_before": before,
        "challenger": None, "champion": champion, "why": "by hand", "run": "", "evidence": "{}",
        "evidence_file": None, "versions": "{}",
    }  # fmt: skip
    rows = pa.Table.from_pylist([row], schema=PROMOTIONS.schema)
    write_deltalake(table(settings), rows, mode="append")


@pytest.mark.parametrize(
    ("seq", "before", "champion", "said"),
    [
        (3, "b", "x", "row 2 is missing"),
        (1, "a", "x", "row 1 is there twice"),
        (2, "z", "x", "row 2 says the champion before was z"),
    ],
)
def test_what_was_done_by_hand_is_said(
    settings: Settings, seq: int, before: str, champion: str, said: str
) -> None:
    ledger.append(settings, DATASET, promoted("a"), None)
    ledger.append(settings, DATASET, promoted("b"), "a")
    by_hand(settings, seq, before, champion)
    for ask in (ledger.entries, ledger.champion):
        with pytest.raises(Mrl4recError, match=said):
            ask(settings, DATASET)
    with pytest.raises(Mrl4recError, match=said):
        ledger.append(settings, DATASET, promoted("c"), "b")


def test_rows_that_a_restore_took_away_are_missed(settings: Settings) -> None:
    ledger.append(settings, DATASET, promoted("a"), None)
    before = table(settings).version()
    ledger.append(settings, DATASET, promoted("b"), "a")
    table(settings).restore(before)
    with pytest.raises(Mrl4recError, match="rows 1 to 1 were written and are gone"):
        ledger.entries(settings, DATASET)
    table(settings).restore(before + 1)  # what the message says to do
    assert ledger.champion(settings, DATASET) == "b"


@pytest.mark.parametrize("damage", ["cut", "gone", "evidence"])
def test_a_ledger_that_cannot_be_read_is_said(settings: Settings, damage: str) -> None:
    ledger.append(settings, DATASET, promoted("a"), None)
    (file,) = Path(settings.storage.table_uri(DATASET, "promotions")).glob("*.parquet")
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-50])
    elif damage == "gone":
        file.unlink()
    else:
        row = table(settings).to_pyarrow_table().to_pylist()[0]
        row |= {"seq": 1, "champion_before": "a", "evidence": "{not JSON"}
        rows = pa.Table.from_pylist([row], schema=PROMOTIONS.schema)
        write_deltalake(table(settings), rows, mode="append")
    with pytest.raises(Mrl4recError, match="damaged or was changed by hand"):
        ledger.entries(settings, DATASET)


def test_who_reigned_from_when_to_when(settings: Settings) -> None:
    story: list[tuple[ledger.Decision, str | None]] = [
        ("refused", None), ("promoted", "a"), ("kept", "a"), ("promoted", "b"),
        ("rolled_back", "a"), ("by_hand", "a"), ("rolled_back", None),
    ]  # fmt: skip
    rows, before = [], None
    for day, (decision, model) in enumerate(story):
        at = DAY + timedelta(days=day)
        entry = Entry(decision=decision, why="w", champion=model, champion_before=before, at=at)
        rows.append(replace(entry, seq=day))
        before = model
    days = [DAY + timedelta(days=day) for day in range(len(story))]
    assert ledger.reigns(rows) == [
        Reign("a", days[1], days[3], 1),
        Reign("b", days[3], days[4], 3),
        Reign("a", days[4], days[6], 4),
        Reign(None, days[6], None, 6),
    ]


RACE = """
import sys, time
from pathlib import Path
from mrl4rec.serving.registry import ledger
from mrl4rec.serving.registry.ledger import Conflict, Entry
from mrl4rec.core.settings import Settings
settings, me = Settings(warehouse=Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for n in range(int(sys.argv[3])):
    while True:
        champion = ledger.champion(settings, "d")
        entry = Entry(decision="promoted", why=f"{me} {n}", champion=f"{me}{n}", run=f"{me}-{n}")
        try:
            ledger.append(settings, "d", entry, champion)
            break
        except Conflict:
            print("lost", flush=True)
"""


@pytest.fixture
def racers(settings: Settings) -> Iterator[list[subprocess.Popen[str]]]:
    """Three processes that will each promote six models of their own, as fast as they can."""
    command = [sys.executable, "-c", RACE, str(settings.warehouse)]
    processes = [
        subprocess.Popen(
            [*command, me, "6"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for me in "xyz"
    ]
    yield processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_three_processes_at_once_make_one_chain(
    settings: Settings, racers: list[subprocess.Popen[str]]
) -> None:
    for process in racers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in racers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait(timeout=300) for process in racers] == [0, 0, 0]
    rows = ledger.entries(settings, DATASET)  # raises where the chain is broken
    assert sorted(row.champion or "" for row in rows) == sorted(
        f"{me}{n}" for me in "xyz" for n in range(6)
    )
    losses = sum(
        (process.stdout.read() if process.stdout else "").count("lost") for process in racers
    )
    assert losses > 0  # else they never met, and this shows nothing


ONCE = """
import sys
from pathlib import Path
from mrl4rec.serving.registry import ledger
from mrl4rec.serving.registry.ledger import Entry
from mrl4rec.core.settings import Settings
settings, me = Settings(warehouse=Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
ledger.append(settings, "d", Entry(decision="by_hand", why="w", champion=me), None)
"""


@pytest.mark.fault("F35")
@pytest.mark.slow
def test_of_two_promotions_against_the_same_champion_one_wins(settings: Settings) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ONCE, str(settings.warehouse), me],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for me in "xy"
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # at once: neither waits for the other to end
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 1]
    (row,) = ledger.entries(settings, DATASET)
    (lost,) = (text for text in said if text)
    assert f"it was none, it is {row.champion}" in lost


@pytest.mark.fault("F11")
def test_two_that_read_the_same_row_cannot_both_write(settings: Settings) -> None:
    ledger.append(settings, DATASET, promoted("a"), None)
    stale = table(settings)
    ledger.append(settings, DATASET, promoted("b"), "a")
    late = replace(promoted("c"), champion_before="a", seq=1)
    with pytest.raises(LostRace):
        ledger._insert(stale, late)
    assert ledger.champion(settings, DATASET) == "b"


@example_settings(max_examples=8, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["promoted", "kept", "refused", "rolled_back"]), st.integers(0, 3)
        ),
        max_size=6,
    )
)
def test_any_story_reads_back(
    tmp_path_factory: pytest.TempPathFactory, story: list[tuple[ledger.Decision, int]]
) -> None:
    settings = Settings(warehouse=tmp_path_factory.mktemp("ledger"))
    expected: list[str | None] = []
    for decision, model in story:
        before = expected[-1] if expected else None
        champion = f"m{model}" if decision in ("promoted", "rolled_back") else None
        entry = Entry(decision=decision, why=decision, champion=champion)
        row = ledger.append(settings, DATASET, entry, before)
        expected.append(champion if entry.changes else before)
        assert row.champion == expected[-1]
    rows = ledger.entries(settings, DATASET)
    assert [row.champion for row in rows] == expected
    assert [row.seq for row in rows] == list(range(len(story)))
    changes = [row.champion for row in rows if row.changes]
    reigned = [reign.champion for reign in ledger.reigns(rows)]
    assert all(a != b for a, b in itertools.pairwise(reigned))
    assert set(reigned) - {None} == set(changes) - {None}


def test_a_commit_says_which_row_it_added(settings: Settings) -> None:
    ledger.append(settings, DATASET, promoted("a"), None)
    notes = [entry.get(METADATA) for entry in table(settings).history()]
    assert [json.loads(note) for note in notes if note] == [{ledger.NOTE: 0}]
    write_deltalake(
        table(settings),
        PROMOTIONS.schema.empty_table(),
        mode="append",
        commit_properties=properties("words of somebody else"),
    )
    assert ledger.champion(settings, DATASET) == "a"
