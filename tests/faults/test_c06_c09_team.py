"""The team's stack, with workers and executors that share nothing but the warehouse's address:
stages on pools, machines and databases that die, and a benchmark that is cancelled.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.pipeline import Pipeline
from flows.team import isolation, lake, postgres
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.models import model_folder
from mrl4rec.tables import versions
from mrl4rec.tracking import Tracker
from mrl4rec.transforms import spark_session
from tests.faults import scene
from tests.faults.conftest import Note, Undisturbed
from tests.faults.team import Team, kill, put_dump, settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
LONG = {"epochs": 60, "overrides": [*scene.OVERRIDES, f"{scene.METHOD}.patience=60"],
        "engine": "autograd", "data_engine": "duckdb"}  # fmt: skip
"""A training of a minute, with a checkpoint after every epoch."""


def lacking() -> str | None:
    """What this machine lacks to start the stack."""
    if (spark_session.java_version() or 0) < spark_session.JAVA:
        return "Java absent: install Java 17 to run the Spark tests"
    try:
        lake.program()
        postgres.programs()
        isolation.check(Path("team"))
    except Mrl4recError as error:
        return error.what
    return None


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, undisturbed: Undisturbed) -> Iterator[Team]:
    """The stack, with the dump in its object store."""
    if (what := lacking()) is not None:
        pytest.skip(what)
    found = Team(tmp_path_factory.mktemp("team"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in found.environment().items():
            patch.setenv(name, value)
        put_dump(undisturbed.dump)
        yield found
    found.end()


def equal_but_for_results(found: dict[str, str], wanted: dict[str, str]) -> bool:
    """Results hold the id of the MLflow run."""
    return found | {"results": ""} == wanted | {"results": ""}


def test_each_stage_runs_on_its_pool(team: Team, undisturbed: Undisturbed) -> None:
    run = team.order(scene.DATASET)
    team.completed(run)
    assert equal_but_for_results(scene.digests(settings()), undisturbed.digests)
    stages = {stage["name"]: stage for stage in team.stages(run)}
    pools = {name: stage["work_pool_name"] for name, stage in stages.items()}
    assert pools == {"data of d": "spark", f"d: {scene.METHOD} · 4,8 · seed 0": "gpu"}
    assert all(stage["state_type"] == "COMPLETED" for stage in stages.values())
    runs = Tracker(settings()).experiments()
    assert len(runs) == 1
    # The model's folder and the report went to the store by way of the server.
    objects = team.folder / "team" / "lake" / "objects" / "lake" / "mlflow"
    assert {"model.json", "report.html"} <= {file.name for file in objects.rglob("*")}


@pytest.mark.fault("C6")
def test_c06_the_machine_of_a_training_is_gone(
    team: Team, tmp_path: Path, undisturbed: Undisturbed, record_property: Note
) -> None:
    """A worker and all that it runs are killed with -9 in a training"""
    dataset = "c6"
    run = team.order(dataset, **LONG)
    there = settings().storage
    checkpoints = there.dataset_dir(dataset) / "checkpoints"
    team.until(run, lambda: len(list(checkpoints.glob("*/*"))) > 1)
    (training,) = (one for one in team.stages(run) if one["work_pool_name"] == "gpu")
    kill(team.machine(training["id"]))
    team.completed(run)
    again = team.ask(f"flow_runs/{training['id']}")
    assert again["run_count"] == 2
    local = Settings(warehouse=tmp_path / "w", data_engine="duckdb")
    _run_here(local, undisturbed.dump, dataset)
    assert _vectors(settings(), dataset) == _vectors(local, dataset)
    record_property("came", "started again on another worker, resumed; same vectors")


@pytest.mark.fault("C7")
def test_c07_postgres_is_killed_under_a_running_flow(team: Team, record_property: Note) -> None:
    """Postgres is killed with -9 in a benchmark's training and started again"""
    run = team.order("c7", **LONG)
    team.until(run, lambda: any(one["state_type"] == "RUNNING" and one["work_pool_name"] == "gpu"
                                for one in team.stages(run)))  # fmt: skip
    kill(team.service("postgres -D"))
    team.completed(run)
    record_property("came", "asked again until it was back; Completed")


def test_a_cancelled_benchmark_cancels_its_stages(team: Team) -> None:
    run = team.order("cancelled", **{**LONG, "epochs": 100_000})
    there = settings().storage.dataset_dir("cancelled")
    team.until(run, lambda: (there / "checkpoints").exists())
    (training,) = (one for one in team.stages(run) if one["work_pool_name"] == "gpu")
    worker = team.machine(training["id"])
    below = worker.children(recursive=True)
    team.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    scene.wait_until(lambda: team.state(run) == "CANCELLED", 120)
    scene.wait_until(lambda: team.state(training["id"]) == "CANCELLED", 120)
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.fault("C8")
def test_c08_both_databases_are_dropped(team: Team, record_property: Note) -> None:
    """The databases of Prefect and MLflow are dropped after a benchmark"""
    first = team.order("c8", data_engine="duckdb")
    team.completed(first)
    before = _versions("c8")
    port = team.service("postgres -D").net_connections("tcp")[0].laddr.port
    secret = (team.folder / "team" / "secret").read_text()
    for name in postgres.DATABASES:
        subprocess.run(
            [str(postgres.programs() / "psql"),
             postgres.url("postgres", secret, port), "-c", f"drop database {name} with (force)",
             "-c", f"create database {name}"],
            check=True, capture_output=True,
        )  # fmt: skip
    for server in ("prefect server", "mlflow server"):
        kill(team.service(server))
    scene.wait_until(lambda: team.ask("admin/version") is not None, 180)
    for words in (["compare", "--dataset", "c8"], ["deploy"]):
        done = subprocess.run([sys.executable, "-m", "flows.cli", *words], check=False,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
    second = team.order("c8", data_engine="duckdb")
    team.completed(second)
    assert _versions("c8") == before  # every stage was found done
    tracker = Tracker(settings())
    tracker.connect("mrl4rec-c8")
    assert tracker.experiments()
    record_property("came", "the lake was enough: found done, MLflow has the runs again")


def _run_here(local: Settings, dump: Path, dataset: str) -> None:
    pipeline = Pipeline(scene.request(dump, dataset=dataset, **LONG), local)
    pipeline.prepare()
    (cell,) = pipeline.cells
    pipeline.train(cell)


def _vectors(where: Settings, dataset: str) -> dict[str, str]:
    return {
        folder.name: model_folder.digest(folder)
        for folder in where.storage.models_dir(dataset).glob("[0-9a-f]*")
        if model_folder.is_complete(folder)
    }


def _versions(dataset: str) -> dict[str, int]:
    names = ("reviews", "sources", "interactions", "splits", "results")
    return {name: versions.version(settings(), dataset, name) for name in names}
