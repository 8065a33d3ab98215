"""On a GPU: captured steps beside plain ones, its draws beside the golden ones, its ranking.

Nothing here runs without one; test_gpu_paths.py covers on the CPU what a CPU can.
"""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrl4rec import training
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import Interactions, from_pairs
from mrl4rec.evaluation.ranking import evaluate
from mrl4rec.kernels import draws
from mrl4rec.models import fit, model_folder, resolve
from mrl4rec.models.negatives import Place, Sampler
from mrl4rec.training import TrainRequest, replay
from mrl4rec.training.group import Group
from mrl4rec.training.job import Job, train_here
from mrl4rec.training.launch import launch
from mrl4rec.training.learner import Learner
from mrl4rec.training.request import Plan, plan
from mrl4rec.training.tasks import Task, tasks
from tests.mrl4rec.models.model_samples import real_factors, sparse

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

BATCH, N_USERS, N_ITEMS = 512, 300, 200
GPU = torch.device("cuda")
SPLIT = Commit("split", "ab" * 32, "splits", 3, {"users": 1, "items": 2})


def data() -> Interactions:
    """Users with few and with many seen items; one has seen all but two."""
    rng = np.random.default_rng(1)
    share = np.linspace(0.02, 0.6, N_USERS)[:, None]
    users, items = (rng.random((N_USERS, N_ITEMS)) < share).nonzero()
    most = {(7, item) for item in range(N_ITEMS - 2)}
    found = sorted({*zip(users.tolist(), items.tolist(), strict=True), *most})
    return from_pairs(found[::2], found[1::4], found[3::4], N_USERS, N_ITEMS)


def work() -> Task:
    return tasks(data(), "paper")[0]


def request(name: str = "MRL-M", *overrides: str, **values: Any) -> TrainRequest:
    sets = [f"{name}.{part}" for part in (f"batch={BATCH}", "dim=16", "lr=0.01", "candidates=8")]
    given: dict[str, Any] = {"levels": (4, 16), "seed": 5, "protocol": "paper", "device": "cuda"}
    return TrainRequest(resolve(name, [*sets, *overrides]), **{**given, **values})


def planned(settings: Settings, name: str = "MRL-M", **values: Any) -> Plan:
    return plan(request(name, **values), settings)


