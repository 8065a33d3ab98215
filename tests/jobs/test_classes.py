"""The archive of Spark's classes: made once, used where it fits, done without where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import classes
from jobs.jars import resolve
from mrl4rec.settings import Settings


@pytest.fixture
def jars(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The JARs in a folder of the test's own, and archives in another."""
    monkeypatch.setattr(classes, "FOLDER", tmp_path / "archives")
    folder = tmp_path / "jars"
    folder.mkdir()
    for jar in resolve(settings):
        (folder / Path(jar).name).symlink_to(jar)
    return settings.model_copy(update={"jars": folder})


def test_without_an_archive_java_is_told_nothing(jars: Settings) -> None:
    assert classes.options(jars) == ""


def test_the_name_tells_java_pyspark_and_place(
    jars: Settings, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = classes.archive(jars)
    assert first is not None
    assert first != classes.archive(settings)
    home = tmp_path / "another"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").touch()
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert classes.archive(jars) != first
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    assert classes.archive(jars) is None


@pytest.mark.slow
def test_it_is_made_once_and_an_older_one_goes(jars: Settings) -> None:
    classes.FOLDER.mkdir()
    old = classes.FOLDER / "classes-0000.jsa"
    old.touch()
    made = classes.make(jars)
    assert made is not None
    assert made.stat().st_size > 50_000_000
    assert not old.exists()
    assert str(made) in classes.options(jars)
    before = made.stat().st_mtime_ns
    assert classes.make(jars) == made
    assert made.stat().st_mtime_ns == before


@pytest.mark.slow
def test_java_that_records_nothing_costs_a_warning(
    jars: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    java = tmp_path / "broken" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "broken"))
    assert classes.make(jars) is None
    assert "no archive of Spark's classes" in caplog.text


def test_a_folder_that_cannot_be_written_costs_a_warning(
    jars: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(classes, "FOLDER", tmp_path / "file" / "archives")
    assert classes.make(jars) is None
    assert "no archive of Spark's classes" in caplog.text
