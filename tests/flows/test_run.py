"""The main job in processes of its own: run, run again, one more seed, killed and run again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mrl4rec.models import model_folder
from tests.flows.dumps import WITHOUT_JAVA, answer, mrl4rec, ratings_csv

pytestmark = pytest.mark.slow

SMALL = ["--epochs", "6", "--set", "BPR-D.batch=256", "--set", "MRL-M.batch=256"]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run") / "warehouse"


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ratings_csv(tmp_path_factory.mktemp("dump") / "ratings.csv")


def arguments(dump: Path, seeds: str = "0") -> list[str]:
    methods = ["--methods", "pop,ease,BPR-D,MRL-M", "--levels", "4,8,64", "--seeds", seeds]
    return ["run", "--dataset", "small", "--source", str(dump), *methods, *SMALL]


def models(warehouse: Path) -> set[str]:
    return {path.parent.name for path in warehouse.glob("small/models/*/model.json")}


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where Prefect keeps its runs in these tests."""
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(home))
        yield home


def flow_runs(home: Path) -> list[tuple[str, int]]:
    """State and number of task runs of each flow run, oldest first."""
    with closing(sqlite3.connect(home / "prefect.db")) as base:
        found = base.execute(
            "select state_type, (select count(*) from task_run t where t.flow_run_id = f.id "
            "and t.state_type = 'COMPLETED') from flow_run f order by created"
        )
        return list(found)


def test_first_second_and_one_more_seed(warehouse: Path, dump: Path, prefect: Path) -> None:
    rows = answer(mrl4rec(*arguments(dump), warehouse=warehouse))
    assert {row["method"] for row in rows} == {"Pop", "EASE", "BPR-D", "MRL-M"}
    assert {row["width"] for row in rows if row["method"] == "MRL-M"} == {4, 8, 64}
    recall = {
        r["method"]: r["value"]
        for r in rows
        if (r["metric"], r["k"]) == ("recall", 10) and r["width"] in (None, 64)
    }
    assert recall["EASE"] > recall["Pop"]  # tastes were planted, popularity was not
    first = models(warehouse)
    assert len(first) == 4
    assert (warehouse / "report.html").exists()

    again = answer(mrl4rec(*arguments(dump), warehouse=warehouse, **WITHOUT_JAVA))
    assert again == rows
    assert models(warehouse) == first
    # 6 steps of the data, 4 of each of 4 models, 1 report; what is finished needs no Prefect again.
    assert flow_runs(prefect) == [("COMPLETED", 6 + 4 * 4 + 1)]

    more = answer(mrl4rec(*arguments(dump, "0,1"), warehouse=warehouse, **WITHOUT_JAVA))
    assert [row for row in more if row["seed"] != 1] == rows
    assert len(models(warehouse)) == len(first) + 2  # BPR-D and MRL-M with the new seed

    compared = answer(mrl4rec("compare", "--dataset", "small", warehouse=warehouse))
    assert {tuple(r.items()) for r in compared} == {tuple(r.items()) for r in more}


def test_mlflow_has_one_parent_for_each_benchmark_and_each_model_once(warehouse: Path) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{warehouse / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 2
    assert {run.info.status for run in runs} == {"FINISHED"}
    children = sorted(
        sum(r.data.tags.get("mlflow.parentRunId") == parent.info.run_id for r in runs)
        for parent in parents
    )
    assert children == [2, 4]  # the second benchmark trained two, and found four done


def test_other_widths_and_the_rotation_train_nothing(warehouse: Path, dump: Path) -> None:
    before = models(warehouse)
    asked = [*arguments(dump), "--widths", "4,16", "--rotate"]
    rows = answer(mrl4rec(*asked, warehouse=warehouse, **WITHOUT_JAVA))
    widths = {name: {r["width"] for r in rows if r["method"] == name} for name in
              ("EASE", "BPR-D", "BPR-D rotated", "MRL-M rotated")}  # fmt: skip
    assert widths == {
        "EASE": {None},
        "BPR-D": {4, 16, 64},
        "BPR-D rotated": {4, 16, 64},
        "MRL-M rotated": {4, 16, 64},
    }
    assert models(warehouse) == before


def test_killed_in_the_middle_of_training_and_run_again(
    warehouse: Path, dump: Path, tmp_path: Path
) -> None:
    train = ["train", "--dataset", "small", "--source", str(dump), "--methods", "MRL-M"]
    train += ["--levels", "4,8,64", "--set", "MRL-M.batch=256", "--epochs", "60"]
    train += ["--protocol", "paper"]
    command = [sys.executable, "-m", "flows.cli", *train, "--warehouse", str(warehouse)]
    environment = {**os.environ, **WITHOUT_JAVA, "MRL4REC_CHECKPOINT_SECONDS": "0"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    folder = warehouse / "small" / "checkpoints"
    deadline = time.monotonic() + 120
    while not any(folder.glob("*/*")) and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = models(warehouse)

    resumed = answer(mrl4rec(*train, warehouse=warehouse, **WITHOUT_JAVA))
    undisturbed = answer(mrl4rec(*train, warehouse=tmp_path / "other"))
    assert resumed[0]["stage_key"] == undisturbed[0]["stage_key"]
    assert resumed[0]["stage_key"] not in before
    digests = [
        model_folder.digest(root / "small" / "models" / resumed[0]["stage_key"])
        for root in (warehouse, tmp_path / "other")
    ]
    assert digests[0] == digests[1]
