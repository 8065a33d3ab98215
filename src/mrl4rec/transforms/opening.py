"""Opening a data engine: the only place where DuckDB or Spark is started."""

from __future__ import annotations

from contextlib import AbstractContextManager

from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings
from mrl4rec.transforms.engine import Engine, check_reach, resolve

with lazy.imports():
    from mrl4rec.transforms import duckdb_engine, spark_opening


def open_engine(settings: Settings) -> AbstractContextManager[Engine]:
    """The engine of one stage run; its relations are gone afterwards.

    Raises UsageError where Spark cannot reach the warehouse, and entering it Mrl4recError where
    Java 17 or Delta's JARs are missing.
    """
    if resolve(settings) == "duckdb":
        return duckdb_engine.opened(settings)
    check_reach(settings)
    return spark_opening.opened(settings)
