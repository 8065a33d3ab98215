"""Processes of a stack: started with a log each, waited for, watched, and ended with it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from mrl4rec.core.errors import Mrl4recError

log = logging.getLogger("mrl4rec")

HOST = "127.0.0.1"
STARTUP_SECONDS = 180
LEAST_SECONDS = 5.0
"""A service that ends sooner will not stay when it is started again."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Service:
    """One process of the stack, and how it is started."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)
    began: float = field(init=False)

    def begin(self) -> None:
        """Start it; it leads a process group of its own, and what it says goes to its log."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, stdout=out, stderr=subprocess.STDOUT, env=dict(self.environment),
                start_new_session=True,
            )  # fmt: skip
        self.began = time.monotonic()
        log.info("starting %s (process %d, log %s)", self.name, self.process.pid, self.log)

    def fail(self, why: str) -> Mrl4recError:
        """The error to raise when this service did not come up or ended."""
        tail = "\n".join(self.log.read_text(errors="replace").strip().splitlines()[-8:])
        return Mrl4recError(f"{self.name} {why}:\n{tail}", where=str(self.log),
                            todo="`mrl4rec doctor` says what is missing")  # fmt: skip

    def end(self) -> None:
        """End the process and what it started."""
        for sign, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
            try:
                os.killpg(self.process.pid, sign)
                self.process.wait(patience)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        log.info("ended %s", self.name)


def free_port(wanted: int) -> int:
    """The wanted port, or the next free one of the following hundred."""
    for port in range(wanted, wanted + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise Mrl4recError(f"no free port from {wanted} to {wanted + 99}", todo="name another port")


def start(
    stack: ExitStack, name: str, command: Sequence[str], environment: Mapping[str, str], logs: Path
) -> Service:
    """Start a process that is ended when the stack is closed."""
    service = Service(name, command, environment, logs / f"{name}.log")
    service.log.write_bytes(b"")
    service.begin()
    stack.callback(service.end)
    return service


def tell_to_end(services: Sequence[Service]) -> None:
    """SIGTERM to all at once: those that take their time to end then do so side by side."""
    for service in services:
        with suppress(ProcessLookupError):
            os.killpg(service.process.pid, signal.SIGTERM)


def get(url: str, data: bytes | None = None) -> bytes | None:
    """The answer of an address; None where it gives none."""
    headers = {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(url, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            body: bytes = answer.read()
            return body
    except (urllib.error.URLError, OSError):
        return None


def wait(service: Service, url: str) -> None:
    """Until the address answers. Raises as ``until``."""
    until(service, lambda: get(url) is not None)


def until(service: Service, ready: Callable[[], object]) -> None:
    """Until ``ready()`` holds. Raises Mrl4recError where the service ends, or it takes too long."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while not ready():
        if service.process.poll() is not None:
            raise service.fail(f"ended with code {service.process.returncode}")
        if time.monotonic() > deadline:
            raise service.fail(f"did not answer within {STARTUP_SECONDS} s")
        time.sleep(0.3)


def watch(services: Sequence[Service]) -> None:
    """For ever. Raises Mrl4recError when one of them ends by itself."""
    while True:
        for service in services:
            if service.process.poll() is not None:
                raise service.fail(f"ended by itself, code {service.process.returncode}")
        time.sleep(0.5)


def keep_running(services: Sequence[Service]) -> None:
    """For ever: start again what ends by itself. Raises Mrl4recError for one that does not stay."""
    while True:
        for service in services:
            code = service.process.poll()
            if code is None:
                continue
            if time.monotonic() - service.began < LEAST_SECONDS:
                raise service.fail(f"ended at once, code {code}")
            log.warning("%s ended by itself, code %d; it is started again", service.name, code)
            service.begin()
        time.sleep(0.5)


def interruptible() -> None:
    """Ctrl-C, SIGTERM and the end of the terminal (unless ignored, as by nohup) end the stack."""
    for sign in ENDING:
        if signal.getsignal(sign) != signal.SIG_IGN:
            signal.signal(sign, _interrupt)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    for sign in ENDING:  # a second one would leave processes behind
        signal.signal(sign, signal.SIG_IGN)
    raise KeyboardInterrupt
