"""What a GPU will run, as far as a CPU can: steps not waited for, and the kernel interpreted."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mrl4rec import training
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import from_pairs
from mrl4rec.evaluation import evaluate as evaluation
from mrl4rec.evaluation.ranking import device as ranking_device
from mrl4rec.evaluation.ranking.evaluate import Evaluation
from mrl4rec.models import negatives, resolve
from mrl4rec.models.negatives import Sampler
from mrl4rec.training import replay
from mrl4rec.training.checkpoint import Store
from mrl4rec.training.group import Group
from mrl4rec.training.interrupt import Interrupted, StopFlag
from mrl4rec.training.learner import Learner
from mrl4rec.training.loop import Loop, Trained
from mrl4rec.training.order import Pairs
from mrl4rec.training.request import Plan, TrainRequest, plan
from mrl4rec.training.tasks import Task, tasks

BATCH = 32
CPU = torch.device("cpu")
SPLIT = Commit("split", "ab" * 32, "splits", 3, {"users": 1, "items": 2})


def pairs() -> Any:
    rng = np.random.default_rng(1)
    found = list(zip(*(rng.random((40, 30)) < 0.2).nonzero(), strict=True))
    return from_pairs(found[::2], found[1::4], found[3::4], 40, 30)


def work() -> Task:
    return tasks(pairs(), "paper")[0]


def asked(settings: Settings, name: str = "MRL-M", *overrides: str, **values: Any) -> Plan:
    sets = [f"{name}.{part}" for part in (f"batch={BATCH}", "dim=8", "lr=0.01", "candidates=4")]
    method = resolve(name, [*sets, *overrides])
    given = {"levels": (2, 8), "seed": 5, "protocol": "paper", "device": "cpu"}
    return plan(TrainRequest(method, **{**given, "engine": "autograd", **values}), settings)


def recorded(body: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Stands for ``replay.record``: the same rounds of warm-up, then the body itself."""
    for _ in range(replay.WARM_UP):
        body()
    return body


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU taken for a GPU, but for the capture itself."""
    monkeypatch.setattr(replay, "runs_ahead", lambda group: True)
    monkeypatch.setattr(replay, "stepper", replay.Replayed)
    monkeypatch.setattr(replay, "record", recorded)
    monkeypatch.setattr(Pairs, "epoch", Pairs.by_device)


def steps(task: Task, n: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    rng = np.random.default_rng(0)
    for _ in range(n):
        rows = rng.integers(0, task.n_pairs, BATCH)
        yield torch.from_numpy(task.users_P[rows]), torch.from_numpy(task.items_P[rows])


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name


@pytest.mark.parametrize("kind", [replay.Stepper, replay.Replayed])
@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("name", ["MRL-M", "BPR-D", "MRL-M@lightgcn-1"])
def test_steps_not_waited_for_are_the_same_bits(
    name: str, tensors: bool, kind: type, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses, tables, moments and numbers of steps, with the compiled draws and with tensors."""
    if tensors:
        monkeypatch.setattr(Sampler, "choose", Sampler.choose_tensors)
    monkeypatch.setattr(replay, "record", recorded)
    task = work()
    plain = Learner(task, asked(settings, name), Group())
    total = 0.0
    for step, batch in enumerate(steps(task, 12)):
        loss = plain.loss(*batch, step)
        total += loss.item()
        plain.update(loss)
    monkeypatch.setattr(replay, "runs_ahead", lambda group: True)
    monkeypatch.setattr(replay, "stepper", kind)
    other = Learner(task, asked(settings, name), Group())
    assert other.stepper is not None
    other.stepper.begin(0.0)
    for step, batch in enumerate(steps(task, 12)):
        other.stepper.take(*batch, step)
    assert other.stepper.look() == replay.Losses(total, None, 0.0)
    same(other.state(), plain.state())
    for moments in other.optimiser.state.values():
        assert moments["step"].item() == 12


