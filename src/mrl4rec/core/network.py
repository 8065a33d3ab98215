"""Proxies and certificates that the environment names: no proxy for loopback, mistakes refused."""

from __future__ import annotations

import importlib.util
import os
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

from mrl4rec.core.errors import UsageError
from mrl4rec.core.masking import masked

LOOPBACK = ("localhost", "127.0.0.1", "::1")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
SCHEMES = ("http", "https", "socks5", "socks5h")
"""Of proxies that httpx, by which Prefect and the downloads ask, can take."""


def direct_to_loopback() -> None:
    """Have this process, and those that it starts, ask servers on loopback without a proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        # Some read the one, some the other: both get what either says.
        said = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        hosts = [host.strip() for host in said.split(",") if host.strip()]
        os.environ[name] = ",".join(dict.fromkeys([*hosts, *LOOPBACK]))


def proxies() -> Iterator[tuple[str, str]]:
    """The variables that name a proxy, and what they say."""
    for name in PROXIES:
        for spelled in (name, name.lower()):
            if value := os.environ.get(spelled):
                yield spelled, value


def check() -> None:
    """Raise UsageError for a variable with which httpx cannot even open a connection."""
    if "*" not in os.environ.get("NO_PROXY", "").split(","):
        for name, value in proxies():
            _check_proxy(name, value if "://" in value else f"http://{value}")
    file = os.environ.get("SSL_CERT_FILE")
    if file:
        try:
            ssl.create_default_context(cafile=file)
        except OSError as error:  # ssl's own are such too
            raise UsageError(
                f"SSL_CERT_FILE names no file of certificates: {error.strerror or error}",
                where=f"SSL_CERT_FILE={file}",
                todo="name a PEM file, or unset SSL_CERT_FILE",
            ) from error


def refused(address: str, seconds: float) -> str | None:
    """Why a server cannot be reached, asked by one bare connection within so many seconds.

    None where it can be, where the address is none of HTTP, and where a proxy stands before it.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        return None
    named = urllib.request.getproxies()
    proxied = named.get(parts.scheme) or named.get("all")
    if proxied and not urllib.request.proxy_bypass(parts.hostname):
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), seconds).close()
    except OSError as error:
        return str(error)
    return None


def _check_proxy(name: str, value: str) -> None:
    try:
        parts = urlsplit(value)
        what = None if parts.port is None or parts.port else "has no port"
    except ValueError as error:
        raise _unusable(name, value, f"is no address: {error}") from error
    if parts.scheme not in SCHEMES:
        what = f"is of a kind that is not known: {parts.scheme}"
    elif not parts.hostname:
        what = "names no host"
    elif parts.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise _unusable(name, value, "is a SOCKS proxy, and the package socksio is missing",
                        f"pip install 'httpx[socks]', or unset {name}")  # fmt: skip
    if what:
        raise _unusable(name, value, what)


def _unusable(name: str, value: str, what: str, todo: str | None = None) -> UsageError:
    return UsageError(
        f"the proxy of {name} {what}",
        where=f"{name}={masked(value)}",
        todo=todo or f"write it like http://host:3128, or unset {name}",
    )
