"""Tune, compare, hierarchy and the Markdown page as processes, on a dump of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.dumps import WITHOUT_JAVA, answer, mrl4rec, ratings_csv

pytestmark = pytest.mark.slow

SMALL = ["--epochs", "6", "--set", "BPR-D.batch=256", "--set", "MRL-M.batch=256"]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of two methods and EASE, evaluated; later commands need no JVM."""
    place = tmp_path_factory.mktemp("evidence")
    dump = ratings_csv(place / "ratings.csv")
    models = ["--methods", "EASE,BPR-D,MRL-M", "--levels", "4,8,64", "--seeds", "0,1"]
    command = ["evaluate", "--dataset", "small", "--source", str(dump), *models, *SMALL]
    answer(mrl4rec(*command, warehouse=place / "w"))
    return place / "w"


def test_tuned_settings_stand_in_mlflow_and_in_the_leaderboard(warehouse: Path) -> None:
    import mlflow

    command = ["tune", "--dataset", "small", "--method", "EASE", "--trials", "3"]
    found = answer(mrl4rec(*command, warehouse=warehouse, **WITHOUT_JAVA))
    assert found["trials"] == 3
    assert found["best"] >= found["default"]
    assert found["set"] == [f"EASE.lam={found['settings']['lam']}"]
    again = answer(mrl4rec(*command, warehouse=warehouse, **WITHOUT_JAVA))
    assert {**again, "seconds": 0} == {**found, "seconds": 0}

    client = mlflow.MlflowClient(f"sqlite:///{warehouse / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    (parent,) = [run for run in runs if run.data.tags.get("kind") == "tuning"]
    trials = [run for run in runs if run.data.tags.get("kind") == "trial"]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    assert len(trials) == 3
    assert parent.data.tags["best"] == f"--set {found['set'][0]}"

    run = ["evaluate", "--dataset", "small", "--methods", "EASE", "--set", found["set"][0]]
    answer(mrl4rec(*run, warehouse=warehouse, **WITHOUT_JAVA))
    page = warehouse / "results.md"
    told = answer(mrl4rec("report", "--markdown", str(page), warehouse=warehouse))
    assert told == {"markdown": str(page)}
    assert "3 trials" in page.read_text()


def test_evaluating_at_other_widths_adds_to_a_model_and_no_row(warehouse: Path) -> None:
    def models() -> set[tuple[str, str, int]]:
        rows = answer(mrl4rec("compare", warehouse=warehouse, **WITHOUT_JAVA))
        return {(row["model_key"], row["method"], row["width"]) for row in rows}

    before = models()
    asked = ["--methods", "BPR-D", "--seeds", "0", "--widths", "6", "--rotate", *SMALL[:4]]
    command = ["evaluate", "--dataset", "small", *asked]
    done = answer(mrl4rec(*command, warehouse=warehouse, **WITHOUT_JAVA))
    assert [row["model"] for row in done] == ["BPR-D · seed 0", "BPR-D · seed 0 rotated"]
    (key,) = {row["model_key"] for row in done}
    added = {(key, method, width) for method in ("BPR-D", "BPR-D rotated") for width in (6, 64)}
    assert models() - before == added - before
    assert (key, "BPR-D", 6) not in before


def test_two_methods_are_compared_and_looked_into(warehouse: Path) -> None:
    (told,) = answer(mrl4rec("compare", "MRL-M", "BPR-D", warehouse=warehouse, **WITHOUT_JAVA))
    (pair,) = told["comparisons"]
    assert (pair["seeds_a"], pair["seeds_b"]) == ([0, 1], [0, 1])
    assert pair["low"] <= pair["difference"] <= pair["high"]
    assert pair["seeds_sd"] is not None

    command = ["hierarchy", "MRL-M", "--dataset", "small"]
    rows = answer(mrl4rec(*command, warehouse=warehouse, **WITHOUT_JAVA))
    assert {row["measure"] for row in rows} == {"contained"}  # nothing was planted in this dump
    assert {row["rotated"] for row in rows} == {False, True}
    assert answer(mrl4rec(*command, warehouse=warehouse, **WITHOUT_JAVA)) == rows
    assert mrl4rec("hierarchy", "EASE", "--dataset", "small", warehouse=warehouse).returncode == 2
    page = answer(mrl4rec("report", warehouse=warehouse, **WITHOUT_JAVA))["report"]
    assert "Hierarchy in the prefixes" in Path(page).read_text()


def test_a_preset_of_other_rows_is_refused_by_its_method(warehouse: Path) -> None:
    done = mrl4rec("run", "--dataset", "small", "--preset", "paper-tabel-2", warehouse=warehouse)
    assert done.returncode == 2
    assert "paper-table-2" in done.stderr
