"""The one place a SparkSession is built: local, standalone or Kubernetes, with Delta."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pyspark import SparkContext
from pyspark.sql import SparkSession

from jobs import classes
from mrl4rec.errors import Mrl4recError
from mrl4rec.settings import Settings
from mrl4rec.tables.table import DELTA_PROPERTIES

DEFAULTS = "spark.databricks.delta.properties.defaults"
DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Options of a JVM that ends before its second compiler has paid for itself: what is heavy in a
local run is done in compiled loops outside the JVM. A fifth less processor time for a small dump.
"""
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


def require_java() -> None:
    """Raise Mrl4recError where there is no Java to start."""
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise Mrl4recError(
            "Java was not found; Spark needs Java 17",
            todo="install it (Debian: `apt-get install openjdk-17-jre-headless`) or set JAVA_HOME",
        )


Rehearsal = Callable[[SparkSession], object]
_starting = threading.Lock()
_beside = ThreadPoolExecutor(1, thread_name_prefix="spark")
_begun: Future[SparkSession] | None = None
_rehearsed = False


def begin(settings: Settings, rehearse: Rehearsal | None = None) -> None:
    """Start the session in a thread, for when it is sure to be needed; ``session`` waits for it.

    ``rehearse`` is run with it there: most of what a first query takes is taken once (classes are
    loaded, code is generated), and meanwhile something else has the cores. What goes wrong is
    raised by ``session``. Begun twice, it is rehearsed once.
    """
    global _begun, _rehearsed
    with _starting:
        starting = _begun is not None or SparkContext._active_spark_context is None
        if starting and (_begun is None or (rehearse is not None and not _rehearsed)):
            _begun, _rehearsed = _beside.submit(_ready, settings, rehearse), rehearse is not None


def _ready(settings: Settings, rehearse: Rehearsal | None) -> SparkSession:
    spark = _session(settings)
    if rehearse is not None:
        rehearse(spark)
    return spark


def session(settings: Settings) -> SparkSession:
    """The process's Spark session, started on first use.

    Raises Mrl4recError where Java or Delta's JARs are missing.
    """
    global _begun
    with _starting:
        begun, _begun = _begun, None
        return begun.result() if begun is not None else _session(settings)


def is_local(settings: Settings) -> bool:
    """Whether Spark's workers are on this machine, so that our own threads may do their work."""
    return settings.spark_master.startswith("local")


def _session(settings: Settings) -> SparkSession:
    if SparkContext._active_spark_context is not None:
        return SparkSession.builder.getOrCreate()
    require_java()
    jars = delta_jars(settings)
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    local = is_local(settings)
    if local:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder: Any = SparkSession.builder.appName("mrl4rec").master(settings.spark_master)
    for name, value in _configuration(settings, jars, local).items():
        builder = builder.config(name, value)
    spark: SparkSession = builder.getOrCreate()
    return spark


def stop() -> None:
    """End the session of this process, and its JVM: a stopped session alone keeps its memory."""
    global _begun
    with _starting:
        begun, _begun = _begun, None
        if begun is not None:
            begun.exception()  # it is up now, or never will be
    context = SparkContext._active_spark_context  # whichever thread started it
    gateway: Any = SparkContext._gateway
    if context is not None:
        context.stop()
        SparkSession._instantiatedSession = None
    if gateway is not None:
        gateway.shutdown()
        process = getattr(gateway, "proc", None)
        if process is not None:
            process.stdin.close()  # the JVM ends when its standard input does
            process.wait(30)
        SparkContext._gateway = SparkContext._jvm = None


def _configuration(settings: Settings, jars: list[str], local: bool) -> dict[str, str]:
    configuration = {
        # On the driver's own class path, where an archive of classes reaches them.
        **(
            {"spark.driver.extraClassPath": os.pathsep.join(jars)}
            if local
            else {"spark.jars": ",".join(jars)}
        ),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.driver.memory": settings.spark_memory,
        "spark.executor.memory": settings.spark_memory,
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        "spark.sql.session.timeZone": "UTC",  # the same dump gives the same table anywhere
        "spark.sql.ansi.enabled": "true",
        "spark.sql.json.enablePartialResults": "false",  # half a record is none
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.databricks.delta.snapshotPartitions": "2",  # 50 by default: 8 s of a small write
        # delta-rs reads neither deletion vectors nor column mapping.
        **{f"{DEFAULTS}.{name.removeprefix('delta.')}": v for name, v in DELTA_PROPERTIES.items()},
        "spark.ui.showConsoleProgress": "true" if sys.stderr.isatty() else "false",
        "spark.driver.extraJavaOptions": (
            f"-Dlog4j.configurationFile={LOGGING.as_uri()} "
            f"{f'{SHORT_LIVED} {classes.options(settings)}' if local else ''} "
            f"{settings.spark_java_options}"
        ),
    }
    if local:
        configuration |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false",  # no port taken; a cluster keeps its UI
        }
    return configuration
