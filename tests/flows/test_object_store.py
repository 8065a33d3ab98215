"""The whole pipeline with its warehouse in an object store: the same as in a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.cli import failures
from flows.server import pages
from mrl4rec import reporting
from mrl4rec.core import files
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.models import model_folder
from mrl4rec.transforms.engine import check_reach
from tests.faults import scene


def test_a_run_leaves_the_same_and_is_found_done(
    lake: Settings, settings: Settings, tmp_path: Path
) -> None:
    dump = scene.dump(tmp_path / "reviews.json")
    for each in (settings, lake):
        scene.run(each, dump)
    wanted = scene.digests(settings)
    assert {"splits", "results"} <= wanted.keys()
    assert scene.digests(lake) == wanted

    made: list[Commit] = []

    def step(name: str, function: Any, *args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        made.extend([result] if isinstance(result, Commit) else [])
        return result

    scene.run(lake, dump, step)
    assert [(commit.stage, commit.found) for commit in made] == [(s, True) for s in scene.STAGES]
    assert scene.digests(lake) == wanted
    assert lake.storage.datasets() == settings.storage.datasets() == [scene.DATASET]

    page = reporting.build(lake, None, None)
    body = page.read_text(encoding="utf-8")
    assert "MRL-M" in body
    assert pages.find(lake, "/report.html") == page
    docs = pages.find(lake, f"/{scene.DATASET}/gx/data_docs/index.html")
    assert docs is not None
    assert "splits" in docs.read_text(encoding="utf-8")
    assert pages.find(lake, f"/{scene.DATASET}/gx/data_docs/../../models/x.html") is None


def test_a_model_without_its_card_is_made_again(lake: Settings, tmp_path: Path) -> None:
    """The card comes last: a folder whose writing was cut short is none."""
    dump = scene.dump(tmp_path / "reviews.json")
    scene.run(lake, dump)
    wanted = scene.digests(lake)
    (folder,) = lake.storage.model_dirs()
    files.remove(folder / "model.json")
    assert not model_folder.is_complete(folder)
    scene.run(lake, dump)
    assert scene.digests(lake) == wanted


def test_commands_take_the_address(lake: Settings, tmp_path: Path) -> None:
    source = ["--dataset", "d", "--source", str(scene.dump(tmp_path / "reviews.json"))]
    done = _command("ingest", *source, "--warehouse", str(lake.warehouse))
    assert done.returncode == 0, done.stderr[-3000:]
    assert lake.storage.has_table("d", "sources")
    elsewhere = str(lake.warehouse).replace("lake", "no-such-bucket")
    refused = _command("compare", "--warehouse", elsewhere)
    assert refused.returncode == 2
    assert elsewhere in refused.stderr


def _command(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.fault("C13")
def test_spark_is_refused_where_it_would_write_elsewhere(
    lake: Settings, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of this machine is the warehouse of executors on others"""
    spark = {"data_engine": "spark", "spark_master": "spark://host:7077"}
    with pytest.raises(UsageError, match="MRL4REC_WAREHOUSE_SHARED"):
        check_reach(settings.model_copy(update=spark))
    check_reach(settings.model_copy(update={**spark, "warehouse_shared": True}))
    check_reach(settings.model_copy(update={**spark, "spark_master": "local[2]"}))
    check_reach(lake.model_copy(update=spark))


@pytest.mark.parametrize("words", ["Kernel error -> Generic S3 error: refused", "AWS Error 503"])
def test_a_store_that_fails_is_told_in_three_lines(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setenv("MRL4REC_WAREHOUSE", "s3://lake/w")
    said = failures.explained(OSError(words))
    assert (said.where, said.what.startswith("the object store failed")) == ("s3://lake/w", True)
    monkeypatch.setenv("MRL4REC_WAREHOUSE", "w")
    assert "object store" not in failures.explained(KeyError(words), debug=True).what
