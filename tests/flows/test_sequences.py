"""Sessions without times, from the file to a split of sequences, and what can be trained on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.benchmarking.records import Benchmark
from flows.config.run import RunConfig
from flows.pipeline import Pipeline
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.tracking import Tracker


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    """60 sessions of eight to twelve of twenty items."""
    path = tmp_path / "sessions.jsonl"
    rows = [[(7 * user + 3 * place) % 20 + 1 for place in range(8 + user % 5)]
            for user in range(60)]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def pipeline(settings: Settings, sessions: Path, **options: Any) -> Pipeline:
    request = RunConfig(dataset="retailrocket", source=(str(sessions),), max_length=10, **options)
    return Pipeline(request, settings)


def test_a_split_asks_for_no_methods(settings: Settings, sessions: Path) -> None:
    """The default methods learn a vector of each user, which matters when they are trained."""
    made = pipeline(settings, sessions, split="by_user")
    split = made.prepare("split").split
    assert split is not None
    assert (split.summary["of"], split.summary["strategy"]) == ("sequences", "by_user")
    with pytest.raises(UsageError, match="by_user"):
        made.prepare()


def test_what_the_data_cannot_serve_is_refused_or_left_out(
    settings: Settings, sessions: Path
) -> None:
    methods = ("Pop", "RecentPop", "LastItem")
    with pytest.raises(UsageError, match="RecentPop"):
        pipeline(settings, sessions, methods=methods).prepare()
    made = pipeline(settings, sessions, methods=methods, optional=("RecentPop",))
    made.prepare()
    assert [cell.method.name for cell in made.cells] == ["Pop", "LastItem"]
    (why,) = made.left_out
    assert "RecentPop" in why
    # The catalogue's split of sequences is named beside the options that made them.
    bench = Benchmark(made, Tracker(settings), settings)
    assert bench._of_sequences() == {
        "split": "by_user", "sequences": True, "drop_repeats": False, "max_length": 10,
        "ties": "hash",
    }  # fmt: skip
