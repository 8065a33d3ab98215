"""Free ports of loopback, and who may reach the servers of a process tree."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address

import psutil


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(pid: int) -> dict[tuple[str, int], str]:
    """The addresses at which a process and all below it listen, and the command that does."""
    found = {}
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            for at in process.net_connections(kind="inet"):
                if at.status == psutil.CONN_LISTEN:
                    found[at.laddr.ip, at.laddr.port] = " ".join(process.cmdline())[:200]
    return found


def reachable_from_outside(pid: int) -> dict[tuple[str, int], str]:
    """Those of them that are not on loopback."""
    return {at: who for at, who in listening(pid).items() if not _is_loopback(at[0])}


def _is_loopback(host: str) -> bool:
    address = ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
