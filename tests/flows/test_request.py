"""A request is refused as a whole, before any work, with the nearest names."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.config.run import DEFAULT_DATASET, LATER, RunConfig, named_after
from mrl4rec.core.errors import UsageError
from mrl4rec.core.storage import folder_name
from tests.flows.parsed import run_config


def test_levels_given_twice_are_two_level_sets() -> None:
    words = ("run", "--methods", "MRL-M", "--levels", "8,64", "--levels", "16,64")
    assert [cell.levels for cell in run_config(*words).cells] == [(8, 64), (16, 64)]


def test_methods_without_levels_run_once_and_deterministic_ones_without_seed() -> None:
    request = RunConfig(
        dataset="d", methods=("pop", "BPR", "MRL-M"), levels=("4,64", "8,64"), seeds=(0, 1)
    )
    cells = [(cell.method.name, cell.levels, cell.seed) for cell in request.cells]
    assert cells == [
        ("Pop", None, None),
        ("BPR", None, 0),
        ("BPR", None, 1),
        ("MRL-M", (4, 64), 0),
        ("MRL-M", (4, 64), 1),
        ("MRL-M", (8, 64), 0),
        ("MRL-M", (8, 64), 1),
    ]


def test_a_method_named_twice_is_trained_once() -> None:
    assert len(RunConfig(dataset="d", methods=("BPR", "bpr")).cells) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ("MRL-N",)}, "MRL-M"),
        ({"split": "randm"}, "random"),
        ({"protocol": "cleen"}, "clean"),
        ({"levels": ("8,4,64",)}, "8,4,64"),
        ({"dataset": "../escape"}, "../escape"),
        ({"overrides": ("EASE.lam=3",), "methods": ("BPR",)}, "EASE.lam=3"),
        ({"as_of": "yesterday"}, "--as-of"),
        ({"epochs": 0}, "--epochs"),
        ({"kcore": -1}, "--kcore"),
        ({"split_files": "/nowhere/at/all"}, "/nowhere/at/all"),
        ({"split": "predefined", "source": ("dump.json",)}, "--split-files"),
        ({"seeds": ()}, "seed"),
        ({"split": "since"}, "--since TIME"),
        ({"since": "2014-05-01"}, "--split since"),
        ({"split": "random", "since": "2014-05-01"}, "--split since"),
        ({"split": "since", "since": "in May"}, "in May"),
        ({"split": "since", "since": "0001-01-01T00:00+05:00"}, "0001-01-01"),
        ({"columns": "user=a,itme=b"}, "item"),
        ({"time_unit": "sec"}, "--time-unit"),
        ({"rating_range": "5:1"}, "--rating-range"),
        ({"format": "movielens", "columns": "user=a,item=b"}, "movielens"),
        ({"format": "movielens-csv", "columns": "user=a,item=b"}, "--columns"),
        ({"time_unit": "ms", "time_format": "%Y"}, "--time-format"),
    ],
)
def test_bad_requests_say_what_to_do(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        RunConfig(**{"dataset": "d", **options})  # type: ignore[arg-type]


def test_what_a_run_is_known_by_has_the_later_options_only_where_they_are_given() -> None:
    assert not {"widths", "rotate", *LATER} & RunConfig(dataset="d").parameters().keys()
    asked = RunConfig(dataset="d", widths=(4, 8), rotate=True, time_unit="ms").parameters()
    assert (asked["widths"], asked["rotate"], asked["time_unit"]) == ([4, 8], True, "ms")
    with pytest.raises(UsageError) as error:
        RunConfig(dataset="d", widths=(8, 4))
    assert error.value.where == "--widths"


def test_one_method_at_several_dimensions_is_several_cells() -> None:
    request = RunConfig(
        dataset="d", methods=("BPR-D", "BPR-D#16", "bpr-d#16"), overrides=("BPR-D#16.l2=0",)
    )
    assert [(cell.method.name, cell.method.as_dict()["dim"]) for cell in request.cells] == [
        ("BPR-D", 64),
        ("BPR-D#16", 16),
    ]


def test_a_folder_of_authors_files_defines_its_own_split(tmp_path: Path) -> None:
    assert RunConfig(dataset="d", source=(str(tmp_path),), split="predefined").split == "predefined"


def test_as_of_without_zone_is_utc() -> None:
    assert RunConfig(dataset="d", as_of="2014-07-23").as_of_time() == datetime(
        2014, 7, 23, tzinfo=UTC
    )


def test_since_is_among_the_parameters_only_where_it_was_given() -> None:
    """They are the key of a benchmark in MLflow: what was run before stays known."""
    assert "since" not in RunConfig(dataset="d").parameters()
    request = RunConfig(dataset="d", split="since", since="2014-05-01T02:00+02:00")
    assert request.parameters()["since"] == "2014-05-01T02:00+02:00"
    assert request.since_time() == datetime(2014, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("methods", "values", "why"),
    [
        (("BPR", "XSimGCL"), {"engine": "fused"}, "--engine"),
        (("BPR",), {"engine": "fused", "devices": 2}, "--engine"),
        (("BPR",), {"engine": "fast"}, "--engine"),
        (("MRL-M",), {"engine": "autograd", "overrides": ("MRL-M.lag=8",)}, "MRL-M.lag"),
    ],
)
def test_what_no_engine_can_do_is_refused_before_data_are_read(
    methods: tuple[str, ...], values: dict[str, Any], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        RunConfig(dataset="planted", methods=methods, **values)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ([], None),
        (["/dumps/reviews_Phones_5.json.gz"], "reviews_Phones_5"),
        (["/splits/tool"], "tool"),
        (["/splits/tool/train.txt.gz", "/splits/tool/test.txt.gz"], "tool"),
        (["/dumps/2014/*.json.gz"], "2014"),
        (["/dumps/my reviews (new).csv"], "my-reviews-new-"),
        (["/dumps/.hidden.csv"], "data"),
        (["/dumps/評価.csv"], "data"),
    ],
)
def test_data_without_a_name_are_named_after_their_source(
    source: list[str], name: str | None
) -> None:
    found = named_after(source)
    assert found == name
    assert found is None or folder_name(found, "it") == found


def test_a_folder_gives_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v1.2").mkdir()
    assert named_after([str(tmp_path / "v1.2")]) == "v1.2"
    monkeypatch.chdir(tmp_path / "v1.2")
    assert named_after(["."]) == "v1.2"
    assert named_after(["a.csv", "b.csv"]) == "v1.2"


def test_a_run_takes_the_name_given_then_the_sources_then_the_catalogues() -> None:
    def asked(*words: str) -> str:
        return run_config(*["run", *words]).dataset

    assert asked() == DEFAULT_DATASET
    assert asked("--source", "/dumps/reviews.json.gz") == "reviews"
    assert asked("--source", "/dumps/reviews.json.gz", "--dataset", "mine") == "mine"
