"""Shared by all tests: one Spark session a run, a warehouse of its own for each test."""

from __future__ import annotations

import os
import sys
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

from pyspark.sql import SparkSession

from jobs import spark as spark_job
from mrl4rec.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
# The same inputs in every run, so that a change is what a failure tells of. New ones are looked for
# by `make fuzz`, and with HYPOTHESIS=default.
hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS", "same"))


WITH_SPARK = ("tests/jobs/", "tests/faults/", "tests/flows/test_gates.py",
              "tests/flows/test_retrain.py", "tests/flows/test_simulate.py")  # fmt: skip
"""Beginnings of the names of tests that use the session below."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Raise UsageError where a test uses Spark and is not among those that are named to."""
    for item in items:
        used = "spark" in getattr(item, "fixturenames", ())
        if used and not item.nodeid.startswith(WITH_SPARK):
            raise pytest.UsageError(f"{item.nodeid} uses Spark: name its file in WITH_SPARK")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Side by side (``-n 2``) files stay whole, and those that use Spark stay in one process.

    None, which is another order, where one was asked for (``--dist``).
    """
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class OneSparkSession(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "spark" if nodeid.startswith(WITH_SPARK) else nodeid.partition("::")[0]

    return OneSparkSession(config, log)


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
    """Settings with an empty warehouse of the test's own."""
    return Settings(warehouse=tmp_path / "warehouse", shuffle_partitions=2, spark_memory="2g")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The one Spark session of the run."""
    warehouse = tmp_path_factory.mktemp("spark")
    yield spark_job.session(Settings(warehouse=warehouse, shuffle_partitions=2, spark_memory="2g"))
    spark_job.stop()
