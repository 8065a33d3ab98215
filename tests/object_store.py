"""An S3 server of the tests' own on loopback: versitygw over a folder, with conditional writes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from mrl4rec.core import home
from tests.listening import free_port

BUCKET = "lake"
KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "of-no-worth",
        "AWS_REGION": "us-east-1"}  # fmt: skip


def binary() -> str | None:
    """Where `make object-store` has put versitygw, else where PATH has it; None: nowhere."""
    built = home.cache() / "bin" / "versitygw"
    return str(built) if built.exists() else shutil.which("versitygw")


class ObjectStore:
    """The server, over ``folder``: objects outlive its end, and it may be started again. What it
    knows of them it keeps beside them, or with ``attributes`` in the file system's attributes.
    """

    def __init__(self, folder: Path, *, attributes: bool = False) -> None:
        self.folder, self.port, self._attributes = folder, free_port(), attributes
        self.process: subprocess.Popen[bytes] | None = None
        for part in ("objects", "facts"):
            (folder / part).mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    def start(self, secret: str = KEYS["AWS_SECRET_ACCESS_KEY"]) -> None:
        """Serve until ``end``, to who has the secret; returns once it can be reached."""
        program = binary()
        assert program is not None
        secrets = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"],
                   "ROOT_SECRET_KEY": secret}  # fmt: skip
        (self.folder / "objects" / BUCKET).mkdir(exist_ok=True)
        facts = [] if self._attributes else ["--sidecar", str(self.folder / "facts")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "--quiet", "--port", f"127.0.0.1:{self.port}", "posix", *facts,
                 str(self.folder / "objects")],
                env={**os.environ, **secrets}, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the object store does not answer"
            time.sleep(0.05)

    def end(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
