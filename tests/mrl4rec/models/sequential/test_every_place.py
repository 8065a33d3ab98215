"""What holds for every family that predicts each next item of a window."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch

from mrl4rec.core.settings import Settings
from mrl4rec.evaluation.ranking import evaluate
from mrl4rec.models import resolve
from mrl4rec.models.sequential.base import Noise
from mrl4rec.models.sequential.packed import GROUP, Packed
from mrl4rec.training import TrainRequest
from mrl4rec.training.group import Group
from mrl4rec.training.learner import Learner
from mrl4rec.training.order import Pairs
from mrl4rec.training.request import plan
from tests.mrl4rec.models.sequential.every_place_samples import (
    DIM,
    LENGTH,
    batch,
    method,
    started,
    task,
    windows,
)
from tests.mrl4rec.models.sequential.sequence_samples import N_ITEMS, split

NETS = ("SASRec", "eSASRec", "GRU4Rec")
SUMS = (
    "SASRec", "SASRec@mrl", "SASRec-sampled", "SASRec-popular", "SASRec-bce", "SASRec-bce@mrl",
    "SASRec-gbce", "eSASRec@mrl", "GRU4Rec",
)  # fmt: skip
EVERY = (*SUMS, "SASRec-in-batch", "eSASRec", "GRU4Rec@mrl")


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows are padded two by two."""
    monkeypatch.setitem(GROUP, "cpu", 2)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("name", NETS)
def test_what_comes_later_changes_nothing_before(name: str) -> None:
    net = started(method(name)).net
    rows = windows([3, 1, 4, 1, 5], [9, 2, 6])
    changed = rows.clone()
    changed[0, 3], changed[1, 5] = 7, 8
    before, after = Packed(rows, N_ITEMS), Packed(changed, N_ITEMS)
    moved = (net.states(before) - net.states(after)).abs().amax(1) > 1e-9
    found = {(int(w), int(p)) for w, p in zip(before.window_T, before.place_T, strict=True)}
    assert len(found) == 8
    late = ((before.window_T == 0) & (before.place_T >= 3)) | (
        (before.window_T == 1) & (before.place_T >= 5)
    )
    assert moved.tolist() == late.tolist()


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("name", NETS)
def test_a_window_with_more_empty_places_gives_the_same_vector(name: str) -> None:
    net = started(method(name)).net
    rows = ([3, 1, 4], [9, 2, 6, 5, 3, 5], [8])
    found = net.encode(windows(*rows))
    torch.testing.assert_close(net.encode(windows(*rows, length=LENGTH + 3)), found)
    alone = torch.cat([net.encode(windows(row)) for row in rows])
    torch.testing.assert_close(alone, found)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("name", NETS)
def test_a_history_of_nothing_gives_a_vector(name: str) -> None:
    net = started(method(name)).net
    some = net.encode(windows([], [4, 2], []))
    assert some.shape == (3, 1, DIM)
    assert torch.isfinite(some).all()
    torch.testing.assert_close(some[1:2], net.encode(windows([4, 2])))
    assert torch.isfinite(net.encode(windows([], []))).all()


@pytest.mark.parametrize("name", NETS)
def test_nothing_is_dropped_outside_training(name: str) -> None:
    of = method(name, dropout=0.5)
    net, rows = started(of).net, windows([3, 1, 4], [9, 2, 6, 5, 3, 5])
    first = net.encode(rows)
    assert torch.equal(first, net.encode(rows))
    noisy = net.encode(rows, Noise(batch(of, 0, 2, 2).place))
    assert not torch.allclose(first, noisy)


@pytest.mark.parametrize("name", SUMS)
def test_the_parts_of_processes_add_up(name: str) -> None:
    of = method(name)
    model = started(of)
    whole = of.loss(model, batch(of, 0, 20, 20))
    parts = [of.loss(model, batch(of, *ends, 20)) for ends in ((0, 7), (7, 20))]
    torch.testing.assert_close(sum(parts), whole)
    slopes = torch.autograd.grad(whole, list(model.parameters.values()))
    summed = torch.autograd.grad(sum(parts), list(model.parameters.values()))
    torch.testing.assert_close(summed, slopes)


