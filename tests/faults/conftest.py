"""What the faults share: one undisturbed run, its states between the stages, children that end."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mrl4rec.core.locks import locked
from mrl4rec.core.settings import Settings
from mrl4rec.transforms import spark_session
from tests.faults import scene
from tests.mrl4rec.tracking.test_tracking import server, store  # noqa: F401  a real MLflow server
from tests.mrl4rec.training import test_training as toy  # noqa: F401  its small trainings

DUMP = "reviews.json"
Start = Callable[..., scene.Child]
Note = Callable[[str, object], None]


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing happened to."""

    dump: Path
    states: Path
    """Folders named by a stage: the warehouse before it; ``done``: after the last."""
    digests: dict[str, str]

    def before(self, stage: str, place: Path) -> Settings:
        """Settings of a copy of the warehouse as it was before a stage."""
        if (self.states / stage).exists():
            shutil.copytree(self.states / stage, place, dirs_exist_ok=True)
        return settings_of(place)


def settings_of(warehouse: Path, **values: Any) -> Settings:
    """Settings of a small run in a warehouse, on DuckDB."""
    return Settings(warehouse=warehouse, **{"data_engine": "duckdb", **values})


@pytest.fixture
def on_spark() -> dict[str, str]:
    """The environment of a command whose data stages run on Spark; skipped without Java."""
    if (spark_session.java_version() or 0) < spark_session.JAVA:
        pytest.skip("Java absent: install Java 17 to run the Spark tests")
    return {"MRL4REC_DATA_ENGINE": "spark", "MRL4REC_SPARK_MASTER": "local[2]"}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """All stages once, the warehouse kept as it was before each; shared by tests side by side."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "undisturbed"
    folder.mkdir(exist_ok=True)
    with locked(folder / "lock"):
        known = folder / "digests.json"
        if not known.exists():
            known.write_text(json.dumps(_run_undisturbed(folder)))
        return Undisturbed(folder / DUMP, folder / "states", json.loads(known.read_text()))


def _run_undisturbed(folder: Path) -> dict[str, str]:
    warehouse, states = folder / "warehouse", folder / "states"
    nexts = [*scene.STAGES[1:], "done"]

    def keep(name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        for gate, following in zip(scene.ENDS, nexts, strict=True):
            if name.startswith(gate):
                shutil.copytree(warehouse, states / following)
        return result

    settings = settings_of(warehouse)
    scene.run(settings, scene.dump(folder / DUMP), keep)
    return scene.digests(settings)


@pytest.fixture
def children() -> Iterator[Start]:
    """Starts commands as ``scene.child`` does; none of them outlives the test."""
    started: list[scene.Child] = []

    def start(*args: Any, **kwargs: Any) -> scene.Child:
        started.append(scene.child(*args, **kwargs))
        return started[-1]

    yield start
    for child in started:
        child.end()
        shutil.rmtree(child.out.parent, ignore_errors=True)
