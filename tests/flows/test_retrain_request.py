"""What may be asked of a retraining, and what its key hangs on."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from flows.cli.parser import given
from flows.config.base import READ_FIELDS
from flows.config.retrain import NOTHING_YET, RetrainConfig
from flows.retrain import retrain
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.formats.sources import expand
from mrl4rec.serving.promotion.rules import Rules
from tests.flows.parsed import parsed


def asked(**values: Any) -> RetrainConfig:
    return RetrainConfig(
        **{
            "dataset": "d",
            "dumps": ("dumps",),
            **{n: v for n, v in values.items() if v is not None},
        }
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dataset": "../d"}, "--dataset"),
        ({"window": "20"}, "--window"),
        ({"start": "luke-warm"}, "--start"),
        ({"seeds": ()}, "--seeds"),
        ({"seeds": (1, 1)}, "--seeds"),
        ({"methods": ("MRLM",)}, "MRLM"),
        ({"levels": ("4,16",)}, "--methods"),
        ({"overrides": ("MRL-M.dim=16",)}, "--methods"),
        ({"methods": ("Pop",), "overrides": ("MRL-M.dim=16",)}, "MRL-M.dim=16"),
        ({"methods": ("MRL-M",), "levels": ("4,16",)}, "--levels"),
        ({"alpha": 0.0}, "alpha"),
        ({"min_gain": 1.5}, "min_gain"),
        ({"slice_margin": -0.1}, "slice_margin"),
        ({"epochs": 0}, "--epochs"),
        ({"device": "tpu"}, "--device"),
        ({"as_of": "yesterday"}, "--as-of"),
        ({"kcore": -1}, "--kcore"),
        ({"format": "xml"}, "format"),
        ({"columns": "user=a"}, "item"),
    ],
)
def test_wrong_is_refused_before_any_work(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        asked(**values)


def test_recipes_are_named_or_the_champions_own() -> None:
    assert asked().recipes == ()
    found = asked(methods=("EASE", "MRL-M"), levels=("4,64", "8,64"))
    assert [recipe.label for recipe in found.recipes] == [
        "EASE", "MRL-M · 4,64", "MRL-M · 8,64",
    ]  # fmt: skip
    assert [recipe.seeds((3, 4)) for recipe in found.recipes] == [(None,), (3, 4), (3, 4)]


def test_what_the_decision_hangs_on() -> None:
    """Not where the dumps lie, nor whether it is written down; everything else."""
    plain = asked().parameters()
    assert (
        not set(READ_FIELDS[1:]) & plain.keys()
    )  # the key of what was decided before there were any
    same = ({"dumps": ("elsewhere",)}, {"dry_run": True}, {"retry_set_aside": True})
    for values in same:
        assert asked(**values).parameters() == plain
    other: tuple[dict[str, Any], ...] = (
        {"seeds": (0,)}, {"window": "30d"}, {"alpha": 0.01}, {"min_gain": 0.02}, {"start": "cold"},
        {"refit": False}, {"methods": ("MRL-M",)}, {"kcore": 3}, {"epochs": 10},
        {"slice_margin": 0.2}, {"width_margin": 0.2}, {"as_of": "2014-07-23"},
        {"columns": "user=a,item=b"},
    )  # fmt: skip
    keys = [str(asked(**values).parameters()) for values in other]
    assert len({*keys, str(plain)}) == len(other) + 1


def test_places_where_dumps_are_yet_to_land(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "b.csv").write_text("b")
    (tmp_path / "a.csv").write_text("a")
    places = (str(tmp_path / "empty"), str(tmp_path / "*.gz"), str(tmp_path / "[ab].csv"),
              str(tmp_path / "a.csv"))  # fmt: skip
    assert [path.name for path in asked(dumps=places).files(Settings())] == ["a.csv", "b.csv"]
    with pytest.raises(UsageError, match=r"c\.csv"):
        asked(dumps=(str(tmp_path / "c.csv"),)).files(Settings())
    # The words that tell the two apart are those of the library.
    for place, words in zip(places, NOTHING_YET, strict=False):
        with pytest.raises(Mrl4recError) as caught:
            expand([place])
        assert caught.value.what == words


def test_the_command_the_flow_and_the_configuration_have_the_same_defaults() -> None:
    arguments = parsed("retrain", "--dataset", "d", "--dumps", "dumps")
    assert RetrainConfig(**given(arguments, RetrainConfig)) == asked()
    declared = inspect.signature(retrain.fn).parameters
    assert set(declared) == {*RetrainConfig.model_fields, "warehouse"}
    defaults = {name: parameter.default for name, parameter in declared.items()}
    assert asked(**{n: v for n, v in defaults.items() if n != "warehouse"}) == asked()
    assert asked().rules() == Rules()
    changed = parsed("retrain", "--dataset", "d", "--dumps", "x", "--no-refit", "--alpha", "0.01")
    assert given(changed, RetrainConfig) == {
        "dataset": "d", "dumps": ["x"], "refit": False, "alpha": "0.01",
    }  # fmt: skip
