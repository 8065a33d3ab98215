"""A data engine, and both of them, for tests of table expressions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mrl4rec.core.settings import Settings
from mrl4rec.transforms.engine import Engine
from mrl4rec.transforms.opening import open_engine


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """DuckDB."""
    with open_engine(settings) as opened:
        yield opened


@pytest.fixture
def engines(settings: Settings, spark_settings: Settings) -> Iterator[tuple[Engine, Engine]]:
    """DuckDB and Spark."""
    with open_engine(settings) as duckdb, open_engine(spark_settings) as spark:
        assert (duckdb.name, spark.name) == ("duckdb", "spark")
        yield duckdb, spark