class Noted(TorchDispatchMode):
    """Notes the operations that are carried out, backward ones too."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        places = args[1] if func.overloadpacket.__name__ in ("index", "index_put_") else []
        if any(place is not None and place.dtype == torch.bool for place in places):
            self.names.add("nonzero")
        return func(*args, **(kwargs or {}))


WAITS = {
    "_local_scalar_dense",  # a value is read by the host: item(), float(), bool(), a slice by one
    "nonzero",  # the shape of the result is: nonzero, masked_select, unique, indexing by a mask
    "masked_select",
    "_unique2",
    "repeat_interleave",
    "lift_fresh",  # a number of the host's is made a tensor: a copy to the device
    "scalar_tensor",
    "equal",
    "is_nonzero",
}


@pytest.mark.parametrize("name", ["MRL-M", "MRL-D", "BPR-M", "BPR-D", "MRL-M@lightgcn-1"])
def test_nothing_in_a_step_waits_for_the_host(
    name: str, ahead: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sampler, "choose", Sampler.choose_tensors)
    task = work()
    one = Learner(task, asked(settings, name), Group())
    (first, second) = steps(task, 2)
    one.stepper.take(*first, 0)
    with Noted() as noted:
        one.stepper.take(*second, 1)
    assert {"searchsorted", "_fused_adam_", "embedding_dense_backward"} <= noted.names
    assert not noted.names & WAITS


def test_a_restored_stepper_goes_on_with_the_same_bits(ahead: None, settings: Settings) -> None:
    task, made = work(), asked(settings)
    whole, first, second = (Learner(task, made, Group()) for _ in range(3))
    for step, batch in enumerate(steps(task, 10)):
        if step == 6:
            second.stepper.take(*batch, 0)  # recorded on tensors that restore replaces
            second.restore(first.state(), 6)
        whole.stepper.take(*batch, step)
        (first if step < 6 else second).stepper.take(*batch, step)
    same(second.state(), whole.state())


@pytest.mark.parametrize("kind", [replay.Stepper, replay.Replayed])
def test_a_loss_that_is_not_finite_stops_this_update_and_all_after_it(
    kind: type, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "record", recorded)
    monkeypatch.setattr(replay, "runs_ahead", lambda group: True)
    monkeypatch.setattr(replay, "stepper", kind)
    task = work()
    one = Learner(task, asked(settings), Group())
    stepper = one.stepper
    sound = stepper.loss
    poison = torch.zeros(())
    stepper.loss = lambda *inputs: sound(*inputs) + poison
    batches = list(steps(task, 9))
    for step in range(4):
        stepper.take(*batches[step], step)
    before, total = one.state(), stepper.look().total
    before = {name: array.copy() for name, array in before.items()}
    poison.fill_(math.inf)
    stepper.take(*batches[4], 4)
    poison.fill_(math.nan)
    stepper.take(*batches[5], 5)
    poison.zero_()
    stepper.take(*batches[6], 6)
    assert stepper.look() == replay.Losses(total, 4, math.inf)
    same(one.state(), before)
    assert all(moments["step"].item() == 4 for moments in one.optimiser.state.values())


def test_another_size_of_batch_is_recorded_anew(ahead: None, settings: Settings) -> None:
    task = work()
    one = Learner(task, asked(settings), Group())
    (users, items), (more_users, more_items) = steps(task, 2)
    one.stepper.take(users, items, 0)
    one.stepper.take(more_users[:5], more_items[:5], 1)
    other = Learner(task, asked(settings), Group())
    other.update(other.loss(users, items, 0))
    other.update(other.loss(more_users[:5], more_items[:5], 1))
    same(one.state(), other.state())


def run(settings: Settings, folder: Path, made: Plan, stop: StopFlag | None = None) -> Trained:
    store = Store(folder, {}, settings.checkpoint_seconds)
    return Loop(made, Group(), store, stop or StopFlag()).train(pairs())


@pytest.mark.parametrize("look_every", [1, 3, 64])
def test_a_whole_training_is_the_same(
    look_every: int, settings: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made = asked(settings, epochs=7, protocol="clean")
    calm = run(settings, tmp_path / "calm", made)
    request.getfixturevalue("ahead")
    request.getfixturevalue("monkeypatch").setattr("mrl4rec.training.loop.LOOK_EVERY", look_every)
    other = run(settings, tmp_path / "ahead", made)
    same(other.vectors, calm.vectors)
    assert other.history == calm.history


def test_interrupted_within_an_epoch_it_goes_on_with_the_same_bits(
    ahead: None, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = asked(settings, epochs=3)
    whole = run(settings, tmp_path / "whole", made)
    stop, take = StopFlag(), replay.Replayed.take

    def stopping(self: replay.Replayed, *inputs: Any) -> None:
        take(self, *inputs)
        stop.asked = inputs[2] == 7

    with monkeypatch.context() as patch:
        patch.setattr(replay.Replayed, "take", stopping)
        with pytest.raises(Interrupted, match="epoch 1"):
            run(settings, tmp_path / "cut", made, stop)
    resumed = run(settings, tmp_path / "cut", made)
    same(resumed.vectors, whole.vectors)
    assert resumed.history == whole.history


def test_divergence_is_named_with_its_step(ahead: None, settings: Settings, tmp_path: Path) -> None:
    made = asked(settings, "MRL-M", "MRL-M.lr=1e38")
    with pytest.raises(Mrl4recError, match=r"the loss became (inf|nan) in epoch 0 .*, step 1;"):
        run(settings, tmp_path, made)


@pytest.mark.parametrize("epoch", [0, 3])
def test_an_epoch_is_put_in_order_alike_on_the_device(epoch: int) -> None:
    ordered = Pairs(work(), -9, BATCH)
    for host, device in zip(ordered.by_host(epoch), ordered.by_device(epoch), strict=True):
        assert np.array_equal(host, device.numpy())


def test_evaluation_ranks_where_it_is_asked_to(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other device is named in the stage key, the CPU is not."""
    levels = {"levels": (2, 8), "seed": 5, "epochs": 1, "device": "cpu"}
    asked_ = TrainRequest(resolve("MRL-M", [f"MRL-M.batch={BATCH}", "MRL-M.dim=8"]), **levels)
    trained = training.run("toy", SPLIT, asked_, settings, data=pairs)
    monkeypatch.setattr(ranking_device, "_device", lambda name: CPU)
    monkeypatch.setattr(evaluation, "resolve_device", lambda device, settings: device)
    found = {}
    for device in ("cpu", "cuda"):

        def keep(values: Evaluation, *_: object, device: str = device) -> None:
            found[device] = values

        done = evaluation.run(
            "toy", SPLIT, trained, settings, ks=(5,), data=pairs, on_evaluated=keep, device=device
        )
        assert done.key == evaluation.key(SPLIT, trained, (5,), device)
        assert (done.key == evaluation.key(SPLIT, trained, (5,))) == (device == "cpu")
    for one, other in zip(found["cpu"].values, found["cuda"].values, strict=True):
        assert abs(one.value - other.value) < 1e-3


