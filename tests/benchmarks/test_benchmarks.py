"""The benchmark itself: what a row says, what a page keeps, and that every measurement runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mrl4rec.core.errors import Mrl4recError, UsageError
from tests import benchmarks as bench
from tests.benchmarks import __main__ as command
from tests.benchmarks import child, page, probe
from tests.benchmarks.row import Row, Target
from tests.benchmarks.rows.beside import against

OUTCOME = child.Outcome("", 2.0, 3.0, 1.5, 0.0, 1.5)


@pytest.mark.parametrize(
    ("target", "ratio_met"),
    [
        (Target("ratio", 4.0), True),
        (Target("ratio", 1.9), False),
        (Target("seconds", 6.0), True),
        (Target("seconds", 5.9), False),
        (None, None),
    ],
)
def test_a_target_is_met_or_missed(target: Target | None, ratio_met: bool | None) -> None:
    row = Row("n", "w", 6.0, peer="p", peer_seconds=3.0, target=target)
    assert row.ratio == 2.0
    assert row.met is ratio_met
    assert ("MISSED" in bench.table([row])) == (ratio_met is False)


def test_a_peer_that_is_not_installed_has_no_figure() -> None:
    ours, theirs = ({"seconds": 1.0}, OUTCOME), ({"missing": "polars"}, OUTCOME)
    row = against("n", "w", ours, ("Polars, in memory", theirs), Target("ratio", 4))
    assert (row.peer, row.peer_seconds) == ("Polars, in memory (not installed)", None)
    assert (row.ratio, row.met) == (None, None)


def test_a_missing_peer_is_said_by_its_probe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)  # importing it fails as if it were absent
    probe.main("kcore-polars", {"reviews": str(tmp_path), "k": 2})
    assert json.loads(capsys.readouterr().out) == {"missing": "polars"}


def test_a_page_keeps_what_is_written_by_hand(tmp_path: Path) -> None:
    place = tmp_path / "performance.md"
    place.write_text(f"# Title\n\nabove\n\n{page.BEGIN}\nold\n{page.END}\n\n## Below\n")
    bench.write_page([Row("n", "w", 1.0)], place)
    bench.write_page([Row("n", "new work", 1.0)], place)
    text = place.read_text()
    assert text.startswith("# Title\n\nabove\n")
    assert text.endswith("\n\n## Below\n")
    assert "new work" in text
    assert "old" not in text
    assert text.count(page.BEGIN) == 1


def test_a_page_without_a_place_for_it_gets_one(tmp_path: Path) -> None:
    place = tmp_path / "page.md"
    bench.write_page([Row("n", "w", None, note="why not")], place)
    assert "why not" in place.read_text()


def test_unknown_names_and_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="did you mean kcore"):
        bench.run(["kcor"])
    with pytest.raises(UsageError, match="did you mean small"):
        bench.run(["kcore"], size="smal")
    with pytest.raises(UsageError, match="authors-code"):
        bench.run(["kcore"], authors=Path(__file__).parent)


def test_a_child_is_watched_and_its_failure_is_told() -> None:
    hungry = "b = bytearray(200 << 20); import time; time.sleep(0.3)"
    ours = b"1" * (500 << 20)  # what is held here is not the child's
    outcome = child.python("-c", f"{hungry}; print('{{}}')")
    del ours
    assert 0.2 < outcome.peak_gb < 0.4
    assert outcome.seconds >= 0.3
    assert outcome.peak_java_gb == 0
    assert outcome.answer() == {}
    with pytest.raises(Mrl4recError, match="ended with 3"):
        child.python("-c", "import sys; sys.exit(3)")


def test_a_measurement_that_fails_is_a_row_and_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MRL4REC_REAL_DATA", str(tmp_path / "none"))
    assert command.main(["--only", "row", "--json", "--data", str(tmp_path)]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["seconds"]) for row in answer["rows"]] == [("row", None)]
    assert "MRL4REC_REAL_DATA" in answer["rows"][0]["note"]


def test_the_old_command_names_the_new_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "bench", "--help"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "tests.benchmarks" in done.stderr


def smoke(tmp_path: Path, *names: str) -> None:
    rows = bench.run(names, size="small", data=tmp_path)
    assert {row.name for row in rows} == set(names)
    for row in rows:
        assert row.seconds is not None, row.note
        assert row.seconds > 0
        assert row.peak_gb is not None
        assert row.target is None


def test_smoke(tmp_path: Path) -> None:
    smoke(tmp_path, "ranking", "kcore", "sequences")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["epoch", "epoch-growth", "lightgcn", "ials", "row", "ingest", "again", "planted10m"],
)
def test_smoke_of_whole_commands(name: str, tmp_path: Path) -> None:
    smoke(tmp_path, name)
