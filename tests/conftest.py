"""Shared by all tests: one Spark session a run, a warehouse of its own for each test."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
# Tests are many small jobs: the JVM's second compiler costs more than it gives back.
os.environ.setdefault("MRL4REC_SPARK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
if not hasattr(sys.modules["__main__"], "__file__"):  # in a worker of pytest-xdist
    # PySpark takes a main module without a file for its own doctests, and exits.
    sys.modules["__main__"].__file__ = __file__

from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import opened
from mrl4rec.tracking.push import client
from mrl4rec.transforms import spark_session
from tests.object_store import BUCKET, ObjectStore, binary

ROOT = Path(__file__).resolve().parents[1]
SPARK: dict[str, Any] = {
    "data_engine": "spark", "spark_master": "local[2]", "shuffle_partitions": 2,
    "spark_memory": "2g",
}  # fmt: skip
# The same inputs in every run, so that a change is what a failure tells of. New ones are looked for
# by `make fuzz`, and with HYPOTHESIS=default.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS", "same"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side (``-n 2 --dist loadgroup``) files stay whole, and tests that use Spark stay in
    one process, as those do that use the object store: there is one of each a run.
    """
    for item in items:
        used = getattr(item, "fixturenames", ())
        shared = [name for name in ("spark", "object_store") if name in used]
        group = shared[0] if shared else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


def real_data_dir() -> Path | None:
    """The folder of real data: ``$MRL4REC_REAL_DATA`` or ``../shared/data``, if it is there."""
    named = os.environ.get("MRL4REC_REAL_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; the test is skipped, saying so, where it is absent."""
    folder = real_data_dir()
    if folder is None:
        pytest.skip("real data absent: set MRL4REC_REAL_DATA or put it at ../shared/data")
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with an empty warehouse of the test's own, on DuckDB."""
    return Settings(warehouse=tmp_path / "warehouse", data_engine="duckdb")


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """The one S3 server of the run, which the environment names; skipped without versitygw."""
    if binary() is None:
        pytest.skip("object store absent: `make object-store` builds one (it needs Go)")
    store = ObjectStore(tmp_path_factory.mktemp("object-store"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        store.start()
        yield store
        store.end()


@pytest.fixture
def lake(object_store: ObjectStore) -> Settings:
    """Settings with an empty warehouse of the test's own in the object store."""
    return Settings(warehouse=opened(f"s3://{BUCKET}/{uuid.uuid4().hex}"), data_engine="duckdb")


@pytest.fixture(scope="session")
def spark() -> Iterator[None]:
    """The one Spark session of the run; skipped, saying so, where there is no Java for it."""
    if (spark_session.java_version() or 0) < spark_session.JAVA:
        pytest.skip("Java absent: install Java 17 to run the Spark tests")
    spark_session.session(Settings(**SPARK))
    yield
    spark_session.stop()


@pytest.fixture
def spark_settings(tmp_path: Path, spark: None) -> Settings:
    """Settings with an empty warehouse of the test's own, on Spark."""
    return Settings(warehouse=tmp_path / "warehouse-spark", **SPARK)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables made: making them takes seconds, copying does not."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client(f"sqlite:///{path}").search_experiments()
    return path
