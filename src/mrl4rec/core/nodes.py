"""Several machines that train one model: what their settings must say, and waiting for machine 0.

Each runs the same command, with its own number. Machine 0 leads: it holds the stage's lock, writes
the checkpoints and stores the model.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings

POLL_SECONDS = 0.5
"""Between two looks at machine 0."""
log = logging.getLogger("mrl4rec")


class Deserted(Mrl4recError):
    """Another machine did not come, was lost, or ended the training."""


def check(settings: Settings) -> None:
    """Raise UsageError where machines with these settings could not train together."""
    if settings.node >= settings.nodes:
        raise UsageError(
            f"this would be machine {settings.node}, and they are numbered 0 to "
            f"{settings.nodes - 1}",
            where="MRL4REC_NODE, MRL4REC_NODES",
            todo="set MRL4REC_NODES to how many machines there are, MRL4REC_NODE to another number "
            "on each",
        )
    if settings.nodes == 1:
        return
    host, _ = endpoint(settings)
    if settings.node == 0:
        _check_own(host)
    if isinstance(settings.warehouse, Path) and not settings.warehouse_shared:
        raise UsageError(
            f"{settings.nodes} machines train together, and each may have a folder of its own here",
            where=str(settings.warehouse.absolute()),
            todo="name a warehouse in an object store (s3://bucket/prefix); where every machine "
            "has the folder at this path, set MRL4REC_WAREHOUSE_SHARED=true",
        )


def check_alone(settings: Settings, command: str) -> None:
    """Raise UsageError where a command that one machine runs is asked for with several."""
    if settings.nodes > 1:
        raise UsageError(
            f"{command} runs on one machine, and MRL4REC_NODES is {settings.nodes}",
            where="MRL4REC_NODES",
            todo="unset it; `mrl4rec train`, `evaluate` and `run` train on several machines",
        )


def endpoint(settings: Settings) -> tuple[str, int]:
    """Host and port of the rendezvous. Raises UsageError where there are none."""
    host, _, port = (settings.rendezvous or "").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UsageError(
            f"{settings.nodes} machines train together, and MRL4REC_RENDEZVOUS "
            + (f"is {settings.rendezvous!r}" if settings.rendezvous else "is not set"),
            where="MRL4REC_RENDEZVOUS",
            todo="set it on each to host:port, an address of machine 0 and a port that is free "
            "there",
        )
    return host.strip("[]"), int(port)


def interface(settings: Settings) -> str:
    """The network interface by which this machine reaches the rendezvous.

    Raises Mrl4recError where there is no way to it.
    """
    host, port = endpoint(settings)
    with suppress(OSError):
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
            with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(address)  # nothing is sent
                mine = probe.getsockname()[0]
                for name, known in psutil.net_if_addrs().items():
                    if any(one.address.partition("%")[0] == mine for one in known):
                        return name
    raise Mrl4recError(
        f"there is no way to {host} from here",
        where="MRL4REC_RENDEZVOUS",
        todo="name an address of machine 0 that every machine reaches, or the interface in "
        "GLOO_SOCKET_IFNAME (on GPUs also NCCL_SOCKET_IFNAME)",
    )


def wait_for_first(settings: Settings, is_done: Callable[[], bool]) -> bool:
    """Wait until machine 0 is at the rendezvous: True; False where the model was there first.

    Raises Deserted after ``rendezvous_seconds``.
    """
    host, port = endpoint(settings)
    log.info("machine %d of %d: waiting for machine 0 at %s", settings.node, settings.nodes,
             settings.rendezvous)  # fmt: skip

    def is_listening() -> bool:
        with suppress(OSError), socket.create_connection((host, port), POLL_SECONDS):
            return True
        return False

    if _wait(settings, lambda: is_listening() or is_done()):
        return not is_done()
    raise missing(settings, [0])


def wait_for_model(settings: Settings, is_done: Callable[[], bool]) -> None:
    """Wait until machine 0 has stored the model. Raises Mrl4recError after that time."""
    if not _wait(settings, is_done):
        raise Mrl4recError(
            f"machine 0 has stored no model within {settings.rendezvous_seconds:g} s after the "
            "training",
            where="MRL4REC_RENDEZVOUS_SECONDS",
            todo="see what machine 0 says; then run the same command on every machine again",
        )


def missing(settings: Settings, machines: list[int]) -> Deserted:
    """The error for machines that did not come."""
    who = ", ".join(f"machine {one}" for one in machines)
    return Deserted(
        f"{who} of 0 to {settings.nodes - 1} did not come within {settings.rendezvous_seconds:g} s",
        where=f"the rendezvous of machine {settings.node}, "
        f"MRL4REC_RENDEZVOUS={settings.rendezvous}",
        todo="run the same command on every machine, with MRL4REC_NODE=0 on the one whose address "
        "that is, and see that the others reach it; MRL4REC_RENDEZVOUS_SECONDS is how long to wait",
    )


def _wait(settings: Settings, ready: Callable[[], bool]) -> bool:
    """Whether it came about within ``rendezvous_seconds``."""
    until = time.monotonic() + settings.rendezvous_seconds
    while not ready():
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _check_own(host: str) -> None:
    """Raise UsageError where the rendezvous is no address of this machine."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.bind(address)
    except OSError as error:
        raise UsageError(
            f"this is machine 0, and {host} is no address of it: {error.strerror or error}",
            where="MRL4REC_RENDEZVOUS, MRL4REC_NODE",
            todo="set MRL4REC_RENDEZVOUS to an address of machine 0, and MRL4REC_NODE to another "
            "number on each machine",
        ) from error
