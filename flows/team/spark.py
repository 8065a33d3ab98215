"""A Spark standalone cluster on loopback: a master and workers, from the Python package."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from flows.server import services
from flows.server.services import HOST, Service

MASTER = "org.apache.spark.deploy.master.Master"
WORKER = "org.apache.spark.deploy.worker.Worker"
JVM = {"SPARK_LOCAL_IP": HOST, "SPARK_DAEMON_MEMORY": "256m"}
"""Environment of the daemons: their pages are on loopback too."""


def master_command(port: int, page: int) -> list[str]:
    """The command of the master; ``page``: the port of its web page."""
    return [_program(), MASTER, "--host", HOST, "--port", str(port), "--webui-port", str(page)]


def worker_command(master: int, folder: Path, memory: str) -> list[str]:
    """The command of a worker with one core; ``folder``: what executors write."""
    return [_program(), WORKER, "--host", HOST, "--cores", "1", "--memory", memory,
            "--webui-port", "0", "--work-dir", str(folder), f"spark://{HOST}:{master}"]  # fmt: skip


def start_master(
    stack: ExitStack, port: int, page: int, environment: Mapping[str, str], logs: Path
) -> Service:
    """Start the master."""
    command = master_command(port, page)
    return services.start(stack, "spark-master", command, {**environment, **JVM}, logs)


def start_workers(
    stack: ExitStack,
    commands: Sequence[Sequence[str]],
    environment: Mapping[str, str],
    logs: Path,
) -> list[Service]:
    """Start workers by their commands."""
    return [
        services.start(stack, f"spark-worker-{n}", command, {**environment, **JVM}, logs)
        for n, command in enumerate(commands, start=1)
    ]


def _program() -> str:
    package = importlib.util.find_spec("pyspark")
    assert package is not None
    assert package.origin is not None
    return str(Path(package.origin).parent / "bin" / "spark-class")
