"""Tuning: on valid alone, the defaults first, gone on with where it stood, told in the table."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import Interactions, from_pairs
from mrl4rec.evaluation import valid
from mrl4rec.models import METHODS, resolve
from mrl4rec.models.values import Span
from mrl4rec.tracking import trial_run, tuning_run
from mrl4rec.training import TrainRequest, tuning
from mrl4rec.training.tuning import study
from mrl4rec.training.tuning.space import space

SPLIT = Commit("split", "ab" * 32, "splits", 0)


@cache
def toy(without_test: bool = False) -> Interactions:
    """Three groups of users, each with its own third of the items."""
    rng = np.random.default_rng(3)
    users, items = np.meshgrid(np.arange(60), np.arange(30), indexing="ij")
    taken = rng.random(users.shape) < np.where(users % 3 == items % 3, 0.7, 0.05)
    pairs = np.stack([users[taken], items[taken]], axis=1)
    fold = rng.choice(3, len(pairs), p=[0.6, 0.2, 0.2])
    folds = [pairs[fold == f].tolist() for f in range(3)]
    return from_pairs(folds[0], folds[1], [] if without_test else folds[2], 60, 30)


def asked(trials: int, method: str = "EASE", *sets: str, **values: Any) -> tuning.Asked:
    levels = (2, 8) if method == "MRL-M" else None
    request = TrainRequest(resolve(method, sets), levels, 0, device="cpu", **values)
    return tuning.Asked("d", SPLIT, request, trials)


def test_the_defaults_are_the_first_trial_and_the_best_is_the_best(settings: Settings) -> None:
    tried: list[tuning.Trial] = []
    found = tuning.tune(asked(4), settings, toy, lambda trial, _: tried.append(trial))
    assert [trial.number for trial in tried] == list(range(4))
    assert tried[0].method == METHODS["EASE"]
    values = {t.number: valid.of_closed_form(t.method, toy()) for t in tried}
    assert {t.number: t.value for t in tried} == pytest.approx(values)
    assert found.default == pytest.approx(values[0])
    assert found.best is not None
    assert found.best.value == pytest.approx(max(values.values()))
    # what is printed gives the same method again
    assert resolve("EASE", found.flags).as_dict() == dict(found.best.settings)
    assert (found.tried, found.pruned, found.failed) == (4, 0, 0)
    assert tuning.tunings(settings, "d") == [found]


def test_gone_on_with_is_the_same_as_undisturbed(settings: Settings, tmp_path: Path) -> None:
    def settings_of(place: Settings) -> list[Any]:
        from mrl4rec.training.tuning.store import _rows

        return [(row["settings"], row["value"]) for row in _rows(place, "d")]

    tuning.tune(asked(1), settings, toy)
    tuning.tune(asked(3), settings, toy)
    other = Settings(warehouse=tmp_path / "other")
    tuning.tune(asked(3), other, toy)
    assert settings_of(settings) == settings_of(other)

    def never() -> Interactions:
        raise AssertionError("three were tried already")

    assert tuning.tune(asked(3), settings, never).tried == 3


def test_test_pairs_are_not_looked_at(settings: Settings, tmp_path: Path) -> None:
    one = tuning.tune(asked(2), settings, toy)
    other = tuning.tune(asked(2), Settings(warehouse=tmp_path / "o"), lambda: toy(True))
    assert one.best is not None
    assert other.best is not None
    assert (one.best, one.default) == (other.best, other.default)


def test_a_trained_method_is_searched_without_a_refit(settings: Settings) -> None:
    sets = ("MRL-M.dim=8", "MRL-M.batch=64", "MRL-M.l2=0.001")
    wanted = asked(3, "MRL-M", *sets, epochs=6)
    assert set(space(wanted.request.method)) == {"lr", "candidates"}  # what --set fixes is fixed
    tried: list[tuning.Trial] = []
    found = tuning.tune(wanted, settings, toy, lambda trial, _: tried.append(trial))
    assert {row["phase"] for trial in tried for row in trial.history} == {"search"}
    assert all("test_recall@10" not in row for trial in tried for row in trial.history)
    assert found.levels == "2,8"
    assert found.searched == ("lr", "candidates")
    assert not list((settings.storage.dataset_dir("d") / "tuning" / "checkpoints").glob("*/*/*"))
    assert not settings.storage.models_dir("d").exists()

    parent, child = tuning_run(found, 0.0, 1.0), trial_run(found, tried[1], 1.0)
    assert child.parent_key == parent.key == found.study
    assert parent.tags["best"].startswith("--set MRL-M.lr=")
    assert ("valid_recall_10_best", tried[1].value, 0) in child.metrics
    assert child.params["lr"] != parent.params.get("lr")


@pytest.mark.slow
def test_the_hopeless_are_cut_off(settings: Settings) -> None:
    """Far too small a step learns nothing, and the median of the others knows by the third look."""
    sets = ("BPR.dim=8", "BPR.batch=64", "BPR.evaluate_every=1", "BPR.l2=0.001")
    wanted = asked(8, "BPR", *sets, epochs=8)
    found = tuning.tune(wanted, settings, toy)
    assert found.tried == 8
    assert found.best is not None
    assert found.default is not None
    assert found.best.value >= found.default
    assert found.pruned > 0


def test_other_data_or_ranges_are_another_study() -> None:
    names = {
        asked(3).study,
        replace(asked(3), split=replace(SPLIT, key="cd" * 32)).study,
        asked(3, "RecentPop").study,
        asked(3, "BPR").study,
        asked(3, "BPR", "BPR.l2=0.5").study,
        asked(3, "BPR", epochs=7).study,
    }
    assert len(names) == 6
    assert asked(3).study == asked(9).study


def test_what_cannot_be_tuned_is_refused(settings: Settings) -> None:
    with pytest.raises(UsageError, match="Pop has nothing to tune"):
        space(resolve("Pop"))
    with pytest.raises(UsageError, match="nothing to tune"):
        space(resolve("EASE", ["EASE.lam=3"]))
    with pytest.raises(UsageError, match="--trials"):
        asked(0)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "Pop"])
def test_every_method_has_a_space_that_holds_its_defaults(name: str) -> None:
    method = resolve(name)
    for parameter, span in space(method).items():
        assert span.low <= method.as_dict()[parameter] <= span.high, (name, parameter)
        method.changed(**{parameter: span.tidy(span.low)})
        method.changed(**{parameter: span.tidy(span.high)})


@pytest.mark.parametrize("name", ["BSL", "MTMI", "ComiRec-SA@mrl", "eSASRec", "SASRec-sampled"])
def test_negatives_that_a_step_shares_stay_many(name: str) -> None:
    assert space(resolve(name))["candidates"].low >= 256


def test_values_are_tidy() -> None:
    assert Span(0.001, 10.0).tidy(0.123456) == 0.1235
    assert Span(2, 64, log=True).tidy(7.6) == 8
    assert Span(0.00012345, 1.0).tidy(0.00012345) == 0.00012345  # never outside


CHILD = """
import sys, time
from pathlib import Path
sys.path[:0] = [{here!r}]
from tests.mrl4rec.training import test_tuning as t
from mrl4rec.training import tuning
from mrl4rec.core.settings import Settings
place = Settings(warehouse=Path(sys.argv[1]), checkpoint_seconds=0)
def told(trial, _):
    print("trial", trial.number, flush=True)
tuning.tune(t.asked(4, "BPR", "BPR.batch=8", "BPR.evaluate_every=1", epochs=40), place, t.toy, told)
print("end", flush=True)
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_a_trial_and_run_again(tmp_path: Path) -> None:
    """The trial that was under way is tried again with the same setting; none is lost or twice."""
    code = CHILD.format(here=str(Path(__file__).parents[3]))
    place = tmp_path / "w"
    command = [sys.executable, "-c", code, str(place)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None
    assert process.stdout.readline() == "trial 0\n"
    folder = place / "d" / "tuning" / "checkpoints"
    deadline = time.monotonic() + 60
    while not any(folder.glob("*/*/*.safetensors")) and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout.endswith("end\n")
    settings = Settings(warehouse=place)
    (found,) = tuning.tunings(settings, "d")
    assert found.tried == 4
    undisturbed = Settings(warehouse=tmp_path / "other", checkpoint_seconds=0)
    wanted = asked(4, "BPR", "BPR.batch=8", "BPR.evaluate_every=1", epochs=40)
    other = tuning.tune(wanted, undisturbed, toy)
    assert found.best is not None
    assert other.best is not None
    assert found.best.settings == other.best.settings
    assert found.best.value == other.best.value
    assert found.metric == study.METRIC
