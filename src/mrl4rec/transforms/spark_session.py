"""The one Spark session of a process: local, standalone or Kubernetes, with Delta."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrl4rec.core import errors, home, lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.tables.table import DELTA_PROPERTIES
from mrl4rec.transforms import spark_workers
from mrl4rec.transforms.engine import is_remote

with lazy.imports():
    import pyspark.sql

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA = 17
DEFAULTS = "spark.databricks.delta.properties.defaults"
DELTA_PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"
LOGGING = Path(__file__).with_name("log4j2.properties")
LOOPBACK = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false"}  # fmt: skip
"""Of a local session: no port is taken; a cluster keeps its UI."""
VARIABLES = ("SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS", "HADOOP_CONF_DIR", "JAVA_HOME",
             "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS")  # fmt: skip
"""What Spark's start reads of the environment."""
DELTA_JARS = ("delta-spark_", "delta-storage-", "delta-kernel-api-", "delta-kernel-defaults-",
              "delta-kernel-unitycatalog-")  # fmt: skip
# What Delta depends on is in Spark already (about 90 MB): only the group io.delta is fetched.
OTHER_GROUPS = "[^i]*:*,i[^o]*:*,io.[^d]*:*"
ARCHIVE = "environment"
"""Where executors unpack theirs, in their working folder."""
START = "from pyspark import SparkContext; SparkContext('local[1]').stop()"


@cache
def java_version() -> int | None:
    """Major version of the Java that Spark would take, or None where there is none."""
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if os.environ.get("JAVA_HOME") else "java"
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    match = re.search(r'version "(\d+)', done.stderr + done.stdout)
    return int(match.group(1)) if match else None


def require() -> None:
    """Raise Mrl4recError where PySpark is missing, or a Java that Spark can run on."""
    errors.require("spark")
    found = java_version()
    if found is None or found < JAVA:
        named = os.environ.get("JAVA_HOME")
        seen = "no Java was found" if found is None else f"Java {found} was found"
        raise Mrl4recError(
            f"Spark needs Java {JAVA} or newer; {seen}",
            where=f"JAVA_HOME={named}" if named else "--data-engine spark",
            todo="install it (Debian: `apt-get install openjdk-17-jre-headless`) or set JAVA_HOME; "
            "or leave --data-engine out: DuckDB needs no Java",
        )


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


def resolve_jars(settings: Settings) -> list[str]:
    """Make sure the io.delta JARs are in ``settings.jars``, by Spark's own Ivy; their paths.

    Raises Mrl4recError with Ivy's own last lines where they cannot be resolved.
    """
    try:
        return delta_jars(settings)
    except Mrl4recError:
        require()
    with tempfile.TemporaryDirectory(prefix="mrl4rec-ivy-") as folder:
        _ivy(Path(folder))
        settings.jars.mkdir(parents=True, exist_ok=True)
        for jar in Path(folder, "jars").glob("io.delta_*.jar"):
            partial = settings.jars / f".{jar.name}.{os.getpid()}"
            shutil.copyfile(jar, partial)
            partial.rename(settings.jars / jar.name)  # a killed set-up leaves no half JAR
    return delta_jars(settings)


def _ivy(folder: Path) -> None:
    settings = ("spark.jars.ivy", folder), *LOOPBACK.items()
    options = [part for name, value in settings for part in ("--conf", f"{name}={value}")]
    options += ["--packages", DELTA_PACKAGE, "--exclude-packages", OTHER_GROUPS, "pyspark-shell"]
    env = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_SUBMIT_ARGS": shlex.join(options)}
    command = [sys.executable, "-c", START]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise Mrl4recError(
            f"Delta's JARs ({DELTA_PACKAGE}) could not be resolved:\n"
            + "\n".join(done.stderr.strip().splitlines()[-8:]),
            todo="check the way to Maven Central (a proxy or mirror is set in ~/.m2 or Ivy's "
            "settings), or copy the io.delta JARs into the folder MRL4REC_JARS names",
        )


def session(settings: Settings) -> SparkSession:
    """The process's Spark session, started on first use.

    Raises Mrl4recError where Java or Delta's JARs are missing, or Spark does not start.
    """
    if pyspark.SparkContext._active_spark_context is not None:
        return pyspark.sql.SparkSession.builder.getOrCreate()
    require()
    remote = is_remote(settings)
    jars = [] if remote else delta_jars(settings)  # executors write the tables without them
    own = Path(str(pyspark.__file__)).parent
    if (own / "bin" / "spark-submit").exists():  # a Spark of another version may be installed
        os.environ["SPARK_HOME"] = str(own)
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["PYSPARK_PYTHON"] = _executors_python(settings) if remote else sys.executable
    if not remote:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    if os.environ.get("LC_ALL") in ("C", "POSIX"):  # Java could name no file beyond ASCII
        os.environ["LC_ALL"] = "C.UTF-8"
    configuration = _configuration(settings, jars, local=not remote)
    builder: pyspark.sql.SparkSession.Builder = pyspark.sql.SparkSession.builder
    master = settings.spark_master or "local[*]"
    try:
        made = builder.appName("mrl4rec").master(master).config(map=configuration).getOrCreate()
    except Exception as error:  # of Java, of the gateway, of the system
        raise _not_started(error) from error
    if remote:
        try:
            spark_workers.await_executor(made.sparkContext, master)
        except BaseException:
            stop()
            raise
    return made


