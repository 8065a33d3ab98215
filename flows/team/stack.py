"""``mrl4rec up --team``: all servers of a team as processes on loopback, to try and to break."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import psutil

from flows import addresses
from flows.pools.dispatch import CPU, GPU, SPARK
from flows.server import ephemeral, pages
from flows.server.services import (
    HOST,
    Service,
    free_port,
    interruptible,
    keep_running,
    start,
    tell_to_end,
    until,
    wait,
)
from flows.server.stack import QUIET, mlflow_command, prefect_command
from flows.team import isolation, lake, postgres, spark
from mrl4rec.core import home, lazy, locks, network
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import write_whole
from mrl4rec.core.masking import masked
from mrl4rec.core.settings import PREFIX, Settings

with lazy.imports():
    from mrl4rec.transforms import spark_session

log = logging.getLogger("mrl4rec")

WORKERS = {CPU: (None,), SPARK: (1,), GPU: (1, 1)}
"""Pool → most runs at once of each of its workers; None: as many as come."""
LAST_SECONDS = 60.0
"""A stack that is ending on the same folder is waited for so long."""
SPARK_MEMORY, EXECUTORS = "1g", 2
TO_EXPORT = ("PREFECT_API_URL", "MRL4REC_WAREHOUSE", "MRL4REC_TRACKING_URI", "MRL4REC_SPARK_MASTER",
             "MRL4REC_SPARK_MEMORY", "SPARK_LOCAL_IP", *lake.environment("", 0))  # fmt: skip
"""What other terminals need to use the stack."""


def up(settings: Settings, folder: Path | None, isolate: bool, as_json: bool) -> None:
    """Start what no setting names, print the links, and stay until Ctrl-C; then end all of it.

    ``folder``: where the servers keep what they have. ``isolate``: workers see nothing of it, nor
    of this user's files (``isolation.hidden``). Raises Mrl4recError where a part is missing, with
    the end of its log where one does not answer or ends by itself.
    """
    began = time.monotonic()
    network.check()
    ephemeral.check_env_file()
    folder = (folder or home.state() / "team").absolute()
    if isolate:
        isolation.check(folder)
    (logs := folder / "logs").mkdir(parents=True, exist_ok=True)
    interruptible()
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        stack.enter_context(locks.locked(folder / "stack.lock", LAST_SECONDS))
        team = _Team(folder, logs, isolate)
        team.start(stack, settings)
        settings = Settings()  # by the environment that the parts made
        served = stack.enter_context(pages.serving(settings, free_port(8300), team.links))
        stack.enter_context(addresses.announced(settings, served, settings.mlflow_uri()))
        team.links["Pages"] = served
        _announce(team, time.monotonic() - began, as_json)
        keep_running(team.services)


class _Team:
    """The parts that were started, and the environment that they share, which is this process's:
    whatever is opened here later finds them.
    """

    def __init__(self, folder: Path, logs: Path, isolate: bool) -> None:
        self.folder, self.logs, self.isolate = folder, logs, isolate
        self.services: list[Service] = []
        self.links: dict[str, str] = {}
        self.secret = _secret(folder / "secret")

    def start(self, stack: ExitStack, settings: Settings) -> None:
        """Start them, those that others need first."""
        os.environ |= QUIET
        named = {"prefect": bool(os.environ.get(ephemeral.URL)),
                 "mlflow": settings.mlflow_uri().startswith("http")}  # fmt: skip
        spark_wanted = settings.spark_master is None and self._has_spark()
        if isinstance(settings.warehouse, Path):
            self._lake(stack)
        database = None if all(named.values()) else self._postgres(stack)
        started = []
        if not named["prefect"]:
            started.append(self._prefect(stack, database))
        if not named["mlflow"]:
            started.append(self._mlflow(stack, database))
        if spark_wanted:
            self._spark(stack)
        for service, address in started:
            wait(service, address)
        self.links |= {"Prefect": os.environ[ephemeral.URL].removesuffix("/api"),
                       "MLflow": masked(Settings().mlflow_uri())}  # fmt: skip
        self._register()
        self._workers(stack)

    @staticmethod
    def _has_spark() -> bool:
        try:
            spark_session.require()
        except Mrl4recError as error:
            log.warning("no Spark cluster is started, data stages run on DuckDB: %s", error.what)
            return False
        return True

    def _lake(self, stack: ExitStack) -> None:
        port = free_port(7070)
        service = lake.start(stack, self.folder / "lake", self.secret, port, self.logs)
        self.services.append(service)
        os.environ |= lake.environment(self.secret, port)
        os.environ[f"{PREFIX}WAREHOUSE"] = lake.WAREHOUSE
        self.links["Object store"] = f"http://{HOST}:{port}"

    def _postgres(self, stack: ExitStack) -> int:
        port = free_port(5432)
        service = postgres.start(stack, self.folder / "postgres", self.secret, port, self.logs)
        self.services.append(service)
        return port

    def _prefect(self, stack: ExitStack, database: int | None) -> tuple[Service, str]:
        port = free_port(4200)
        os.environ[ephemeral.URL] = f"http://{HOST}:{port}/api"
        assert database is not None
        store = postgres.url("prefect", self.secret, database, "+asyncpg")
        own = {"PREFECT_API_DATABASE_CONNECTION_URL": store,
               "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}  # fmt: skip
        service = self._start(stack, "prefect", prefect_command(port), own)
        return service, f"http://{HOST}:{port}/api/health"

    def _mlflow(self, stack: ExitStack, database: int | None) -> tuple[Service, str]:
        port = free_port(5000)
        os.environ[f"{PREFIX}TRACKING_URI"] = f"http://{HOST}:{port}"
        assert database is not None
        own = {"MLFLOW_BACKEND_STORE_URI": postgres.url("mlflow", self.secret, database)}
        place = os.environ[f"{PREFIX}WAREHOUSE"].rpartition("/")[0] + "/mlflow"
        service = self._start(stack, "mlflow", mlflow_command(place, port), own)
        return service, f"http://{HOST}:{port}/health"

    def _spark(self, stack: ExitStack) -> None:
        port, page = free_port(7077), free_port(8080)
        master = self._start(stack, "spark-master", spark.master_command(port, page), spark.JVM)
        wait(master, f"http://{HOST}:{page}/json/")
        place = Path("/tmp") if self.isolate else self.folder
        for n in range(1, EXECUTORS + 1):
            command = spark.worker_command(port, place / f"spark-work-{n}", SPARK_MEMORY)
            self._start(stack, f"spark-worker-{n}", self._isolated(command), spark.JVM)
        os.environ |= {f"{PREFIX}SPARK_MASTER": f"spark://{HOST}:{port}", "SPARK_LOCAL_IP": HOST}
        os.environ.setdefault(f"{PREFIX}SPARK_MEMORY", SPARK_MEMORY)
        self.links["Spark"] = f"http://{HOST}:{page}"

    def _register(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", "deploy", "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            said = done.stderr.strip()[-800:]
            raise Mrl4recError(f"the deployments could not be registered:\n{said}")

    def _workers(self, stack: ExitStack) -> None:
        workers = []
        for pool, limits in WORKERS.items():
            for n, limit in enumerate(limits, start=1):
                name = f"{pool}-{n}"
                command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process",
                           "--pool", pool, "--name", name]  # fmt: skip
                command += ["--limit", str(limit)] if limit else []
                workers.append(self._start(stack, f"worker-{name}", self._isolated(command)))
        stack.callback(tell_to_end, workers)
        for worker in workers:
            until(worker, partial(_says, worker.log, "started"))

    def _isolated(self, command: Sequence[str]) -> list[str]:
        return isolation.isolated(command, self.folder) if self.isolate else list(command)

    def _start(
        self, stack: ExitStack, name: str, command: Sequence[str], own: dict[str, str] | None = None
    ) -> Service:
        service = start(stack, name, command, os.environ | (own or {}), self.logs)
        self.services.append(service)
        return service


def _says(file: Path, word: str) -> bool:
    return word in file.read_text(encoding="utf-8", errors="replace")


def _secret(file: Path) -> str:
    """The password of the databases and the object store: made once, readable by this user."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24), encoding="utf-8")
    return file.read_text(encoding="utf-8")