@pytest.mark.parametrize("name", EVERY)
def test_the_loss_is_a_function_of_the_step_and_reaches_every_weight(name: str) -> None:
    of = method(name)
    model = started(of)
    loss = of.loss(model, batch(of, 0, 20, 20))
    assert torch.equal(loss, of.loss(model, batch(of, 0, 20, 20)))
    assert not torch.equal(loss, of.loss(model, batch(of, 0, 20, 20, step=4)))
    slopes = torch.autograd.grad(loss, list(model.parameters.values()))
    for part, slope in zip(model.parameters, slopes, strict=True):
        assert torch.isfinite(slope).all(), part
        assert slope.abs().max() > 0, part


def test_every_next_item_of_a_window_is_a_target() -> None:
    """The loss without dropout, by hand: all items, one sequence."""
    of = method("SASRec", dropout=0.0)
    model = started(of)
    row = int(task(of).users_P[0])
    events = split().sequences.only("train").row(row)
    history, targets = events[-LENGTH - 1 : -1], events[-LENGTH:]
    total = 0.0
    at = Packed(windows(history.tolist()), N_ITEMS)
    states = model.net.states(at)
    for vector, target in zip(states, targets[-len(states) :], strict=True):
        total -= torch.log_softmax(model.net.items() @ vector, 0)[target].item()
    loss = of.loss(model, batch(of, 0, 1, 1))
    assert loss.item() * LENGTH == pytest.approx(total)


def steps(name: str, epochs: int, **values: object) -> Learner:
    """A learner after some epochs."""
    of = method(name, **{"dim": 16, "length": 12, "lr": 0.01, **values})
    learner = Learner(task(of), plan(TrainRequest(of, seed=3), Settings()), Group(device="cpu"))
    pairs, at = Pairs(learner.task, 3, of.batch), 0
    for epoch in range(epochs):
        users, places = pairs.epoch(epoch)
        for begin in range(0, len(users), of.batch):
            part = slice(begin, begin + of.batch)
            learner.update(learner.loss(users[part], places[part], at))
            at += 1
    return learner


def recall(learner: Learner) -> float:
    """Recall@5 on the walks' last items, nothing masked."""
    data = split()
    histories = data.sequences.before("test")
    model = learner.plan.trained.scorer(learner.vectors(), (None,), histories)
    truth = data.sequences.targets("test")
    found = evaluate(model, data.csr(), truth, ks=(5,), widths=(None,), metrics=("recall",))
    return found.values[0].value


@pytest.mark.parametrize("name", EVERY)
def test_it_learns_to_go_on(name: str) -> None:
    """Whoever knows the last item's circle, and nothing of the step, has .29."""
    slow = name == "SASRec-gbce"  # many negatives to a target: scores fall before they part
    values = {"candidates": 16} if slow else {}
    assert recall(steps(name, 200 if slow else 20, **values)) > 0.4


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = (steps("SASRec-sampled", 2).vectors() for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_every_variant_has_a_name_and_a_nested_form() -> None:
    assert {resolve(name).name for name in EVERY} == set(EVERY)


def test_an_epoch_is_a_pass_or_so_many_steps_of_it() -> None:
    """A model of one target goes on, with other targets of the same sequences."""
    assert [resolve("SASRec").epoch_steps(one_pass) for one_pass in (94, 1577)] == [94, 200]
    assert resolve("SASRec", ["SASRec.epoch_size=0"]).epoch_steps(1577) == 1577
    assert resolve("YouTubeDNN").epoch_steps(94) == 200


def test_short_epochs_are_parts_of_a_pass() -> None:
    """Three sequences a step, two steps an epoch: each sequence comes as often as any other."""
    of = method("SASRec", batch=3, epoch_size=2)
    work = task(of)
    steps_a_pass = work.n_examples // 3
    assert steps_a_pass % 2 == 0
    assert steps_a_pass > 4
    in_pass = steps_a_pass // 2
    epochs = [Pairs(work, 3, 3).epoch(number)[0].tolist() for number in range(2 * in_pass)]
    whole = method("SASRec", batch=3, epoch_size=0)
    for number in range(2):
        parts = [*chain.from_iterable(epochs[number * in_pass : (number + 1) * in_pass])]
        assert len(set(parts)) == len(parts) == steps_a_pass * 3
        assert parts == Pairs(task(whole), 3, 3).epoch(number)[0].tolist()
    assert epochs[:in_pass] != epochs[in_pass:]
