"""Prefect's API for the time of one command, where the user has configured none.

Prefect would start such a server by itself, but only once it has imported the server's code into
this process too, which takes as long as the server's own start. This one starts first and imports
beside us; it keeps its runs where Prefect's own does, in ``~/.prefect``.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from mrl4rec.core import lazy, network
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.masking import masked

with lazy.imports():
    import prefect.server.api.server
    import uvicorn

URL = "PREFECT_API_URL"
DECIDING = (
    "PREFECT_API_",
    "PREFECT_PROFILE",
    "PREFECT_SERVER_API_",
    "PREFECT_SERVER_EPHEMERAL_ENABLED",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE",
)
"""Beginnings of the environment variables by which people say which API to use, or how."""
MODE = {
    # As Prefect sets them for its own: no pages, no schedulers.
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    # A tenth of the start is a library making its functions check their arguments.
    "PY_KEY_VALUE_DISABLE_BEARTYPE": "true",
}
PATIENCE = {"PREFECT_CLIENT_MAX_RETRIES": "7", "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500"}
"""Environment of a flow's process: it asks a server that is away for 4 minutes, pausing 2, 4, 8 …
seconds, which outlasts a restart; Prefect's own 5 times end within one. A server whose database is
away answers 500."""
WAITING = {"PREFECT_SERVER_DATABASE_TIMEOUT": "60"}
"""Environment of the server, unless people say otherwise: servers of runs side by side write to one
SQLite file, and on a busy machine Prefect's own 10 seconds are not enough for another's turn."""
ANSWER_SECONDS, STOP_SECONDS, PROBE_SECONDS = 300, 5, 2


class Server:
    """A Prefect server on a free port of loopback, in a process that ends with this one."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
            number = listening.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flows.server.ephemeral", str(number)],
                stdin=subprocess.PIPE,  # closes however this process ends; the server sees it
                stdout=subprocess.DEVNULL,  # ours is for results
                pass_fds=[number],
                start_new_session=True,  # Ctrl-C is for the flow, which then tells the server
                env={**WAITING, **os.environ, **MODE},
            )
        # Before Prefect is imported, hence called after Prefect has sent its last event.
        atexit.register(self.stop)

    def wait(self) -> None:
        """Until it answers. Its socket listens from the beginning, so to ask once is enough.

        Raises Mrl4recError where it ends or is silent instead.
        """
        try:
            urllib.request.urlopen(f"{self.url}/health", timeout=ANSWER_SECONDS).close()
        except OSError as error:
            raise Mrl4recError(
                f"Prefect's server did not start: {error}",
                todo=f"see what it says above, or start one and set {URL}: `mrl4rec up`",
            ) from error

    def stop(self) -> None:
        """End its process."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start() -> Server | None:
    """A server, named to Prefect; None where people have settings of their own for Prefect to read.

    None also where Prefect is imported already: it has read its settings then.
    """
    if "prefect" in sys.modules or is_configured():
        return None
    server = Server()
    os.environ[URL] = server.url
    return server


def is_configured() -> bool:
    """Whether people say which API to use, or how."""
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    named = any(name.startswith(DECIDING) for name in os.environ)
    files = {home / "profiles.toml": b"", Path("prefect.toml"): b"", Path(".env"): b"PREFECT_",
             Path("pyproject.toml"): b"[tool.prefect"}  # fmt: skip
    return named or any(path.is_file() and s in path.read_bytes() for path, s in files.items())


def check() -> None:
    """Raise UsageError or Mrl4recError where Prefect could not be imported, or its API asked."""
    network.check()
    check_env_file()
    address = os.environ.get(URL)
    if not address:
        return
    where = f"{URL}={masked(address)}"
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        todo = f"write it like http://127.0.0.1:4200/api, or unset {URL}"
        raise UsageError("this is no address of Prefect's API", where=where, todo=todo)
    away = network.refused(address, PROBE_SECONDS)
    if away:
        todo = f"start it (`mrl4rec up`), or unset {URL}: the command starts one of its own"
        raise Mrl4recError(f"Prefect's API cannot be reached: {away}", where=where, todo=todo)


def check_env_file() -> None:
    """Raise UsageError where Prefect, which reads ``.env`` of the working directory, could not."""
    file = Path(".env")
    try:
        text = file.read_bytes() if file.is_file() else b""
        text.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"Prefect reads this file, and cannot: {error}",
            where=str(file.absolute()),
            todo="save it as UTF-8, or run the command in another folder",
        ) from error


def serve(number: int) -> None:
    """The server's own process: Prefect's API on an open socket, until told to stop."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.disable()  # imports make hardly any garbage; looking for it is a sixth of the start

    app = prefect.server.api.server.create_app(ephemeral=True, final=True)
    gc.enable()
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
    server.run(sockets=[socket.socket(fileno=number)])


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