def test_evaluation_on_a_gpu_that_is_not_there_says_so(settings: Settings) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UsageError, match="no GPU that torch can use"):
        evaluation.run("toy", SPLIT, SPLIT, settings, ks=(5,), data=pairs, device="cuda")


def test_graphs_can_be_left_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    optimiser = Learner(work(), asked(settings), Group()).optimiser
    assert type(replay.stepper(lambda *_: torch.zeros(()), optimiser, CPU)) is replay.Stepper
    assert not replay.runs_ahead(Group())
    assert not replay.runs_ahead(Group(0, 2, "cuda"))
    assert replay.runs_ahead(Group(0, 1, "cuda"))


def test_the_kernel_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(negatives.TRITON, "0")
    assert not negatives.has_triton.__wrapped__()


def test_the_kernel_draws_and_keeps_what_the_compiled_loop_does() -> None:
    """By Triton's interpreter: slow, and the same operations as on a GPU."""
    pytest.importorskip("triton")
    script = Path(__file__).parents[1] / "kernels" / "interpreted_draws.py"
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "the same\n", done.stderr[-2000:]


def test_the_kernel_compiles_for_a_hopper_gpu(tmp_path: Path) -> None:
    """The compiler refuses what the interpreter lets pass; it needs no GPU."""
    pytest.importorskip("triton")
    code = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from mrl4rec.kernels.draws_triton import _hardest
types = ["*i64", "*fp32", "*fp32", "*i64", "*i32", *["*i64"] * 4, "i32", "i32"]
sizes = {"LEVELS": 5, "CANDIDATES": 16, "N": 16, "D": 64}
signature = dict(zip(_hardest.arg_names, [*types, *["constexpr"] * 4], strict=True))
made = compile(ASTSource(_hardest, signature, constexprs=sizes),
    target=GPUTarget("cuda", 90, 32), options={"num_warps": 1})
print(len(made.asm["cubin"]) > 0)
"""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr[-2000:]