def _announce(team: _Team, seconds: float, as_json: bool) -> None:
    exports = team.folder / "environment.sh"
    write_whole(exports, "".join(
        f"export {name}={shlex.quote(os.environ[name])}\n"
        for name in TO_EXPORT if name in os.environ
    ))  # fmt: skip
    exports.chmod(0o600)
    memory = {service.name: _memory(service) for service in team.services}
    if as_json:
        print(json.dumps({
            "links": team.links, "environment": str(exports), "memory_mb": memory,
            "seconds": round(seconds, 1),
        }), flush=True)  # fmt: skip
        return
    print("".join(f"{name:14}{link}\n" for name, link in team.links.items()))
    print("".join(f"{name:14}{mb:6,} MB\n" for name, mb in memory.items()), end="")
    print(
        f"{'together':14}{sum(memory.values()):6,} MB, ready after {seconds:.0f} s\n\n"
        "In another terminal:\n"
        f"  . {exports}\n"
        "  prefect deployment run mrl4rec/smoke --watch\n"
        "  prefect deployment run mrl4rec/full-benchmark\n"
        "  mrl4rec compare\n\n"
        "Ctrl-C ends all of it; what the servers have stays in the folder.",
        flush=True,
    )


def _memory(service: Service) -> int:
    """MB that only its processes hold, shared pages divided among those that share them."""
    first = psutil.Process(service.process.pid)
    found = 0
    for process in [first, *first.children(recursive=True)]:
        with suppress(psutil.Error):
            found += process.memory_full_info().pss
    return round(found / 1e6)
