"""Compiling beside a run: every loop is compiled, it is said part by part, and only once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mrl4rec.training import compiled


@pytest.fixture
def nothing_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(compiled.home, "cache", lambda: tmp_path)
    monkeypatch.setattr(compiled, "_running", None)
    monkeypatch.setattr(compiled, "_made", set())
    return tmp_path


def test_every_part_compiles_and_leaves_its_stamp(nothing_compiled: Path) -> None:
    assert not compiled.stamp().exists()
    assert list(compiled.compile_all()) == list(compiled.PARTS)
    assert compiled.stamp().exists()


def test_nothing_is_begun_where_all_is_compiled(nothing_compiled: Path) -> None:
    compiled.stamp().parent.mkdir(parents=True)
    compiled.stamp().touch()
    compiled.begin()
    assert compiled._running is None
    compiled.wait("training")  # and nobody waits


def test_a_wait_ends_with_the_part_and_with_the_process(
    nothing_compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child tells one part and dies: the second wait must not hang."""
    told = "import os; print('ranking', flush=True); os.kill(os.getpid(), 9)"
    child = subprocess.Popen([sys.executable, "-c", told], stdout=subprocess.PIPE, text=True)
    monkeypatch.setattr(compiled, "_running", child)
    compiled.wait("ranking")
    compiled.wait("training")
    assert child.returncode == -9


def test_another_cache_has_a_stamp_of_its_own(
    nothing_compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = compiled.stamp()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(nothing_compiled / "elsewhere"))
    assert compiled.stamp() != before
