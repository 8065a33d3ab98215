"""A Spark standalone cluster on loopback: a master and workers, from the Python package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from flows.server.services import HOST

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


def _program() -> str:
    package = importlib.util.find_spec("pyspark")
    assert package is not None
    assert package.origin is not None
    return str(Path(package.origin).parent / "bin" / "spark-class")
