"""Training of methods that read sequences: cut off and resumed, on two ranks, both protocols."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.models import model_folder, resolve
from mrl4rec.models.sequential.model import SequenceModel
from mrl4rec.tables.splits import EVERY_FOLD, FITTED
from mrl4rec.training import TrainRequest, run
from mrl4rec.training.group import Group
from mrl4rec.training.interrupt import Interrupted
from mrl4rec.training.learner import Learner
from mrl4rec.training.progress import EpochReport
from mrl4rec.training.request import plan
from mrl4rec.training.tasks import tasks
from tests.mrl4rec.models.sequential.sequence_samples import N_ITEMS, split
from tests.mrl4rec.training import test_training as toy

HERE = "tests.mrl4rec.training.test_sequential"
SPLIT = Commit("split", "cd" * 32, "splits", 0)
NAMES = ["YouTubeDNN", "ComiRec-SA", "MTMI@mrl"]
SETS = {"dim": 8, "batch": 40, "lr": 0.01, "epoch_size": 4, "length": 8}


def request(name: str = "ComiRec-SA", sets: Mapping[str, Any] = {}, **values: Any) -> TrainRequest:
    overrides = [f"{name}.{key}={value}" for key, value in {**SETS, **sets}.items()]
    given = {"seed": 1, "protocol": "clean", "epochs": 6, "device": "cpu", "levels": None}
    given |= {"levels": (4, 8)} if name.endswith("@mrl") else {}
    return TrainRequest(resolve(name, overrides), **{**given, **values})


def long(devices: int = 1, epochs: int = 40, name: str = "ComiRec-SA") -> TrainRequest:
    """One that lasts long enough to be cut off from outside."""
    return request(name, {"patience": epochs}, protocol="paper", epochs=epochs, devices=devices,
                   dtype="float64")  # fmt: skip


def train(settings: Settings, asked: TrainRequest, progress: Any = None) -> Commit:
    return run("toy", SPLIT, asked, settings, progress or (lambda report: None), data=split)


def model(commit: Commit) -> SequenceModel:
    found = model_folder.load(Path(commit.summary["folder"])).model
    assert isinstance(found, SequenceModel)
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("phase", "epoch"), [("search", 2), ("refit", 0)])
def test_a_run_cut_off_at_any_epoch_ends_with_the_same_weights(
    name: str, phase: str, epoch: int, tmp_path: Path
) -> None:
    undisturbed = train(Settings(warehouse=tmp_path / "calm"), request(name))
    rough = Settings(warehouse=tmp_path / "rough", checkpoint_seconds=0)
    with pytest.raises(toy.Cut):
        train(rough, request(name), toy.cut_at(epoch, phase))
    epochs: list[tuple[str, int]] = []
    resumed = train(rough, request(name), lambda got: epochs.append((got.phase, got.epoch)))
    # That epoch ended without a checkpoint; before the first of the refit comes the last search.
    assert epochs[0] == ((phase, epoch) if phase == "search" else ("search", 5))
    assert toy.digest(resumed) == toy.digest(undisturbed)


@pytest.mark.fault("F22", "F23")
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_stopped_by_a_signal_ends_with_the_same_weights(
    by: signal.Signals, tmp_path: Path
) -> None:
    seconds = 0 if by == signal.SIGKILL else 1e9
    child = toy.start(tmp_path / "rough", seconds, epochs=40, module=HERE)
    toy.read_until(child, "search 7")
    child.send_signal(by)
    child.communicate(timeout=60)
    assert child.returncode == (-by if by == signal.SIGKILL else Interrupted.exit_code)
    epochs: list[int] = []
    rough = Settings(warehouse=tmp_path / "rough")
    resumed = train(rough, long(), lambda report: epochs.append(report.epoch))
    assert 7 <= epochs[0] < 40
    assert toy.digest(resumed) == toy.digest(train(Settings(warehouse=tmp_path / "calm"), long()))


@pytest.mark.parametrize("name", NAMES[1:])
def test_two_ranks_train_what_one_trains(name: str, tmp_path: Path) -> None:
    """In float64, so that rounding cannot be taken for another draw."""
    one, two = (train(Settings(warehouse=tmp_path / str(devices)), long(devices, 6, name))
                for devices in (1, 2))  # fmt: skip
    assert one.key != two.key
    assert model_folder.read_card(Path(two.summary["folder"])).ranks == 2
    assert two.summary["epoch"] == one.summary["epoch"]
    assert two.summary["best"] == one.summary["best"]
    mine, other = model(one).arrays, model(two).arrays
    assert mine.keys() == other.keys()
    for key in mine:
        assert np.abs(mine[key] - other[key]).max() < 1e-6, key


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec", "YouTubeDNN", "ComiRec-DR", "MIND", "MTMI"])
def test_ranks_without_an_example_add_nothing(name: str) -> None:
    """Of a batch of two, three ranks take none, one and one; all have every gradient."""
    made = plan(request(name, dtype="float64"), Settings())
    task = tasks(split(), "clean", made.trained)[0]
    found = []
    for ranks in (1, 3):
        total, gradients = 0.0, {}
        for rank in range(ranks):
            part = Learner(task, made, Group())
            part.group = Group(rank, ranks)
            loss = part.loss(task.users_P[:2], task.items_P[:2], 3)
            loss.backward()
            total += loss.item()
            for key, weight in part.parts.named():
                gradients[key] = gradients.get(key, 0) + weight.grad
        found.append((total, gradients))
    (whole, wanted), (parts, got) = found
    assert parts == pytest.approx(whole, rel=1e-12)
    for key in wanted:
        assert torch.allclose(got[key], wanted[key], rtol=1e-9, atol=1e-13), key


def test_negatives_of_the_batch_are_of_one_process(settings: Settings) -> None:
    with pytest.raises(UsageError, match="in_batch"):
        train(settings, request(sets={"negatives": "in_batch"}, devices=2))


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_a_protocol_trains_on_its_folds_and_looks_at_its_own(
    protocol: str, settings: Settings
) -> None:
    reports: list[EpochReport] = []
    asked = request(protocol=protocol)
    commit = train(settings, asked, reports.append)
    phases = ["search", "refit"] if protocol == "clean" else ["search"]
    assert list(dict.fromkeys(report.phase for report in reports)) == phases
    fold = "valid" if protocol == "clean" else "test"
    looked = [row for row in model_card(commit).history if f"{fold}_recall@10" in row]
    assert len(looked) == 6
    made = tasks(split(), protocol, asked.method)  # type: ignore[arg-type]
    sequences = split().sequences
    assert sequences is not None
    trained = [("train",), FITTED] if protocol == "clean" else [FITTED]
    for task, folds in zip(made, trained, strict=True):
        assert task.histories is not None
        assert np.array_equal(task.histories.items, sequences.only(*folds).items)
    before = made[0].before
    assert before is not None
    assert np.array_equal(before.items, sequences.before(fold).items)
    assert model_card(commit).folds == ("train", "valid")


def model_card(commit: Commit) -> Any:
    return model_folder.read_card(Path(commit.summary["folder"]))


def test_a_refit_on_everything_trains_on_all_events(settings: Settings) -> None:
    asked = request(refit_epochs=3)
    reports: list[EpochReport] = []
    commit = train(settings, asked, reports.append)
    assert [(r.phase, r.epoch) for r in reports] == [("refit", n) for n in range(3)]
    task = tasks(split(), "clean", asked.method, everything=True)[0]  # type: ignore[arg-type]
    sequences = split().sequences
    assert sequences is not None
    assert task.histories is not None
    assert np.array_equal(task.histories.items, sequences.events.items)
    assert task.n_pairs == len(sequences.events.items) - (sequences.events.lengths > 0).sum()
    assert np.array_equal(model(commit).histories.items, sequences.events.items)
    assert model_card(commit).folds == ("train", "valid", "test")
    assert model(commit).n_items == N_ITEMS
    assert set(EVERY_FOLD) > set(FITTED)
