"""The train stage: keys, protocols, early stopping, checkpoints, and runs that are cut off."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import Interactions, from_pairs
from mrl4rec.models import model_folder, resolve
from mrl4rec.models.scorers import FactorModel
from mrl4rec.training import TrainRequest, key, run
from mrl4rec.training.checkpoint import State, Store
from mrl4rec.training.group import Group
from mrl4rec.training.interrupt import Interrupted, StopFlag
from mrl4rec.training.loop import Loop
from mrl4rec.training.progress import EpochReport
from mrl4rec.training.request import plan
from mrl4rec.training.tasks import tasks

SPLIT = Commit("split", "ab" * 32, "splits", 3, {"users": 1, "items": 2})


def small() -> Interactions:
    """50 users × 40 items in two groups, three folds; the same every time."""
    rng = np.random.default_rng(7)
    same = (np.arange(50)[:, None] % 2) == (np.arange(40)[None] % 2)
    users, items = (rng.random((50, 40)) < np.where(same, 0.45, 0.03)).nonzero()
    fold = rng.choice(3, len(users), p=[0.7, 0.15, 0.15])
    folds = [list(zip(users[fold == f], items[fold == f], strict=True)) for f in range(3)]
    return from_pairs(*folds, 50, 40)


def request(name: str = "MRL-M", patience: int = 10, **values: Any) -> TrainRequest:
    sets = {"dim": 8, "batch": 64, "lr": 0.02, "candidates": 4, "patience": patience}
    overrides = [f"{name}.{parameter}={value}" for parameter, value in sets.items()]
    given = {"levels": (2, 4, 8), "seed": 1, "protocol": "paper", "epochs": 12, "device": "cpu"}
    return TrainRequest(resolve(name, overrides), **{**given, **values})


def long(devices: int = 1, epochs: int = 100) -> TrainRequest:
    """One that lasts long enough to be cut off from outside."""
    return request(patience=epochs, epochs=epochs, devices=devices, dtype="float64")


def train(settings: Settings, asked: TrainRequest, progress: Any = None) -> Commit:
    return run("toy", SPLIT, asked, settings, progress or (lambda report: None), data=small)


def digest(commit: Commit) -> str:
    return model_folder.digest(Path(commit.summary["folder"]))


def test_a_trained_model_is_found_again(settings: Settings) -> None:
    first = train(settings, request())
    assert not first.found
    assert first.key == key("toy", SPLIT, request(), settings)
    assert Path(first.summary["folder"]).name == first.key
    again = run("toy", SPLIT, request(), settings, data=lambda: pytest.fail("data was read"))
    assert again.found
    assert {**again.summary, "seconds": 0} == {**first.summary, "seconds": 0}
    assert not list(settings.storage.dataset_dir("toy").glob("checkpoints/*"))


def test_the_card_says_how_the_model_was_made(settings: Settings) -> None:
    commit = train(settings, request())
    card = model_folder.load(Path(commit.summary["folder"])).card
    assert card.method == request().method.as_dict()
    assert (card.levels, card.seed, card.protocol) == ((2, 4, 8), 1, "paper")
    assert (card.engine, card.device, card.ranks) == ("fused", "cpu", 1)
    assert card.versions == {"split_key": SPLIT.key, "splits": 3, "users": 1, "items": 2}
    assert [row["epoch"] for row in card.history] == list(range(12))
    looked = {row["epoch"]: row["test_recall@10"] for row in card.history if len(row) > 3}
    assert sorted(looked) == [0, 5, 10, 11]  # the last epoch allowed is looked at too
    assert card.epoch == max(epoch for epoch in looked if looked[epoch] == max(looked.values()))
    assert commit.summary["best"] == max(looked.values())


def test_keys_tell_apart_what_makes_other_vectors_and_nothing_else(settings: Settings) -> None:
    def one(asked: TrainRequest, where: Settings = settings, split: Commit = SPLIT) -> str:
        return key("toy", split, asked, where)

    base = one(request())
    others = [
        one(request(seed=2)),
        one(request(levels=(4, 8))),
        one(request(protocol="clean")),
        one(request(epochs=13)),
        one(request(devices=2)),
        one(request(dtype="float64")),
        one(request("MRL-D")),
        one(request("MRL-M@lightgcn-1")),
        one(request(), split=dataclasses.replace(SPLIT, key="cd" * 32)),
    ]
    assert len({base, *others}) == 1 + len(others)
    elsewhere = Settings(warehouse=Path("/elsewhere"), checkpoint_seconds=7)
    assert one(request(), elsewhere) == base == one(request(levels=[2, 4, 8]))
    assert one(request("BPR-D", levels=None)) == one(request("BPR-D", levels=(8,)))
    assert base[:16] == "153ce7e596776a58"  # what was trained before there were more options
    plain = TrainRequest(resolve("EASE"), None, None)
    assert one(plain)[:16] == "196dd5e035fb4220"
    assert one(plain) == one(TrainRequest(resolve("EASE"), (4, 64), 9, epochs=3, devices=4))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"protocol": "dirty"}, "unknown protocol"),
        ({"seed": None}, "needs a seed"),
        ({"seed": 1 << 64}, "64 bits"),
        ({"epochs": 0}, "0 epochs"),
        ({"devices": 0}, "0 devices"),
        ({"devices": 10_000}, "10000 devices"),
        ({"device": "tpu"}, "unknown device"),
        ({"levels": (2, 4)}, "ends at 4"),
        ({"engine": "warp"}, "unknown engine"),
        ({"dtype": "float16"}, "float16"),
    ],
)
def test_requests_that_cannot_be_served(
    values: dict[str, Any], why: str, settings: Settings
) -> None:
    with pytest.raises(UsageError, match=why):
        train(settings, request(**values))


@pytest.mark.parametrize("protocol", ["paper", "clean"])
def test_an_empty_fold_to_look_at_is_an_error(protocol: str, settings: Settings) -> None:
    pairs = [(0, 0), (0, 1), (1, 2)]
    data = from_pairs(pairs, [], [], 2, 4)
    with pytest.raises(Mrl4recError, match="fold is empty"):
        run("toy", SPLIT, request(protocol=protocol), settings, data=lambda: data)


def test_protocols_train_on_and_look_at_their_own_folds() -> None:
    data = small()
    (paper,) = tasks(data, "paper")
    search, refit = tasks(data, "clean")
    count = {fold: len(data.pairs(fold)[0]) for fold in ("train", "valid", "test")}
    assert paper.n_pairs == refit.n_pairs == count["train"] + count["valid"]
    assert search.n_pairs == count["train"] == len(search.seen.indices)
    assert paper.truth is not None
    assert search.truth is not None
    assert len(paper.truth.indices) == count["test"]
    assert len(search.truth.indices) == count["valid"]
    assert refit.truth is None


def test_pairs_of_a_user_who_has_seen_everything_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = from_pairs([(0, i) for i in range(4)] + [(1, 0), (1, 2)], [], [(1, 1)], 2, 4)
    with caplog.at_level(logging.WARNING, logger="mrl4rec"):
        (task,) = tasks(data, "paper")
    assert task.users_P.tolist() == [1, 1]
    assert "1 users have seen every item: their 4 pairs" in caplog.text


def test_a_last_partial_batch_is_dropped_unless_it_is_the_only_one() -> None:
    (task,) = tasks(small(), "paper")
    n = task.n_pairs
    assert task.steps(64) == (n // 64, 64)
    assert task.steps(n) == (1, n)
    assert task.steps(n + 1) == (1, n)


def loop(settings: Settings, scores: Sequence[float], asked: TrainRequest) -> Loop:
    """A loop whose looks give these values, whatever the vectors."""
    values = iter(scores)
    store = Store(settings.warehouse / "checkpoints", {}, math.inf)
    return Loop(plan(asked, settings), Group(), store, StopFlag(), lambda *_: next(values))


def test_training_stops_after_ten_looks_below_the_best(settings: Settings) -> None:
    scores = [0.1, 0.3, 0.3, *[0.2] * 10]
    trained = loop(settings, scores, request(epochs=300)).train(small())
    assert (trained.epoch, trained.best) == (10, 0.3)  # as good as the best is the best
    assert trained.history[-1]["epoch"] == 60
    assert [row["epoch"] for row in trained.history if "test_recall@10" in row] == list(
        range(0, 61, 5)
    )


def test_the_kept_vectors_are_those_of_the_best_epoch(settings: Settings) -> None:
    best = loop(settings, [0.1, 0.5, 0.2, 0.1], request(epochs=16)).train(small())
    until = loop(settings, [0.1, 0.5], request(epochs=6)).train(small())
    assert best.epoch == until.epoch == 5
    for name, array in until.vectors.items():
        assert np.array_equal(best.vectors[name], array)


def test_clean_refits_from_the_start_for_as_many_epochs(settings: Settings) -> None:
    seen_phases: list[tuple[str, int]] = []
    one = loop(settings, [0.1, 0.5, 0.2], request(protocol="clean", epochs=11))
    one.progress = lambda report: seen_phases.append((report.phase, report.epoch))
    trained = one.train(small())
    search = [("search", epoch) for epoch in range(11)]
    assert seen_phases == search + [("refit", epoch) for epoch in range(6)]
    assert trained.epoch == 5
    assert all("valid_recall@10" in row for row in trained.history[:11:5])
    assert not any("recall" in name for row in trained.history for name in row if "test" in name)
    # the refit is training on train ∪ valid from the start: the same as `paper` at that epoch
    paper = loop(settings, [0.1, 0.5], request(epochs=6)).train(small())
    for name, array in paper.vectors.items():
        assert np.array_equal(trained.vectors[name], array)


def test_reports_say_how_far_it_is(settings: Settings) -> None:
    reports: list[EpochReport] = []
    train(settings, request(), reports.append)
    assert [report.epoch for report in reports] == list(range(12))
    assert reports[5].metric == "test_recall@10"
    assert reports[5].value is not None
    assert reports[6].value is None
    assert reports[-1].seconds_left == 0 < reports[0].seconds_left
    assert "epoch 5/11" in reports[5].line()
    assert "left" in reports[5].line()


def test_without_a_terminal_the_first_and_last_epoch_are_logged(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="mrl4rec"):
        run("toy", SPLIT, request(), settings, data=small)
    said = [record.getMessage() for record in caplog.records]
    lines = [line for line in said if "test_recall@10" in line]
    epochs = [line.split("epoch ")[1].split("/")[0] for line in lines]
    assert epochs[0] == "0"
    assert epochs[-1] == "11"


class Cut(Exception):
    """What the tests end a run with."""


def cut_at(epoch: int, phase: str = "search") -> Any:
    def progress(report: EpochReport) -> None:
        if (report.phase, report.epoch) == (phase, epoch):
            raise Cut

    return progress


@pytest.mark.parametrize("name", ["MRL-M", "MRL-M@lightgcn-1", "BPR"])
@pytest.mark.parametrize(("phase", "epoch"), [("search", 0), ("search", 7), ("refit", 3)])
def test_a_run_cut_off_at_any_epoch_ends_with_the_same_vectors(
    name: str, phase: str, epoch: int, tmp_path: Path
) -> None:
    values = {"candidates": 1} if name == "BPR" else {}
    asked = (
        request(name, protocol="clean")
        if not values
        else TrainRequest(
            resolve("BPR", ["BPR.dim=8", "BPR.batch=64", "BPR.lr=0.02"]),
            None,
            1,
            "clean",
            12,
            "cpu",
        )
    )
    calm = Settings(warehouse=tmp_path / "calm")
    rough = Settings(warehouse=tmp_path / "rough", checkpoint_seconds=0)
    undisturbed = train(calm, asked)
    with pytest.raises(Cut):
        train(rough, asked, cut_at(epoch, phase))
    epochs: list[tuple[str, int]] = []
    resumed = train(rough, asked, lambda report: epochs.append((report.phase, report.epoch)))
    assert epochs[0] == (phase, epoch)  # that epoch ended without a checkpoint
    assert digest(resumed) == digest(undisturbed)
    first, second = (
        model_folder.read_card(Path(commit.summary["folder"])) for commit in (undisturbed, resumed)
    )
    assert first == second


SCRIPT = textwrap.dedent(
    """
    import sys, time
    import {module} as t
    from mrl4rec.core.errors import Mrl4recError
    settings = t.Settings(warehouse=sys.argv[1], checkpoint_seconds={seconds})
    def progress(report):
        print(report.phase, report.epoch, flush=True)
        if {devices} == 1:
            time.sleep(0.1)  # who reads it acts in this epoch, also on one busy core
    try:
        t.train(settings, t.long({devices}, {epochs}), progress)
    except Mrl4recError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    """
)


ROOT = Path(__file__).parents[3]


def start(
    warehouse: Path, seconds: float, devices: int = 1, epochs: int = 100, module: str = __name__
) -> subprocess.Popen[str]:
    """Train ``long`` of this module, or of one like it, in a process of its own."""
    values = {"seconds": seconds, "devices": devices, "epochs": epochs, "module": module}
    script = SCRIPT.format(**values)
    return subprocess.Popen(
        [sys.executable, "-c", script, str(warehouse)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])},
    )


def read_until(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdout is not None
    for found in child.stdout:
        if found.strip() == line:
            return
    assert child.stderr is not None
    raise AssertionError(f"{line!r} never came: {child.stderr.read()}")


@pytest.mark.fault("F22")
def test_kill_9_in_epoch_7_then_again_gives_the_same_vectors(tmp_path: Path) -> None:
    child = start(tmp_path / "killed", seconds=0)
    read_until(child, "search 7")
    child.kill()
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    asked = long()
    rough = Settings(warehouse=tmp_path / "killed", checkpoint_seconds=0)
    epochs: list[int] = []
    resumed = train(rough, asked, lambda report: epochs.append(report.epoch))
    assert 7 <= epochs[0] < 100
    assert digest(resumed) == digest(train(Settings(warehouse=tmp_path / "calm"), asked))


@pytest.mark.fault("F23")
def test_sigterm_writes_a_checkpoint_and_says_resumable(tmp_path: Path) -> None:
    child = start(tmp_path / "stopped", seconds=1e9)
    read_until(child, "search 3")
    child.terminate()
    _, errors = child.communicate(timeout=60)
    assert child.returncode == Interrupted.exit_code == 75
    assert "a checkpoint was written" in errors
    asked = long()
    epochs: list[int] = []
    stopped = Settings(warehouse=tmp_path / "stopped")
    resumed = train(stopped, asked, lambda report: epochs.append(report.epoch))
    assert epochs[0] >= 3
    assert digest(resumed) == digest(train(Settings(warehouse=tmp_path / "calm"), asked))


def diverging(batch: int, **values: Any) -> TrainRequest:
    """A learning rate that overflows in the first step."""
    sets = {"dim": 8, "lr": 1e38, "batch": batch}
    overrides = [f"MRL-M.{name}={value}" for name, value in sets.items()]
    return dataclasses.replace(request(**values), method=resolve("MRL-M", overrides))


@pytest.mark.parametrize(
    ("batch", "what"),
    [
        (64, r"the loss became (inf|nan) in epoch 0 .*, step 1; stopped before the update"),
        (2048, r"the vectors are no longer finite in epoch 0"),
    ],
)
@pytest.mark.fault("F26")
def test_what_is_not_finite_stops_before_the_update(batch: int, what: str, tmp_path: Path) -> None:
    with pytest.raises(Mrl4recError, match=what):
        train(Settings(warehouse=tmp_path, checkpoint_seconds=0), diverging(batch))
    assert not list(tmp_path.glob("toy/models/*"))


def arrays(value: float) -> dict[str, np.ndarray]:
    return {"table": np.full((3, 2), value, dtype=np.float32)}


def filled(folder: Path) -> Store:
    store = Store(folder, {"stage_key": "k", "ranks": 1}, 0)
    for epoch in range(4):
        store.save(State(epoch=epoch, loss=0.1 + 0.2, history=[{"epoch": epoch}]), arrays(epoch))
    return store


def test_two_checkpoints_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    state, found = store.load()
    assert state == State(epoch=3, loss=0.1 + 0.2, history=[{"epoch": 3}])
    assert found["table"].tolist() == arrays(3)["table"].tolist()


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[-3] ^= 1
    path.write_bytes(bytes(body))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip, cut_short, empty, Path.unlink])
@pytest.mark.fault("F24")
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    damage: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = filled(tmp_path)
    damage(max(tmp_path.iterdir()))
    with caplog.at_level(logging.WARNING, logger="mrl4rec"):
        state, _ = store.load()
    assert state.epoch == 2
    assert ("is damaged" in caplog.text) == (damage is not Path.unlink)


@pytest.mark.fault("F24")
def test_with_all_damaged_it_starts_anew(tmp_path: Path) -> None:
    store = filled(tmp_path)
    for path in tmp_path.iterdir():
        flip(path)
    assert store.load() == (State(), {})


def test_a_half_written_checkpoint_is_not_seen_and_swept_away(tmp_path: Path) -> None:
    store = filled(tmp_path)
    (tmp_path / ".00000005.77.tmp").write_bytes(b"half")
    assert store.load()[0].epoch == 3
    store.sweep()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.fault("F29")
def test_a_checkpoint_of_another_training_is_refused_with_the_difference(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(Mrl4recError, match=r"ranks: it has 1, asked for is 2"):
        Store(tmp_path, {"stage_key": "k", "ranks": 2}, 0).load()


def test_values_that_are_not_finite_never_reach_a_checkpoint(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with pytest.raises(Mrl4recError, match="table is not finite"):
        store.save(State(epoch=9), arrays(math.nan))
    assert store.load()[0].epoch == 3


def test_a_flipped_byte_in_a_real_run_costs_an_epoch_and_nothing_else(tmp_path: Path) -> None:
    rough = Settings(warehouse=tmp_path / "rough", checkpoint_seconds=0)
    with pytest.raises(Cut):
        train(rough, request(), cut_at(8))
    flip(max(rough.storage.dataset_dir("toy").glob("checkpoints/*/*.safetensors")))
    epochs: list[int] = []
    resumed = train(rough, request(), lambda report: epochs.append(report.epoch))
    assert epochs[0] == 7
    assert digest(resumed) == digest(train(Settings(warehouse=tmp_path / "calm"), request()))


def test_checkpoints_amid_an_epoch_resume_too(tmp_path: Path) -> None:
    """A stop asked for in the middle of an epoch: the step, not the epoch, is what is kept."""
    settings = Settings(warehouse=tmp_path, checkpoint_seconds=1e9)
    made = plan(request(), settings)
    stop = StopFlag()
    one = Loop(made, Group(), Store(tmp_path / "c", {}, 1e9), stop)
    one.progress = lambda report: stop.ask() if report.epoch == 4 else None
    with pytest.raises(Interrupted):
        one.train(small())
    assert (one.state.epoch, one.state.step) == (5, 1)
    resumed = Loop(made, Group(), Store(tmp_path / "c", {}, 1e9), StopFlag()).train(small())
    whole = Loop(made, Group(), Store(tmp_path / "d", {}, 1e9), StopFlag()).train(small())
    assert resumed.history == whole.history
    # The cost is of both processes: the first one's stands in the checkpoint.
    assert resumed.cost_before == one.state.cost
    assert one.state.cost["seconds"] > 0 < one.state.cost["cpu_seconds"]
    assert whole.cost_before == {}
    for name, array in whole.vectors.items():
        assert np.array_equal(resumed.vectors[name], array)


def test_layered_models_keep_their_layer_0(settings: Settings) -> None:
    commit = train(settings, request("MRL-M@lightgcn-1", epochs=3))
    model = model_folder.load(Path(commit.summary["folder"])).model
    assert isinstance(model, FactorModel)
    assert model.user_vectors_0 is not None
    assert model.user_vectors_0.shape == model.user_vectors.shape
    assert not np.allclose(model.user_vectors_0, model.user_vectors)
