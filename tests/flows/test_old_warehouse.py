"""A warehouse written by version 1 of the stages is read as it is, and retraining continues on it.

``tests/data/warehouse-v1.tar.gz`` holds the data set ``old``: week 1 (Amazon 2014) promoted a model
over popularity, week 2 (Amazon 2018) kept it, and a spoilt week 3 failed the drift gate, so the
newest versions of ``reviews``, ``quarantine`` and ``sources`` are not the good ones. It has no
MLflow database, and its path is not the one it was written at. ``warehouse-v1.json`` holds the
expected content, and under ``after`` what version 1 made of ``week-3.json.gz``, the same week
without the fault.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from mrl4rec.checks import drift
from mrl4rec.core.settings import Settings
from mrl4rec.serving.registry import ledger
from mrl4rec.tables import versions
from tests.flows.dumps import answer, mrl4rec

Rows = list[dict[str, Any]]

DATA = Path(__file__).resolve().parents[1] / "data"
WEEK_3 = DATA / "week-3.json.gz"
DATASET = "old"
EXPECTED: dict[str, Any] = json.loads((DATA / "warehouse-v1.json").read_text(encoding="utf-8"))
AFTER: dict[str, Any] = EXPECTED["after"]
MARKERS = ("sources", "interactions", "splits")
LAST_OPTIONS = ["--epochs", "11", "--seeds", "0,1"]
"""Options of the last retraining in the ledger."""
FEW_USERS = {"MRL4REC_RETRAIN_MIN_USERS": "60"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The unpacked warehouse."""
    return unpack(tmp_path / "warehouse")


def unpack(folder: Path) -> Settings:
    with tarfile.open(DATA / "warehouse-v1.tar.gz") as archive:
        archive.extractall(folder)  # our own; the first Pythons 3.11 know no filter
    return Settings(warehouse=folder)


def command(settings: Settings, *arguments: str, **environment: str) -> Any:
    """The JSON that a command on the data set prints."""
    given = [arguments[0], "--dataset", DATASET, *arguments[1:]]
    return answer(mrl4rec(*given, warehouse=settings.warehouse, **environment))


def retrain(settings: Settings, dumps: Path) -> Any:
    """The outcome of ``mrl4rec retrain`` with the options of the last retraining."""
    home = str(settings.warehouse.with_name("prefect"))
    options = ["--dumps", str(dumps), *LAST_OPTIONS]
    return command(settings, "retrain", *options, PREFECT_HOME=home, **FEW_USERS)


def read(settings: Settings, table: str, version: int, columns: Iterable[str]) -> Rows:
    delta = DeltaTable(settings.storage.table_uri(DATASET, table), version)
    return list(delta.to_pyarrow_table(columns=list(columns)).to_pylist())


def digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 of rows with named columns, sorted."""
    lines = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def newest_rows(settings: Settings) -> dict[str, Rows]:
    """The rows of each table at the newest good commit of its stage, in the columns compared.

    Left out are the path of a source, which is the test's own, and the detail of a quarantined
    record, which may name the time of the run.
    """
    rows = {}
    for marker in MARKERS:
        commit = versions.newest_good(settings, DATASET, marker)
        assert commit is not None
        others = [table for table in versions.OUTPUTS[marker] if table in commit.outputs]
        for table in (marker, *others):
            version = commit.table_version(table)
            rows[table] = read(settings, table, version, AFTER["columns"][table])
    return rows


def digests(rows: Mapping[str, Rows]) -> dict[str, str]:
    """By table; of ``splits`` only which pairs are test: valid ones are chosen by a hash."""
    held_out = [{**row, "fold": row["fold"] == "test"} for row in rows["splits"]]
    return {table: digest(content) for table, content in {**rows, "splits": held_out}.items()}


def by_number(rows: Rows, column: str) -> Rows:
    return sorted(rows, key=lambda row: row[column])


# ------------------------------------------------------------------------------ reading


def test_every_table_reads_as_it_was_written(settings: Settings) -> None:
    for name, content in EXPECTED["tables"].items():
        table, _, version = name.partition("@")
        rows = read(settings, table, int(version), content["columns"])
        assert (len(rows), digest(rows)) == (content["rows"], content["digest"]), name


@pytest.mark.parametrize("marker", MARKERS)
def test_the_newest_good_commit_is_the_last_that_passed(settings: Settings, marker: str) -> None:
    commit = versions.newest_good(settings, DATASET, marker)
    assert commit is not None
    body = json.loads(commit.metadata()) | {"version": commit.version}
    assert body == EXPECTED["commits"][marker]


def test_a_failed_version_stays_failed(settings: Settings) -> None:
    spoilt = EXPECTED["spoilt"]
    assert versions.version(settings, DATASET, "sources") == spoilt["sources"]
    failed = versions.failed_versions(settings, DATASET)
    assert failed == {("reviews", str(spoilt["reviews"]))}
    assert [row["judged"] for row in drift.rows(settings, DATASET)] == [False, True, True]


def test_the_commands_name_the_same_champion(settings: Settings) -> None:
    tables = {row["table"]: [row["version"], row["rows"]] for row in command(settings, "tables")}
    assert tables == EXPECTED["heads"]
    assert command(settings, "ledger") == EXPECTED["ledger"]
    recommended = command(settings, "recommend", "--user", EXPECTED["list"]["user_id"])
    assert recommended == EXPECTED["list"]
    assert recommended["model"] == EXPECTED["champion"]


@pytest.mark.slow
def test_the_registry_agrees_once_mlflow_follows_the_ledger(settings: Settings) -> None:
    state = command(settings, "registry")
    assert (state["ok"], state["champion"]) == (True, EXPECTED["champion"])
    assert state["recommendations_version"] == EXPECTED["heads"]["recommendations"][0]
    assert state["repaired"] == ["alias champion → version 1", "alias challenger → version 2"]
    again = command(settings, "registry")
    assert (again["ok"], again["repaired"]) == (True, [])


# ------------------------------------------------------------------------------ continuing


def test_the_core_is_the_same_with_the_same_numbers(settings: Settings) -> None:
    """Whether the stored core is taken, or a newer version of the stage makes it again."""
    before = newest_rows(settings)
    summary = command(settings, "kcore")
    stored = EXPECTED["commits"]["interactions"]["summary"]
    assert {name: summary[name] for name in before if name in summary} == {
        name: stored[name] for name in ("interactions", "users", "items")
    }
    assert digests(newest_rows(settings)) == digests(before)


def test_the_next_week_is_appended_to_the_last_good_version(settings: Settings) -> None:
    before = newest_rows(settings)
    (source,) = command(settings, "ingest", "--source", str(WEEK_3))["sources"]
    assert {name: source[name] for name in AFTER["source"]} == AFTER["source"]
    command(settings, "split", "--split", "since", "--since", AFTER["window"]["since"])
    after = newest_rows(settings)
    assert digests(after) == AFTER["digests"]
    for table, column in (("sources", "source_no"), ("users", "user_idx"), ("items", "item_idx")):
        old, new = by_number(before[table], column), by_number(after[table], column)
        assert new[: len(old)] == old
        assert [row[column] for row in new] == list(range(len(new)))


@pytest.mark.slow
def test_dumps_that_were_judged_are_nothing_new(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "dumps").mkdir()
    outcome = retrain(settings, tmp_path / "dumps")
    assert (outcome["outcome"], outcome["seq"]) == ("nothing new", 1)
    assert outcome["champion"] == EXPECTED["champion"]
    assert len(ledger.entries(settings, DATASET)) == len(EXPECTED["ledger"])


@pytest.mark.slow
def test_the_next_week_is_retrained_on(settings: Settings, tmp_path: Path) -> None:
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    shutil.copy(WEEK_3, dumps)
    outcome = retrain(settings, dumps)
    # Which valid pairs choose the epoch depends on the split's hash, and so may the decision.
    assert outcome["outcome"] in ("promoted", "kept")
    assert outcome["dumps"]["taken"] == [str(dumps / WEEK_3.name)]
    assert digests(newest_rows(settings)) == AFTER["digests"]
    assert [row["judged"] for row in drift.rows(settings, DATASET)] == [False, True, True, True]
    entries = command(settings, "ledger")
    assert entries[:-1] == EXPECTED["ledger"]
    evidence, before = entries[-1]["evidence"], entries[-1]["champion_before"]
    assert (entries[-1]["decision"], before) == (outcome["outcome"], EXPECTED["champion"])
    assert evidence["champion"]["models"] == [EXPECTED["champion"]]
    assert {name: evidence["window"][name] for name in AFTER["window"]} == AFTER["window"]
    state = command(settings, "registry")
    assert (state["ok"], state["champion"], state["repaired"]) == (True, outcome["champion"], [])
