"""Opening Spark for one stage run: which of its engines, and what its failures mean."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException

from mrl4rec.core import store_errors
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.transforms import spark_session
from mrl4rec.transforms.engine import is_remote
from mrl4rec.transforms.spark_cluster import SparkOnCluster, SparkOnFiles
from mrl4rec.transforms.spark_engine import Spark


@contextmanager
def opened(settings: Settings) -> Iterator[Spark]:
    """An engine of its own on the process's session, which stays."""
    session = spark_session.session(settings).newSession()
    engine: Spark
    if is_remote(settings):
        engine = SparkOnCluster(session, settings.storage.spark_dir)
    elif isinstance(settings.warehouse, Path):
        engine = Spark(session)
    else:
        engine = SparkOnFiles(session)
    try:
        yield engine
    except (PySparkException, Py4JJavaError) as error:
        of_store = store_errors.explained(error, str(settings.warehouse))
        if of_store is not None and not isinstance(settings.warehouse, Path):
            raise of_store from error
        if os.strerror(errno.ENOSPC) in str(error):
            raise Mrl4recError(
                "the disk is full; the tables are as they were before",
                where=f"{settings.warehouse.absolute()}, or where Spark spills (SPARK_LOCAL_DIRS)",
                todo="make room and run the same command again; what is finished is kept",
            ) from error
        raise Mrl4recError(
            f"Spark failed: {_cause(error, engine.copies)}",
            where=settings.spark_master or "local[*]",
            todo="see the cause; the tables are as they were before",
        ) from error
    finally:
        engine.close()


def _cause(error: Exception, copies: Mapping[str, str]) -> str:
    """What an executor raised, where it raised one of our own errors; else what names the error.

    A dump is named by its own path, not by that of its copy.
    """
    said = str(error)
    for copy, path in copies.items():
        said = said.replace(copy, path)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    ours = next((n for n, line in enumerate(lines) if "mrl4rec.core.errors." in line), None)
    if ours is None:
        of_python = [line for line in lines if re.match(r"([A-Z]\w*|pyarrow\.lib\.\w+): ", line)]
        of_java = [line.lstrip(": ") for line in lines if "Exception" in line or line[0] == "["]
        named = of_python or of_java
        return (named or lines or [type(error).__name__])[0][:500]
    more = takewhile(lambda line: line.startswith(("where:", "what to do:")), lines[ours + 1 :])
    return "\n  ".join([lines[ours].partition(": ")[2], *more])
