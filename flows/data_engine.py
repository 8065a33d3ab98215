"""Which engine runs the data stages: decided and said once a run, ended before training."""

from __future__ import annotations

import argparse
import logging
import os
from typing import TYPE_CHECKING

from mrl4rec.errors import Mrl4recError, UsageError, nearest

if TYPE_CHECKING:
    from mrl4rec.settings import Settings
    from mrl4rec.transforms.engine import EngineName

log = logging.getLogger("mrl4rec")

NAMES = ("auto", "duckdb", "spark")
VARIABLE = "MRL4REC_DATA_ENGINE"


def add_option(command: argparse.ArgumentParser) -> None:
    """Give a command ``--data-engine``."""
    command.add_argument(
        "--data-engine",
        choices=NAMES,
        help="what runs ingest, k-core and split; auto: Spark where MRL4REC_SPARK_MASTER names a "
        f"master, else DuckDB; unset: {VARIABLE}, else auto",
    )


def override(name: str | None) -> None:
    """Let an option of the command line win over the setting."""
    if name is not None:
        os.environ[VARIABLE] = name


def choose(settings: Settings, named: str | None = None, *, deployed: bool = False) -> Settings:
    """The settings with the engine decided, which is logged.

    ``named`` wins over the setting; ``deployed`` is whether a deployment runs.
    """
    if named and named not in NAMES:
        raise UsageError(f"data engine {named!r} is unknown", todo=nearest(named, NAMES))
    if named:
        settings = settings.model_copy(update={"data_engine": named})
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
    from mrl4rec.transforms import spark_session

    try:
        spark_session.require_java()
        spark_session.delta_jars(settings)
    except Mrl4recError as error:
        return error
    return None


def stop_spark(settings: Settings) -> None:
    """End Spark where the stages ran on it: its memory is worth more to the training."""
    if decide(settings, deployed=False)[0] == "spark":
        from mrl4rec.transforms import spark_session

        spark_session.stop()