def batches(task: Task, n: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    rng = np.random.default_rng(0)
    for _ in range(n):
        rows = rng.integers(0, task.n_pairs, BATCH)
        users, items = torch.from_numpy(task.users_P[rows]), torch.from_numpy(task.items_P[rows])
        yield users.to(GPU), items.to(GPU)


def close(first: dict[str, np.ndarray], second: dict[str, np.ndarray], atol: float) -> None:
    for name, array in first.items():
        np.testing.assert_allclose(array, second[name], rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize("form", [Sampler.choose, Sampler.choose_tensors])
def test_draws_are_those_of_the_cpu(form: Any) -> None:
    """One candidate: the draw itself, by the kernel and by tensors, the step on either side."""
    seen = work().seen
    users, widths = np.tile(np.arange(N_USERS), 3), (4, 8, 16)
    tables = torch.randn(N_USERS, 16, device=GPU), torch.randn(N_ITEMS, 16, device=GPU)
    there = torch.from_numpy(users).to(GPU)
    for step in (0, 77, 2**33):
        word = np.uint64(Place(2022, step, 5).prefix())
        wanted = draws.drawn(users, seen.indptr, seen.indices, N_ITEMS, 3, 1, word, 5)[:, :, 0]
        sampler = Sampler(seen, widths, 1, GPU)
        for at in (step, torch.tensor(step, device=GPU)):
            found = form(sampler, there, *tables, Place(2022, at, 5))
            np.testing.assert_array_equal(found.cpu().numpy(), wanted)


def test_the_kernel_keeps_what_the_compiled_loop_does() -> None:
    script = Path(__file__).parents[1] / "kernels" / "interpreted_draws.py"
    done = subprocess.run(
        [sys.executable, str(script), "cuda"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "the same\n", done.stderr[-2000:]


@pytest.mark.parametrize("name", ["MRL-M", "MRL-D", "BPR-M", "BPR-D", "MRL-M@lightgcn-1"])
def test_captured_steps_are_the_plain_ones(name: str, settings: Settings) -> None:
    task, made = work(), planned(settings, name, dtype="float64")
    plain, captured = (Learner(task, made, Group(device="cuda")) for _ in range(2))
    plain.stepper = replay.Stepper(plain.loss, plain.optimiser, GPU)
    assert isinstance(captured.stepper, replay.Replayed)
    for step, batch in enumerate(batches(task, 40)):
        plain.stepper.take(*batch, step)
        captured.stepper.take(*batch, step)
    first, second = plain.stepper.look(), captured.stepper.look()
    assert first.total == pytest.approx(second.total, rel=1e-9)
    assert second.bad_step is None
    close(captured.state(), plain.state(), 1e-9)


def test_steps_are_those_of_the_cpu(settings: Settings) -> None:
    task = work()
    here = Learner(task, planned(settings, dtype="float64", device="cpu"), Group())
    there = Learner(task, planned(settings, dtype="float64"), Group(device="cuda"))
    total = 0.0
    for step, (users, items) in enumerate(batches(task, 40)):
        loss = here.loss(users.cpu(), items.cpu(), step)
        total += loss.item()
        here.update(loss)
        there.stepper.take(users, items, step)
    assert there.stepper.look().total == pytest.approx(total, rel=1e-9)
    close(there.state(), here.state(), 1e-8)


def test_no_captured_step_waits_for_the_device(settings: Settings) -> None:
    """torch raises where an operation would, once the graph is recorded, and without one."""
    task = work()
    one = Learner(task, planned(settings), Group(device="cuda"))
    steps = list(batches(task, 6))
    for stepper in (one.stepper, replay.Stepper(one.loss, one.optimiser, GPU)):
        stepper.take(*steps[0], 0)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for step, batch in enumerate(steps[1:], start=1):
                stepper.take(*batch, step)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert math.isfinite(stepper.look().total)


def test_two_trainings_of_one_seed_are_the_same_bits(tmp_path: Path) -> None:
    """Through the whole loop: order on the device, replay, looks, the kept vectors."""
    found = []
    for folder in ("one", "two"):
        where = Settings(warehouse=tmp_path / folder)
        done = training.run("toy", SPLIT, request(epochs=6), where, lambda _: None, data=data)
        found.append(model_folder.digest(Path(done.summary["folder"])))
    assert found[0] == found[1]


def test_one_process_under_torchrun_trains_the_same(settings: Settings, tmp_path: Path) -> None:
    """A group of one over nccl, started as several would be."""
    made = planned(settings, epochs=3)
    group = Group(device="cuda")
    alone = train_here(Job(made, "k", tmp_path / "alone", settings), data(), group, None)
    started = launch(Job(made, "k", tmp_path / "started", settings), data(), None)
    assert started.history == alone.history
    close(started.vectors, alone.vectors, 0)


def test_divergence_is_named_with_its_step(settings: Settings) -> None:
    asked = dataclasses.replace(request("MRL-M", "MRL-M.lr=1e38"), epochs=2)
    with pytest.raises(Mrl4recError, match=r"the loss became (inf|nan) in epoch 0 .*, step 1;"):
        training.run("toy", SPLIT, asked, settings, lambda _: None, data=data)


@pytest.mark.parametrize("name", ["iALS", "iALS-wide", "EASE", "EASE-SVD"])
def test_closed_forms_are_those_of_the_cpu(name: str) -> None:
    """By their scores: the basis of EASE-SVD's vectors may turn where two strengths are near."""
    method = resolve(name, [] if name == "EASE" else [f"{name}.dim=24"])
    users = np.arange(N_USERS)
    here, there = (
        fit(method, data(), ("train", "valid"), 1, device).scores(users)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(there, here, rtol=0, atol=5e-4)


def test_a_closed_form_s_folder_names_the_gpu(settings: Settings) -> None:
    commits = [
        training.run(
            "toy", SPLIT, TrainRequest(resolve("iALS"), seed=1, device=device), settings, data=data
        )
        for device in ("cpu", "cuda")
    ]
    assert commits[0].key != commits[1].key
    cards = [model_folder.read_card(Path(one.summary["folder"])) for one in commits]
    assert [card.device for card in cards] == [None, "cuda"]
    assert cards[1].cost["gpu_peak_mb"] > 0


@pytest.mark.parametrize("widths", [(16,), (4, 8, 16)])
def test_ranking_agrees_with_the_cpu(widths: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    model = real_factors(rng, 400, 900, 16, widths=widths)
    seen, truth = sparse(rng, 400, 900, 4000), sparse(rng, 400, 900, 1500)
    found = [evaluate(model, seen, truth, device=device) for device in ("cpu", "cuda")]
    for one, other in zip(found[0].values, found[1].values, strict=True):
        assert one.value == pytest.approx(other.value, abs=1e-3)
