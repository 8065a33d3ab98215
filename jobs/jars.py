"""Resolve Delta's JARs once, through Spark's own Ivy, into the folder the sessions read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from jobs.spark import DELTA_PACKAGE, delta_jars, require_java
from mrl4rec.errors import Mrl4recError
from mrl4rec.settings import Settings

# What Delta names as dependencies and Spark has already (about 90 MB).
PROVIDED = (
    "org.apache.*:*",
    "com.fasterxml.jackson.*:*",
    "com.github.luben:*",
    "com.google.*:*",
    "commons-pool:*",
    "io.airlift:*",
    "io.unitycatalog:*",
    "javax.annotation:*",
    "org.locationtech.jts:*",
    "org.roaringbitmap:*",
    "org.slf4j:*",
    "org.xerial.snappy:*",
)

RESOLVE = """
import sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
for pair in sys.argv[1:]:
    name, value = pair.split("=", 1)
    builder = builder.config(name, value)
builder.getOrCreate().stop()
"""


def resolve(settings: Settings) -> list[str]:
    """Make sure the io.delta JARs are in ``settings.jars``; the paths found there.

    Raises Mrl4recError with Ivy's own last lines where they cannot be resolved.
    """
    try:
        return delta_jars(settings)
    except Mrl4recError:
        pass
    require_java()
    with tempfile.TemporaryDirectory(prefix="mrl4rec-ivy-") as folder:
        _ivy(Path(folder))
        settings.jars.mkdir(parents=True, exist_ok=True)
        for jar in sorted(Path(folder, "jars").glob("io.delta_*.jar")):
            partial = settings.jars / f".{jar.name}.{os.getpid()}"
            shutil.copyfile(jar, partial)
            partial.rename(settings.jars / jar.name)  # a killed set-up leaves no half JAR
    return delta_jars(settings)


def _ivy(folder: Path) -> None:
    pairs = {
        "spark.jars.packages": DELTA_PACKAGE,
        "spark.jars.ivy": str(folder),
        "spark.jars.excludes": ",".join(PROVIDED),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE, *(f"{name}={value}" for name, value in pairs.items())],
        capture_output=True,
        text=True,
        env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable},
        check=False,
    )
    if done.returncode:
        raise Mrl4recError(
            f"Delta's JARs ({DELTA_PACKAGE}) could not be resolved:\n"
            + "\n".join(done.stderr.strip().splitlines()[-8:]),
            todo="check the way to Maven Central (a proxy or mirror is set in ~/.m2 or Ivy's "
            "settings), or copy the io.delta JARs into the folder MRL4REC_JARS names",
        )
