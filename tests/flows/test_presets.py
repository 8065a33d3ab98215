"""Presets are data: what is asked for wins, names are those of methods, unknown ones are near."""

from __future__ import annotations

import pytest

from flows.config import presets
from flows.config.presets import PRESETS
from flows.config.run import RunConfig
from mrl4rec.core.errors import UsageError
from mrl4rec.models import resolve
from tests.flows.parsed import run_config


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_methods_that_can_be_run(name: str) -> None:
    preset = PRESETS[name]
    for method in preset.methods:
        assert resolve(method).name == method
    known = set(RunConfig.model_fields)
    said = {name: value for name, value in preset.values().items() if name in known}
    values = {**said, "methods": preset.methods}
    request = RunConfig(dataset="d", **values)
    assert {cell.method.name for cell in request.cells} == set(preset.methods)
    assert len(set(preset.methods)) == len(preset.methods)


def test_the_issues_presets_are_there() -> None:
    assert {"paper-table-2", "paper-table-3", "paper-table-4", "paper-figure-3",
            "strong-baselines", "all"} <= set(PRESETS)  # fmt: skip
    every = set(PRESETS["all"].methods)
    for name, preset in PRESETS.items():  # ``#16``: the same method at another dimension
        of_pairs = name != "multi-interest"
        assert not of_pairs or {name.partition("#")[0] for name in preset.methods} <= every


def asked(*words: str) -> RunConfig:
    return run_config(*["run", *words])


def test_what_is_said_wins_over_the_preset() -> None:
    request = asked("--preset", "paper-table-4")
    assert (request.methods, request.protocol) == (("MRL-M",), "paper")
    assert request.seeds == (2022, 2023, 2024)
    assert len(request.levels) == 4
    # the same value as the default is an answer too
    said = asked("--preset", "Paper-Table-4", "--protocol", "clean", "--seeds", "0")
    assert (said.protocol, said.seeds, said.methods) == ("clean", (0,), ("MRL-M",))
    other = asked("--preset", "paper-table-4", "--methods", "BPR", "--levels", "8,64")
    assert (other.methods, other.levels) == (("BPR",), ("8,64",))


def test_without_a_preset_nothing_changes() -> None:
    assert asked() == RunConfig(dataset="ml-100k")


def test_unknown_presets_have_near_names() -> None:
    with pytest.raises(UsageError, match="paper-table-2"):
        presets.values("paper-tabel-2", {})
    with pytest.raises(UsageError, match="strong-baselines"):
        asked("--preset", "strong")


def test_values_of_none_say_nothing() -> None:
    values = presets.values("paper-table-4", {"seeds": None, "protocol": "clean"})
    assert (values["seeds"], values["protocol"]) == ((2022, 2023, 2024), "clean")
    assert presets.values(None, {"seeds": None}) == {}


def test_some_methods_of_a_preset_have_more_seeds_and_some_may_be_left_out() -> None:
    request = asked("--preset", "multi-interest", "--methods", "MTMI,Pop")
    assert (request.optional, request.more_seeds) == ((), ())  # of the preset's own methods
    values = presets.values("multi-interest", {})
    assert "RecentPop" in values["optional"]
    assert "MTMI=1,2" in values["more_seeds"]
    assert "more_seeds" not in presets.values("multi-interest", {"seeds": (7,)})


def test_more_seeds_are_of_one_method() -> None:
    request = RunConfig(dataset="d", methods=("MTMI", "YouTubeDNN", "Pop"), more_seeds="MTMI=1,2")
    seeds = [(cell.method.name, cell.seed) for cell in request.cells]
    assert seeds == [("MTMI", 0), ("MTMI", 1), ("MTMI", 2), ("YouTubeDNN", 0), ("Pop", None)]
    for more in ("MIND=1", "MTMI=one", "MTMI"):
        with pytest.raises(UsageError, match="--more-seeds"):
            RunConfig(dataset="d", methods=("MTMI",), more_seeds=more)
    with pytest.raises(UsageError, match="--optional"):
        RunConfig(dataset="d", methods=("MTMI",), optional=("EASE",))
