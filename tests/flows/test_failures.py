"""Failures that nobody foresaw, closed pipes and ended terminals: what is printed, which code."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.cli import failures
from tests.flows.test_cli import run

BROKEN = """
import sys
from flows.cli import compare, main
def run(arguments):
    raise KeyError("no such thing")
compare.run = run
sys.exit(main(sys.argv[1:]))
"""


def broken(cwd: Path, *words: str) -> list[str]:
    """What a command prints on stderr whose handler has a mistake."""
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, "compare", *words],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    return done.stderr.splitlines()


def test_a_mistake_of_ours_is_three_lines_and_a_log(tmp_path: Path) -> None:
    (tmp_path / "warehouse").mkdir()
    what, where, todo = broken(tmp_path)
    assert "KeyError: 'no such thing'" in what
    log = Path(where.rpartition(" ")[2])
    assert log.parent == tmp_path / "warehouse" / "logs"
    assert log.read_text().startswith("Traceback")
    assert "--debug" in todo


def test_without_a_warehouse_the_log_lies_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    _, where, _ = broken(tmp_path / "cwd")
    assert Path(where.rpartition(" ")[2]).parent == tmp_path
    assert list((tmp_path / "cwd").iterdir()) == []


def test_debug_prints_the_traceback_and_writes_none(tmp_path: Path) -> None:
    (tmp_path / "warehouse").mkdir()
    lines = broken(tmp_path, "--debug")
    assert lines[0].startswith("Traceback")
    assert "KeyError: 'no such thing'" in lines[-2]
    assert list((tmp_path / "warehouse").iterdir()) == []


@pytest.mark.parametrize("number", failures.SYSTEM)
def test_what_the_system_refuses_names_the_place(number: int) -> None:
    """By number and file, or (delta-rs) in words alone."""
    told = failures.explained(OSError(number, os.strerror(number), "/some/file"))
    assert (told.what, told.where) == (failures.SYSTEM[number][0], "/some/file")
    assert told.todo
    words = failures.explained(OSError(f"Generic error: {os.strerror(number)} (os error {number})"))
    assert words.what == told.what
    assert words.where == str(Path("warehouse").absolute())


def test_a_server_that_denies_is_not_the_system() -> None:
    told = failures.explained(RuntimeError("Permission denied for user me"), debug=True)
    assert "RuntimeError" in told.what
    assert failures.explained(RuntimeError("Spark: No space left on device")).what == (
        "the disk is full"
    )


def test_a_missing_file_is_a_mistake_of_ours() -> None:
    assert "FileNotFoundError" in failures.explained(OSError(errno.ENOENT, "gone"), debug=True).what


def test_no_folder_of_temporary_files_names_the_variable() -> None:
    error = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/x']")
    assert "TMPDIR" in str(failures.explained(error).todo)


@pytest.mark.parametrize("words", [["datasets"], ["datasets", "--json"]])
def test_a_closed_pipe_is_silent(tmp_path: Path, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *words],
        cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (failures.CLOSED_PIPE, "")


def test_another_broken_pipe_is_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    assert not failures.output_is_closed()


def test_the_common_options_are_everywhere(tmp_path: Path) -> None:
    done = run("datasets", "--debug", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)


UP = """
import signal, socket, sys
for sign in (signal.SIGHUP, signal.SIGINT):  # as in a terminal, whatever the tests run under
    signal.signal(sign, signal.SIG_DFL if sign == signal.SIGHUP else signal.default_int_handler)
from flows.server import stack
from mrl4rec.core.settings import Settings
sleep = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(600)"]
start = stack.start
stack.start = lambda stack, name, command, *rest: start(stack, name, sleep, *rest)
stack.wait = stack._wait_for_deployments = lambda *_: None
stack._announce = lambda *_: print("up", flush=True)
taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
ports = [one.getsockname()[1] for one in taken]
for one in taken:
    one.close()
stack.up(Settings(warehouse=sys.argv[1]), stack.Ports(*ports), True)
"""


@pytest.mark.parametrize("sign", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_up_ends_its_processes_when_its_terminal_goes(tmp_path: Path, sign: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", UP, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    children = psutil.Process(process.pid).children()
    assert len(children) == 3
    for _ in range(2):  # the shell and the terminal both send it
        process.send_signal(sign)
    assert process.wait(60) == 0
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    process.stdout.close()
