"""The server of one command: only where nobody configured another, and gone with the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from flows.server import ephemeral


class Fake:
    """A server that is not started."""

    url = "http://127.0.0.1:1/api"


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing of Prefect imported, set or configured; the working directory is empty."""
    for name in [name for name in os.environ if name.startswith(ephemeral.DECIDING)]:
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "prefect", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(ephemeral.URL, "")  # so that it is as it was afterwards
    monkeypatch.delenv(ephemeral.URL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ephemeral, "Server", Fake)
    return monkeypatch


def test_without_settings_it_is_named_to_prefect(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('dependencies = ["prefect"]')
    (tmp_path / ".env").write_text("OTHER=1")
    assert isinstance(ephemeral.start(), Fake)
    assert os.environ[ephemeral.URL] == Fake.url


@pytest.mark.parametrize("name", ["PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE"])
def test_variables_of_ones_own_are_left_to_prefect(bare: pytest.MonkeyPatch, name: str) -> None:
    bare.setenv(name, "http://elsewhere/api")
    assert ephemeral.start() is None
    assert os.environ[name] == "http://elsewhere/api"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("home/profiles.toml", 'active = "team"'),
        ("prefect.toml", "[api]"),
        (".env", "PREFECT_API_URL=http://elsewhere/api"),
        ("pyproject.toml", "[tool.prefect.api]"),
    ],
)
def test_files_of_ones_own_are_left_to_prefect(
    bare: pytest.MonkeyPatch, tmp_path: Path, file: str, text: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert ephemeral.start() is None
    assert ephemeral.URL not in os.environ


def test_prefect_imported_before_has_read_its_settings(bare: pytest.MonkeyPatch) -> None:
    bare.setitem(sys.modules, "prefect", json)
    assert ephemeral.start() is None


CHILD = """
import time
from flows.server.ephemeral import Server
server = Server()
server.wait()
print(server.url, server._process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_it_answers_and_ends_with_a_killed_command(tmp_path: Path) -> None:
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path)}
    command = [sys.executable, "-c", CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        try:
            url, number = child.stdout.readline().split()
            server = psutil.Process(int(number))
            with urllib.request.urlopen(f"{url}/health") as answer:
                assert json.load(answer) is True
            with urllib.request.urlopen(f"{url}/admin/settings") as answer:
                assert json.load(answer)["server"]["database"]["timeout"] == 60
        finally:
            child.kill()
    deadline = time.monotonic() + 60
    while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the server outlived its command"
        time.sleep(0.05)
    assert (tmp_path / "prefect.db").exists()
