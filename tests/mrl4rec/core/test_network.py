"""Proxies and certificates of the environment."""

from __future__ import annotations

import http.server
import os
import threading
import urllib.request
from collections.abc import Iterator

import httpx
import pytest
import requests

from mrl4rec.core import network
from mrl4rec.core.errors import UsageError

DEAD = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy is named, and none is excepted; all is as it was afterwards."""
    for name in (*network.PROXIES, "NO_PROXY", "SSL_CERT_FILE"):
        for spelled in (name, name.lower()):
            monkeypatch.setenv(spelled, "")
            monkeypatch.delenv(spelled)


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server on loopback."""
    handler = http.server.SimpleHTTPRequestHandler
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()


def test_loopback_is_asked_without_a_proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in network.PROXIES:
        monkeypatch.setenv(name, DEAD)
        monkeypatch.setenv(name.lower(), DEAD)
    with pytest.raises(OSError):
        urllib.request.urlopen(server)
    network.direct_to_loopback()
    with urllib.request.urlopen(server) as reply:
        assert reply.status == 200
    assert httpx.get(server).status_code == 200
    assert requests.get(server, timeout=10).status_code == 200


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_what_was_excepted_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "intranet, 10.0.0.1")
    for _ in range(2):
        network.direct_to_loopback()
        for spelled in ("NO_PROXY", "no_proxy"):
            said = os.environ[spelled].split(",")
            assert said == ["intranet", "10.0.0.1", *network.LOOPBACK]


@pytest.mark.parametrize("value", ["host:3128", "http://host:3128", "https://me:pw@[::1]:3128/"])
def test_a_proxy_that_can_be_used(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    network.check()
    httpx.Client().close()


@pytest.mark.parametrize("value", ["ftp://host:21", "http://host:port", "http://", "socks4://h:1"])
def test_one_that_cannot(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(UsageError) as caught:
        network.check()
    assert "ALL_PROXY" in str(caught.value.where)
    monkeypatch.setenv("NO_PROXY", "*")
    network.check()


def test_socks_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://me:pa55word@host:1080")
    monkeypatch.setattr(network.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        network.check()
    assert "httpx[socks]" in str(caught.value.todo)
    assert "pa55word" not in str(caught.value)
    monkeypatch.setattr(network.importlib.util, "find_spec", lambda name: name)
    network.check()
