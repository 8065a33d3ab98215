"""Which engine runs the data stages: decided and said once a run, ended before training."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError

with lazy.imports():
    from mrl4rec.transforms import engine, spark_session

if TYPE_CHECKING:
    from mrl4rec.core.settings import Settings
    from mrl4rec.transforms.engine import EngineName

log = logging.getLogger("mrl4rec")

VARIABLE = "MRL4REC_DATA_ENGINE"


def named(settings: Settings, name: EngineName | Literal["auto"] | None) -> Settings:
    """The settings with the engine that an option names; None: as they are."""
    return settings.model_copy(update={"data_engine": name}) if name else settings


def choose(settings: Settings, *, deployed: bool = False) -> Settings:
    """The settings with the engine decided, which is logged; ``deployed``: by a deployment."""
    name, why = decide(settings, deployed=deployed)
    log.info("data engine: %s (%s)", label(settings, name), why)
    return settings.model_copy(update={"data_engine": name})


def decide(settings: Settings, *, deployed: bool) -> tuple[EngineName, str]:
    """The engine, and why it is this one."""
    if settings.data_engine != "auto":
        return settings.data_engine, f"--data-engine or {VARIABLE}"
    if settings.spark_master:
        return "spark", "MRL4REC_SPARK_MASTER"
    if not deployed:
        return "duckdb", "Spark where --data-engine or MRL4REC_SPARK_MASTER says so"
    missing = lacking(settings)
    if missing is not None:
        return "duckdb", f"a deployment would run on Spark; {missing.what}"
    return "spark", "a deployment, and Java 17 is there"


def label(settings: Settings, name: EngineName) -> str:
    """The engine as people call it."""
    return "DuckDB" if name == "duckdb" else f"Spark at {settings.spark_master or 'local[*]'}"


def lacking(settings: Settings) -> Mrl4recError | None:
    """What Spark needs and is not there, as the error that it would raise."""
    try:
        spark_session.require()
        if not engine.is_remote(settings):
            spark_session.delta_jars(settings)
    except Mrl4recError as error:
        return error
    return None


def stop_spark(settings: Settings) -> None:
    """End Spark where the stages ran on it: its memory is worth more to the training."""
    if decide(settings, deployed=False)[0] == "spark":
        spark_session.stop()
