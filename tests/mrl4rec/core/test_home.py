"""A home that cannot be used is replaced."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from mrl4rec.core import home
from mrl4rec.core.errors import Mrl4recError
from tests.powers import run_as_owner


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files lie."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_home_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(temporary))
    assert home.cache() == temporary / ".cache" / "mrl4rec"
    assert list(temporary.iterdir()) == []


def test_without_one_there_is_one_of_this_user(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(temporary / "none"))
    home.ensure()
    (made,) = temporary.iterdir()
    assert os.environ["HOME"] == str(made)
    assert made.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("HOME", str(temporary / "none"))
    home.ensure()  # it is there already
    assert Path.home() == made


READ_ONLY = """
import os
from mrl4rec.core import home
print(home.ensure())
print(*[os.environ[name] for name in ("HOME", *home.KEPT, "PREFECT_PROFILES_PATH")])
"""


def test_a_home_that_may_only_be_read_stays(tmp_path: Path) -> None:
    """People mount credentials there, and Prefect's profiles are there."""
    there = tmp_path / "home"
    (there / ".prefect").mkdir(parents=True)
    (there / ".prefect" / "profiles.toml").touch()
    there.chmod(0o555)
    done = run_as_owner(READ_ONLY, cwd=tmp_path, HOME=str(there), TMPDIR=str(tmp_path))
    there.chmod(0o755)
    folder, home_, *kept, profiles = done.stdout.split()
    assert Path(folder).parent == tmp_path
    assert home_ == str(there)
    assert {Path(place).parent for place in kept} == {Path(folder)}
    assert profiles == str(there / ".prefect" / "profiles.toml")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_of_somebody_else_is_refused(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(temporary / "none"))
    home.ensure()
    os.chown(Path.home(), 12345, 12345)
    monkeypatch.setenv("HOME", str(temporary / "none"))
    with pytest.raises(Mrl4recError) as caught:
        home.ensure()
    assert "HOME" in caught.value.what
