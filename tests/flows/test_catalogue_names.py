"""A data set under a name of the catalogue: downloaded, or what was ingested under the name."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import preflight
from flows.config.run import RunConfig
from flows.pipeline import Pipeline
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.data.catalog import CATALOG, Counts, Entry, Generated
from mrl4rec.data.synthetic.spec import Planted

SPEC = Planted(users=80, items=70, reviews=900)


@pytest.fixture
def of_catalogue(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with downloads of their own, and an entry ``t`` that is generated."""
    entry = Entry("t", "a test", (Generated(SPEC),), "none", kcore=2, split="random")
    monkeypatch.setitem(CATALOG, "t", entry)
    return settings.model_copy(update={"downloads": tmp_path / "downloads"})


def prepared(settings: Settings, **asked: object) -> Pipeline:
    request = RunConfig.model_validate({"dataset": "t", **asked})
    preflight.check(request, settings)
    pipeline = Pipeline(request, settings)
    pipeline.prepare("kcore")
    return pipeline


def keys(pipeline: Pipeline) -> list[str]:
    done = pipeline.prepared
    return [commit.key for commit in (done.ingest, done.core) if commit]


def k_of(pipeline: Pipeline) -> int:
    assert pipeline.prepared.core is not None
    return int(pipeline.prepared.core.summary["k"])


def test_what_was_ingested_under_the_name_is_gone_on_with(
    of_catalogue: Settings, tmp_path: Path
) -> None:
    lists = tmp_path / "lists.jsonl"
    lists.write_text("[1, 2, 1]\n[2]\n")
    first = prepared(of_catalogue, source=(str(lists),))
    again = prepared(of_catalogue)
    assert keys(again) == keys(first)
    assert "already" in str(again.used)
    assert not of_catalogue.downloads.exists()
    assert k_of(again) == 0  # of sessions, whatever the catalogue says
    assert k_of(prepared(of_catalogue, kcore=1)) == 1
    with pytest.raises(UsageError, match="--time-unit"):
        prepared(of_catalogue, time_unit="s")


def test_a_download_is_held_against_its_counts_each_time(
    of_catalogue: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared(of_catalogue)
    again = prepared(of_catalogue)
    assert keys(again) == keys(first)
    assert k_of(again) == 2
    wrong = Entry("t", "a test", (Generated(SPEC),), "none", 2, "random", Counts(1, 1, 1))
    monkeypatch.setitem(CATALOG, "t", wrong)
    with pytest.raises(Mrl4recError, match="should hold"):
        prepared(of_catalogue)
