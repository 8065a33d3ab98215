"""The one place a SparkSession is built: local, standalone or Kubernetes, with Delta."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from mrl4rec.errors import Mrl4recError
from mrl4rec.settings import Settings

DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"
LOGGING = Path(__file__).with_name("log4j2.properties")
DELTA_JARS = ("delta-spark_", "delta-storage-", "delta-kernel-api-", "delta-kernel-defaults-",
              "delta-kernel-unitycatalog-")  # fmt: skip


def delta_jars(settings: Settings) -> list[str]:
    """The io.delta JARs in the settings' folder.

    Raises Mrl4recError where one is missing: resolving them at every start is slow and needs the
    network, so it is done once, by ``mrl4rec setup``.
    """
    found = [str(path) for path in sorted(settings.jars.glob("io.delta_*.jar"))]
    missing = [stem for stem in DELTA_JARS if not any(f"io.delta_{stem}" in jar for jar in found)]
    if missing:
        raise Mrl4recError(
            f"Delta's JARs are missing: {', '.join(missing)}",
            where=str(settings.jars),
            todo="run `mrl4rec setup` once (it needs Maven Central), or set MRL4REC_JARS",
        )
    return found


def session(settings: Settings) -> SparkSession:
    """The process's Spark session, started on first use.

    Raises Mrl4recError where Java or Delta's JARs are missing.
    """
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise Mrl4recError(
            "Java was not found; Spark needs Java 17",
            todo="install it (Debian: `apt-get install openjdk-17-jre-headless`) or set JAVA_HOME",
        )
    jars = delta_jars(settings)
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    local = settings.spark_master.startswith("local")
    if local:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder: Any = SparkSession.builder.appName("mrl4rec").master(settings.spark_master)
    for name, value in _configuration(settings, jars, local).items():
        builder = builder.config(name, value)
    spark: SparkSession = builder.getOrCreate()
    return spark


def stop() -> None:
    """Stop the session of this process, if there is one."""
    active = SparkSession.getActiveSession()
    if active is not None:
        active.stop()


def _configuration(settings: Settings, jars: list[str], local: bool) -> dict[str, str]:
    configuration = {
        "spark.jars": ",".join(jars),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.driver.memory": settings.spark_memory,
        "spark.executor.memory": settings.spark_memory,
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        "spark.sql.session.timeZone": "UTC",  # the same dump gives the same table anywhere
        "spark.sql.ansi.enabled": "true",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.databricks.delta.snapshotPartitions": "2",  # 50 by default: 8 s of a small write
        # delta-rs reads neither deletion vectors nor column mapping.
        "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
        "spark.databricks.delta.properties.defaults.logRetentionDuration": "interval 3650 days",
        "spark.databricks.delta.properties.defaults.deletedFileRetentionDuration": "interval 3650 days",
        "spark.ui.showConsoleProgress": "true" if sys.stderr.isatty() else "false",
        "spark.driver.extraJavaOptions": f"-Dlog4j.configurationFile={LOGGING.as_uri()}",
    }
    if local:
        configuration |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false",  # no port taken; a cluster keeps its UI
        }
    return configuration