def _not_started(error: Exception) -> Mrl4recError:
    said = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
    named = [f"{name}={os.environ[name]}" for name in VARIABLES if os.environ.get(name)]
    return Mrl4recError(
        f"Spark did not start: {said[:300]}",
        where=", ".join(named) or "see what it says above",
        todo=f"unset {' and '.join(part.split('=')[0] for part in named)}"
        if named
        else "`mrl4rec doctor` says what is missing; --data-engine duckdb needs no Spark",
    )


def stop() -> None:
    """End this process's session and its JVM, if there is one."""
    if "pyspark" not in sys.modules:  # importing it takes a while
        return
    context = pyspark.SparkContext._active_spark_context  # whichever thread started it
    gateway: Any = pyspark.SparkContext._gateway
    if context is not None:
        context.stop()
        pyspark.sql.SparkSession._instantiatedSession = None
    if gateway is not None:  # a stopped session alone keeps its memory
        gateway.shutdown()
        process = getattr(gateway, "proc", None)
        if process is not None:
            process.stdin.close()  # the JVM ends when its standard input does
            process.wait(30)
        pyspark.SparkContext._gateway = pyspark.SparkContext._jvm = None


def _executors_python(settings: Settings) -> str:
    inside = f"{ARCHIVE}/bin/python" if settings.spark_archive else sys.executable
    return settings.spark_python or inside


def _of_cluster(settings: Settings) -> dict[str, Any]:
    """What only a master of other machines is told."""
    cores = settings.spark_executor_cores or (1 if settings.spark_executors else None)
    most = settings.spark_executors and settings.spark_executors * (cores or 1)
    archive = settings.spark_archive and f"{settings.spark_archive}#{ARCHIVE}"
    told = {
        "spark.executor.memory": settings.spark_executor_memory or settings.spark_memory,
        "spark.executor.cores": cores,
        "spark.executor.instances": settings.spark_executors,  # of Kubernetes
        "spark.cores.max": most,  # of a standalone master
        "spark.driver.host": settings.spark_driver_host,
        "spark.driver.bindAddress": settings.spark_driver_bind,
        "spark.archives": archive,
        # Executors of one address may have disks of their own, as in containers.
        "spark.shuffle.readHostLocalDisk": "false",
    }
    return {name: str(value) for name, value in told.items() if value is not None}


def _configuration(settings: Settings, jars: list[str], local: bool) -> dict[str, Any]:
    # A driver's JVM mostly ends before its second compiler has paid for itself.
    short = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC "
    if local and os.statvfs("/tmp").f_flag & getattr(os, "ST_NOEXEC", 0):
        native = home.cache() / "java"  # Snappy's library is unpacked there, and called
        native.mkdir(parents=True, exist_ok=True)
        short += f"-Djava.io.tmpdir={native} "
    return {
        **(_of_delta(jars) if local else _of_cluster(settings)),
        "spark.hadoop.fs.defaultFS": "file:///",  # whatever HADOOP_CONF_DIR says
        "spark.driver.memory": settings.spark_memory,
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        "spark.sql.session.timeZone": "UTC",  # the same dump gives the same table anywhere
        "spark.sql.ansi.enabled": "true",
        "spark.ui.showConsoleProgress": "true" if sys.stderr.isatty() else "false",
        "spark.driver.extraJavaOptions": (
            f"-Dlog4j.configurationFile={LOGGING.as_uri()} {short}{settings.spark_java_options}"
        ),
        **(LOOPBACK if local else {}),
    }


def _of_delta(jars: list[str]) -> dict[str, Any]:
    return {
        "spark.jars": ",".join(jars),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.databricks.delta.snapshotPartitions": "2",  # 50 by default: 8 s of a small write
        # A run without rows has versions of its own too: gates judge them.
        "spark.databricks.delta.skipRecordingEmptyCommits": "false",
        # delta-rs reads neither deletion vectors nor column mapping.
        **{f"{DEFAULTS}.{name.removeprefix('delta.')}": v for name, v in DELTA_PROPERTIES.items()},
    }
