"""``mrl4rec doctor``: what this machine lacks, each with what to type."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import sys
import uuid
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import data_engine
from flows.server import ephemeral
from flows.team import servers
from flows.team.servers import Finding
from mrl4rec.core import lazy, object_store
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings

with lazy.imports():
    import psutil
    import torch

    from mrl4rec.transforms import engine, spark_session

if TYPE_CHECKING:
    from upath import UPath

LEAST_DISK_MB = 2000
LEAST_MEMORY_GB = 6
MOST_SKEW = 60.0
"""Seconds between the clocks of an object store and of this machine."""


def add_options(command: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(arguments: argparse.Namespace) -> Any:
    """Print what was found; ``ok`` is whether nothing is missing."""
    findings = examine(Settings())
    ok = all(finding.ok for finding in findings)
    if arguments.json:
        return {"ok": ok, "findings": [vars(finding) for finding in findings]}
    for finding in findings:
        print(f"{'ok  ' if finding.ok else 'MISS'}  {finding.what}")
        if not finding.ok:
            print(f"      what to do: {finding.todo}")
    return {"ok": ok}


def examine(settings: Settings) -> list[Finding]:
    """Look at everything a run needs; nothing is changed, no server started."""
    looks: list[Callable[[], Finding]] = [
        _python,
        lambda: _java(settings),
        lambda: _jars(settings),
        lambda: _warehouse(settings),
        lambda: _disk(settings),
        _memory,
        lambda: _port(4200, "Prefect"),
        lambda: _port(5000, "MLflow"),
        _versions,
        _environment,
        _device,
    ]
    return [*(look() for look in looks), *servers.look(settings)]


def _python() -> Finding:
    found = sys.version_info[:2]
    return Finding(
        (3, 11) <= found <= (3, 12),
        f"Python {found[0]}.{found[1]} (3.11 or 3.12)",
        "make clean; make setup PYTHON=/path/to/python3.11",
    )


def _java(settings: Settings) -> Finding:
    try:
        spark_session.require()
    except Mrl4recError as error:
        todo = (
            "Spark 4.2 needs Java 17 or 21, with the module jdk.incubator.vector (a Java from PyPI "
            "lacks it): `apt-get install openjdk-17-jre-headless`, or set JAVA_HOME"
        )
        return _for_spark(settings, error.what, todo)
    return Finding(True, f"Java {spark_session.java_version()}, for Spark")


def _jars(settings: Settings) -> Finding:
    try:
        jars = spark_session.delta_jars(settings)
    except Mrl4recError as error:
        if engine.is_remote(settings):
            return Finding(True, f"{error.what}: Spark on a cluster needs none")
        return _for_spark(settings, error.what, "mrl4rec setup")
    return Finding(True, f"{len(jars)} io.delta JARs in {settings.jars}, for Spark")


def _for_spark(settings: Settings, seen: str, todo: str) -> Finding:
    """What is missing only where the data stages run on Spark."""
    if data_engine.decide(settings, deployed=False)[0] == "spark":
        return Finding(False, seen, todo)
    return Finding(True, f"{seen}: it is for Spark alone, and the data stages run on DuckDB")


def _warehouse(settings: Settings) -> Finding:
    folder = settings.warehouse.absolute()
    if not isinstance(folder, Path):
        return _object_store(settings, folder)
    at = next(p for p in (folder, *folder.parents) if p.exists())
    return Finding(
        os.access(at, os.W_OK),
        f"warehouse {folder} can be written",
        "choose another: --warehouse DIR, or set MRL4REC_WAREHOUSE",
    )


def _object_store(settings: Settings, root: UPath) -> Finding:
    """Whether it can be written, and keeps its word that one of many writers wins."""
    name = f"warehouse {root}"
    try:
        settings.storage.check_writable()
        lost = object_store.race(root / f".probe-{uuid.uuid4().hex}")
        behind = object_store.clock_behind(root)
    except Mrl4recError as error:
        return Finding(False, f"{name}: {error.what}", error.todo or "")
    if lost:
        todo = "take a server with conditional writes (If-None-Match): two runs would lose commits"
        return Finding(False, f"{name}: {lost}", todo)
    clock = f"its clock is {abs(behind):.0f} s {'behind' if behind > 0 else 'ahead of'} this one's"
    if abs(behind) > MOST_SKEW:
        todo = "set this machine's clock (NTP): S3 refuses requests of another time"
        return Finding(False, f"{name}: {clock}", todo)
    return Finding(
        True, f"{name} can be written, one of {object_store.RACERS} writers wins, {clock}"
    )


def _disk(settings: Settings) -> Finding:
    folder = settings.storage.here
    at = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(at).free // 2**20
    return Finding(
        free >= LEAST_DISK_MB,
        f"{free:,} MB free for the warehouse",
        f"make room: at least {LEAST_DISK_MB:,} MB, or choose another disk by --warehouse",
    )


def _memory() -> Finding:
    total = psutil.virtual_memory().total / 2**30
    return Finding(
        total >= LEAST_MEMORY_GB,
        f"{total:.0f} GB of memory",
        "lower MRL4REC_MEMORY_GB (half of it) on a smaller machine, on Spark MRL4REC_SPARK_MEMORY",
    )


def _port(port: int, who: str) -> Finding:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        busy = probe.connect_ex(("127.0.0.1", port)) == 0
    state = "is taken; `mrl4rec up` takes the next free one" if busy else "is free"
    return Finding(True, f"port {port} ({who}) {state}")


def _versions() -> Finding:
    pins = _pins()
    wrong = []
    for name, wanted in pins.items():
        try:
            found = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            continue
        if found != wanted:
            wrong.append(f"{name} {found} (tested: {wanted})")
    core = [
        w
        for w in wrong
        if w.split()[0].replace("_", "-")
        in {
            "fastapi",
            "duckdb",
            "pyspark",
            "delta-spark",
            "pandas",
            "deltalake",
            "prefect",
            "mlflow",
        }
    ]
    return Finding(
        not core,
        f"package versions: {'as tested' if not wrong else ', '.join(wrong)}",
        "make clean; make setup (constraints.txt has the versions that work together)",
    )


def _environment() -> Finding:
    try:
        ephemeral.check()
    except Mrl4recError as error:
        return Finding(False, f"{error.what} ({error.where})", error.todo or "")
    return Finding(True, "proxies, certificates and Prefect's address can be used")


def _pins() -> dict[str, str]:
    file = Path(__file__).resolve().parents[2] / "constraints.txt"
    if not file.exists():  # installed without the checkout: nothing to hold against
        return {}
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line)


def _device() -> Finding:
    if find_spec("torch") is None:  # the image of the data stages
        return Finding(True, "torch is not installed: this machine trains nothing")
    if torch.cuda.is_available():
        return Finding(True, f"training on {torch.cuda.get_device_name()}")
    return Finding(True, f"training on the CPU, {os.cpu_count()} cores (no GPU was found)")
