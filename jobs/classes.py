"""An archive of Spark's classes, loaded and checked once: the JVM's class-data sharing.

A third of what a session costs to start is loading some 15,000 classes; with them in an archive
that is mapped into memory a session and its first query take 6 s of processor time instead of 10.
The archive (190 MB) belongs to one Java, one PySpark and one place: its name says which, another is
not looked at, and without one all works as ever. It lies in the environment that it is of, beside
those of nobody else, and goes with it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mrl4rec.settings import Settings

log = logging.getLogger("mrl4rec")

SECONDS = 180
FOLDER = Path(sys.prefix, "share", "mrl4rec")
REHEARSAL = """
import sys, tempfile
from pathlib import Path
from pyspark.sql import functions as F
from pyspark.sql import Window
from jobs import spark as spark_job
from mrl4rec.settings import Settings

spark = spark_job.session(Settings())
with tempfile.TemporaryDirectory() as folder:
    uri = str(Path(folder, "table"))
    lines = spark.sql("SELECT '{\\"a\\": \\"1\\"}' AS value, current_timestamp() AS at")
    made = lines.select(F.from_json("value", "a STRING").a.alias("a"), "at")
    made.write.format("delta").save(uri)
    read = spark.read.format("delta").load(uri).persist()
    read.join(read.withColumnRenamed("at", "then"), "a").groupBy("a").count().collect()
    read.withColumn("n", F.row_number().over(Window.partitionBy("a").orderBy("at"))).toArrow()
spark_job.stop()
"""


def archive(settings: Settings) -> Path | None:
    """Where the archive of this Java and this PySpark lies, made or not; None without a Java."""
    import pyspark

    home = os.environ.get("JAVA_HOME")
    java = Path(home, "bin", "java") if home else Path(shutil.which("java") or "")
    if not java.is_file():
        return None
    parts = [str(java.resolve()), java.stat().st_mtime_ns, pyspark.__file__, pyspark.__version__]
    jars = sorted(path.name for path in settings.jars.glob("*.jar"))
    name = hashlib.sha256(repr([*parts, jars, str(settings.jars.absolute())]).encode()).hexdigest()
    return FOLDER / f"classes-{name[:16]}.jsa"


def options(settings: Settings) -> str:
    """What the JVM is told of the archive: nothing where there is none."""
    path = archive(settings)
    if path is None or not path.is_file() or " " in str(path):
        return ""
    # One that does not fit after all (another Java under the same name) is left aside unsaid.
    return f"-Xshare:auto -XX:SharedArchiveFile={path} -Xlog:cds=off -Xlog:cds+dynamic=off"


def make(settings: Settings) -> Path | None:
    """Make the archive, unless it is there: a session that does a little of everything, recorded.

    None where it cannot be made; that costs seconds at every start and nothing else, so it is a
    warning.
    """
    path = archive(settings)
    if path is None or path.is_file():
        return path
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".classes-", dir=FOLDER)
    except OSError as error:
        log.warning("no archive of Spark's classes: %s", error)
        return None
    with scratch as folder:
        made = Path(folder, path.name)
        log.info("archiving Spark's classes, once: about half a minute")
        recorded = f"-XX:ArchiveClassesAtExit={made} -Xlog:cds=off -Xlog:cds+dynamic=off"
        environment = {**os.environ, "MRL4REC_SPARK_JAVA_OPTIONS": recorded}
        environment |= {"MRL4REC_JARS": str(settings.jars), "MRL4REC_SPARK_MASTER": "local[2]"}
        problem = _run(environment)
        if not made.is_file():
            log.warning("no archive of Spark's classes: %s", problem or "Java wrote none")
            return None
        os.replace(made, path)
    for old in FOLDER.glob("classes-*.jsa"):
        if old != path:
            old.unlink(missing_ok=True)
    return path


def _run(environment: dict[str, str]) -> str:
    """Record; what went wrong, in the child's last words."""
    command = [sys.executable, "-c", REHEARSAL]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not done in {SECONDS} s"
    return "" if done.returncode == 0 else "\n".join(done.stderr.strip().splitlines()[-3:])
