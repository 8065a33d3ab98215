"""Several processes under torchrun: the same training, and what happens when one is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.models import model_folder
from mrl4rec.models.scorers import FactorModel
from mrl4rec.training.progress import EpochReport
from tests.listening import listening, reachable_from_outside
from tests.mrl4rec.training import test_training as toy


def workers(of: int) -> dict[int, psutil.Process]:
    """The ranks below a process, by rank."""
    found = {}
    for process in psutil.Process(of).children(recursive=True):
        try:
            if "mrl4rec.training.worker" in process.cmdline() and "RANK" in process.environ():
                found[int(process.environ()["RANK"])] = process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def vectors(commit: Commit) -> FactorModel:
    model = model_folder.load(Path(commit.summary["folder"])).model
    assert isinstance(model, FactorModel)
    return model


def at_epoch(epoch: int, act: Callable[[], None]) -> Callable[[EpochReport], None]:
    """A listener that acts once, when this epoch is reported."""
    done = threading.Event()

    def progress(report: EpochReport) -> None:
        if report.epoch >= epoch and not done.is_set():
            done.set()
            act()

    return progress


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Commit, list[int]]:
    """Two ranks, undisturbed, and the epochs they reported."""
    settings = Settings(warehouse=tmp_path_factory.mktemp("calm"))
    reports: list[int] = []
    commit = toy.train(settings, toy.long(2), lambda report: reports.append(report.epoch))
    return commit, reports


@pytest.mark.fault("F25")
def test_two_ranks_train_what_one_trains(calm: tuple[Commit, list[int]], tmp_path: Path) -> None:
    """In float64, so that rounding cannot be taken for another draw."""
    two, reports = calm
    one = toy.train(Settings(warehouse=tmp_path), toy.long())
    assert reports == list(range(100))
    assert one.key != two.key
    assert model_folder.read_card(Path(two.summary["folder"])).ranks == 2
    assert two.summary["epoch"] == one.summary["epoch"]
    assert two.summary["best"] == one.summary["best"]
    for name in ("user_vectors", "item_vectors"):
        mine, other = getattr(vectors(one), name), getattr(vectors(two), name)
        assert np.abs(mine - other).max() < 1e-6
    assert not workers(os.getpid())


@pytest.mark.slow
def test_ranks_are_reached_from_this_machine_alone(tmp_path: Path) -> None:
    open_to: list[dict[tuple[str, int], str]] = []
    all_of_them: list[dict[tuple[str, int], str]] = []

    def look() -> None:
        all_of_them.append(listening(os.getpid()))
        open_to.append(reachable_from_outside(os.getpid()))

    toy.train(Settings(warehouse=tmp_path), toy.long(2), at_epoch(2, look))
    assert any("worker" in who for who in all_of_them[0].values())
    assert open_to == [{}]


@pytest.mark.slow
@pytest.mark.fault("F22")
def test_a_rank_killed_is_started_anew_and_ends_the_same(
    calm: tuple[Commit, list[int]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rough = Settings(warehouse=tmp_path, checkpoint_seconds=0)
    kill = at_epoch(4, lambda: workers(os.getpid())[1].kill())
    survived = toy.train(rough, toy.long(2), kill)
    assert "rank 1 of 2" in caplog.text
    assert "died" in caplog.text
    assert toy.digest(survived) == toy.digest(calm[0])
    assert not workers(os.getpid())


@pytest.mark.slow
@pytest.mark.fault("F27")
def test_a_rank_that_stalls_is_named_within_the_timeout(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path, collective_seconds=15)
    began = 0.0

    def stop() -> None:
        nonlocal began
        began = time.monotonic()
        workers(os.getpid())[1].send_signal(signal.SIGSTOP)

    with pytest.raises(Mrl4recError, match=r"rank 1 of 2 .* stalled: the others waited 15 s"):
        toy.train(settings, toy.request(epochs=4000, devices=2), at_epoch(2, stop))
    assert time.monotonic() - began < 60
    assert not workers(os.getpid())


@pytest.mark.slow
@pytest.mark.fault("F26")
def test_a_loss_that_is_not_finite_stops_every_rank(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path, checkpoint_seconds=0)
    with pytest.raises(Mrl4recError, match=r"rank \d failed: training diverged: the loss became"):
        toy.train(settings, toy.diverging(64, devices=2))
    assert not list(tmp_path.glob("toy/models/*"))
    assert not workers(os.getpid())


@pytest.mark.slow
@pytest.mark.fault("F6")
def test_no_rank_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    child = toy.start(tmp_path / "killed", seconds=0, devices=2)
    toy.read_until(child, "search 3")
    ranks = list(workers(child.pid).values())
    assert len(ranks) == 2
    child.kill()
    child.communicate()
    _, alive = psutil.wait_procs(ranks, timeout=10)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
@pytest.mark.fault("F23")
def test_sigterm_stops_all_ranks_at_one_step_with_a_checkpoint(tmp_path: Path) -> None:
    # Ranks wait for nobody who reads what they report: this would take minutes to end by itself.
    child = toy.start(tmp_path, seconds=1e9, devices=2, epochs=20_000)
    toy.read_until(child, "search 3")
    child.terminate()
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 75, errors
    assert "a checkpoint was written (search, epoch" in errors
    assert len(list(tmp_path.glob("toy/checkpoints/*/*.safetensors"))) == 1
