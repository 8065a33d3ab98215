"""``mrl4rec setup``: Delta's JARs, where there is a Java that Spark takes."""

from __future__ import annotations

import argparse
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.transforms import spark_session


def add_options(command: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(arguments: argparse.Namespace) -> Any:
    """Resolve them once."""
    settings, java = Settings(), spark_session.java_version()
    is_there = java is not None and java >= spark_session.JAVA
    jars = spark_session.resolve_jars(settings) if is_there else []
    if arguments.json:
        return {"java": java, "jars": jars}
    if is_there:
        print(f"{len(jars)} io.delta JARs in {settings.jars}")
    else:
        print(f"Java {spark_session.JAVA} was not found: Spark is left out, DuckDB needs no Java")
    return None
