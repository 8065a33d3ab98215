"""Stages on work pools, and a team's servers: what can be known without starting them."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from flows import deployments
from flows.cli.main import main
from flows.config.presets import PRESETS
from flows.config.run import RunConfig
from flows.pipeline import Pipeline
from flows.pools import dispatch, references
from flows.pools.dispatch import POOLS, as_parameters
from flows.server import services
from flows.team import isolation, lake, postgres
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from tests.faults import scene


@pytest.mark.parametrize("preset", PRESETS)
def test_a_request_comes_to_the_same_on_another_machine(preset: str) -> None:
    asked = RunConfig(dataset="d", preset=preset, source=("s3://lake/d.csv",), kcore=3)
    there = RunConfig(**as_parameters(asked))
    assert there.parameters() == asked.parameters()  # a benchmark's run in MLflow is known by them
    assert [cell.label for cell in there.cells] == [cell.label for cell in asked.cells]


def test_what_one_flow_run_made_another_goes_on_from(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path / "w", data_engine="duckdb")
    request = scene.request(scene.dump(tmp_path / "reviews.json"))
    first = Pipeline(request, settings)
    first.prepare()
    references.keep_prepared(first, "a")
    second = Pipeline(request, settings)
    references.adopt_prepared(second, "a")
    assert second.prepared == first.prepared
    assert second.used == first.used

    (asked,) = request.cells
    tuned = Pipeline(scene.request(tmp_path / "reviews.json", overrides=("MRL-M.lr=0.01",
                                   *scene.OVERRIDES[:2])), settings)  # fmt: skip
    references.adopt_prepared(tuned, "a")
    (cell,) = tuned.cells
    train = tuned.train(cell)
    result = tuned.evaluate(train, cell)
    made = references.Done(cell, train, result)
    references.keep_done(tuned, "b", asked, [made])
    assert references.done(second, "b", asked) == [made]


def test_a_run_without_pools_stays_in_its_process(settings: Settings) -> None:
    assert dispatch.of(settings, deployed=True) is None
    on_pools = settings.model_copy(update={"work_pools": True})
    assert dispatch.of(on_pools, deployed=False) is None
    assert dispatch.of(on_pools, deployed=True) is not None


@pytest.mark.parametrize(
    "words",
    [
        ["deploy"],
        ["deploy", "--limit", "gpus=1"],
        ["deploy", "--limit", "gpu=0"],
        ["up", "--folder", "x"],
        ["up", "--isolate"],
    ],
)
def test_what_is_refused(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    try:
        code = main(words)
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 2


def test_every_pool_has_deployments(settings: Settings) -> None:
    found = deployments.on_pools(settings)
    assert {pool for pool, _ in found} == set(POOLS)
    names = [f"{one.flow_name}/{one.name}" for _, one in found]
    assert len(names) == len(set(names))


def test_a_part_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(postgres, "DEBIAN", str(tmp_path))
    for look in (lake.program, postgres.programs):
        with pytest.raises(Mrl4recError) as raised:
            look()
        assert raised.value.todo


def test_an_isolated_process_sees_nothing_of_the_stack(tmp_path: Path) -> None:
    folder = tmp_path / "team"
    folder.mkdir()
    (folder / "secret").touch()
    try:
        isolation.check(folder)
    except Mrl4recError as error:
        pytest.skip(error.what)
    command = isolation.isolated(["sh", "-c", f"ls -A /tmp {folder}; touch /tmp/own"], folder)
    seen = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "secret" not in seen
    assert not Path("/tmp/own").exists()


def test_a_service_that_ends_is_started_again_unless_it_ends_at_once(tmp_path: Path) -> None:
    with ExitStack() as stack:
        service = services.start(stack, "short", ["sh", "-c", "echo said; exit 3"], {}, tmp_path)
        service.process.wait(10)
        with pytest.raises(Mrl4recError, match="said"):
            services.keep_running([service])
