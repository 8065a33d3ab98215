"""The whole step of XSimGCL, DGCF, DCCF and MacridVAE by their equations, and their resumption."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import logsigmoid

from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.data.interactions import Interactions, from_pairs
from mrl4rec.models import Batch, dccf, dgcf, graph, resolve
from mrl4rec.models.negatives import Place
from mrl4rec.models.scorers import MixtureModel
from mrl4rec.training.checkpoint import Store
from mrl4rec.training.group import Group
from mrl4rec.training.interrupt import Interrupted, StopFlag
from mrl4rec.training.learner import Learner
from mrl4rec.training.loop import Loop
from mrl4rec.training.order import Pairs
from mrl4rec.training.request import TrainRequest, plan
from mrl4rec.training.tasks import Task, tasks
from tests.mrl4rec.models.graph_samples import numpy

USERS, ITEMS, BATCH = 12, 9, 10
NAMES = ["XSimGCL", "DGCF", "DCCF", "MVAE"]


def small() -> Interactions:
    rng = np.random.default_rng(8)
    there = rng.random((USERS, ITEMS)) < 0.5
    there[3] = False  # a user without pairs
    users, items = there.nonzero()
    fold = np.where(np.arange(len(users)) % 4 == 0, 2, 0)
    pairs = list(zip(users.tolist(), items.tolist(), strict=True))
    train, test = ([p for p, f in zip(pairs, fold, strict=True) if f == n] for n in (0, 2))
    return from_pairs(train[::2], train[1::2], test, USERS, ITEMS)


def made(name: str, settings: Settings, **options: Any) -> Any:
    """A plan of the method at a size for the toy; ``options`` are values of the method."""
    values = {"dim": 4, "batch": BATCH if name != "MVAE" else 4, "l2": 0.3, **options}
    method = resolve(name, [f"{name}.{key}={value}" for key, value in values.items()])
    asked = TrainRequest(method, seed=5, protocol="paper", device="cpu", dtype="float64", epochs=3)
    return plan(asked, settings)


def task_of(asked: Any) -> Task:
    method = asked.trained
    found = tasks(small(), "paper", method)
    return found[0]


def learner(name: str, settings: Settings, **options: Any) -> Learner:
    asked = made(name, settings, **options)
    return Learner(task_of(asked), asked, Group())


def batch(one: Learner) -> tuple[torch.Tensor, torch.Tensor]:
    users, items = Pairs(one.task, 5, one.plan.trained.batch, one.group.device).epoch(0)
    return torch.as_tensor(users[:BATCH]), torch.as_tensor(items[:BATCH])


def ranking(one: Learner, pooled: torch.Tensor, step: int) -> tuple[float, torch.Tensor]:
    """BPR and the norms of layer 0 over the batch; and the nodes of its positives."""
    users, items = batch(one)
    loss: Any = one.parts
    tables = pooled[:USERS], pooled[USERS:]
    chosen = loss.model.sampler.choose(users, *tables, Place(5, step, 0))[:, 0]
    gaps = (tables[0][users] * (tables[1][items] - tables[1][chosen])).sum(1)
    rows = (loss.model.users[users], loss.model.items[items], loss.model.items[chosen])
    norms = sum(float(part.pow(2).sum()) for part in rows)
    return float(-logsigmoid(gaps).mean()) + 0.3 / 2 / BATCH * norms, items + USERS


def test_the_loss_of_xsimgcl(settings: Settings) -> None:
    one = learner("XSimGCL", settings, lam=0.7)
    views = one.parts.model.views((5, 3))
    pooled = (views[0] + views[1]) / 2
    expected, positives = ranking(one, pooled, 3)
    for nodes in (batch(one)[0].unique(), positives.unique()):
        expected += 0.7 * float(graph.info_nce(pooled[nodes], views[0][nodes], 0.15))
    assert one.loss(*batch(one), 3).item() == pytest.approx(expected)
    plain = one.parts.vectors()
    assert not torch.allclose(plain["user_vectors"], pooled[:USERS])  # no noise to score with


def test_the_loss_of_dgcf(settings: Settings) -> None:
    one = learner("DGCF", settings, cor=0.5, factors=2)
    pooled = torch.cat(one.parts.model.pooled())
    expected, _ = ranking(one, pooled, 3)
    nodes = one.parts.model.sampled(Batch(*batch(one), Place(5, 3, 0), BATCH))
    steps, _ = one.task.steps(BATCH)
    size = USERS // steps
    assert len(nodes) == 2 * size == len(set(nodes.tolist()))
    assert sorted(nodes.tolist())[:size][-1] < USERS <= min(sorted(nodes.tolist())[size:])
    between = dgcf.correlation(pooled[nodes], 2)
    assert one.loss(*batch(one), 3).item() == pytest.approx(expected + 0.5 * float(between))


def test_the_loss_of_dccf(settings: Settings) -> None:
    one = learner("DCCF", settings, depth=2, intents=3, lam=0.4, intent_l2=0.2)
    model: Any = one.parts.model
    pooled, layers = model.layered()
    expected, positives = ranking(one, pooled, 3)
    expected += 0.4 * float(
        dccf.contrast(layers, (batch(one)[0].unique(), positives.unique()), 1.0)
    )
    expected += 0.2 * sum((part**2).sum() for part in numpy(model.user_intents, model.item_intents))
    assert one.loss(*batch(one), 3).item() == pytest.approx(expected)


def test_the_weight_of_the_divergence_grows_with_the_steps_run(settings: Settings) -> None:
    one = learner("MVAE", settings, anneal=2, beta=0.6)
    steps, _ = one.task.steps(4)
    assert steps == 2  # 11 users with pairs, 4 a step
    ramp = [one.parts.model.beta(step) for step in range(6)]
    assert ramp == pytest.approx([0, 0.15, 0.3, 0.45, 0.6, 0.6])
    assert float(one.parts.model.beta(torch.tensor(9))) == pytest.approx(0.6)
    assert learner("MVAE", settings, anneal=0, beta=0.6).parts.model.beta(0) == 0.6


def test_the_norms_of_macridvae_are_of_all_its_weights(settings: Settings) -> None:
    one, plain = learner("MVAE", settings), learner("MVAE", settings, l2=0)
    norms = sum(float(part.pow(2).sum()) for part in one.parts.parameters())
    found = (one.loss(*batch(one), 3) - plain.loss(*batch(one), 3)).item()
    assert found == pytest.approx(0.3 / 2 / len(batch(one)[0]) * norms)


def test_shares_of_a_batch_of_users_add_up(settings: Settings) -> None:
    whole = learner("MVAE", settings)
    users, items = batch(whole)
    expected = whole.loss(users, items, 3)
    total = 0.0
    for rank in range(3):
        part = learner("MVAE", settings)
        part.group = Group(rank, 3)
        total += part.loss(users, items, 3).item()
    assert total == pytest.approx(expected.item(), rel=1e-12)


def test_what_macridvae_gives_is_a_mixture(settings: Settings) -> None:
    one = learner("MVAE", settings, concepts=3)
    found = MixtureModel(**{k: v.astype(np.float32) for k, v in one.vectors().items()})
    assert (found.n_users, found.n_items, found.mixing.shape) == (USERS, ITEMS, (ITEMS, 3))
    assert np.isfinite(found.scores(np.arange(USERS))).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_learner_taken_up_again_takes_the_same_steps(name: str, settings: Settings) -> None:
    whole, again = learner(name, settings), learner(name, settings)
    users, items = batch(whole)
    for step in range(4):
        whole.update(whole.loss(users, items, step))
    state = {key: value.copy() for key, value in whole.state().items()}
    again.restore(state, 4)
    for step in range(4, 7):
        losses = [one.loss(users, items, step) for one in (whole, again)]
        assert losses[0].item() == losses[1].item()
        for one, loss in zip((whole, again), losses, strict=True):
            one.update(loss)
    for key, value in whole.state().items():
        assert np.array_equal(value, again.state()[key]), key
    assert all(not np.array_equal(value, state[key]) for key, value in whole.state().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_run_stopped_amid_an_epoch_ends_the_same(
    name: str, settings: Settings, tmp_path: Any
) -> None:
    asked = made(name, settings, batch=3)
    whole = Loop(asked, Group(), Store(tmp_path / "a", {}, 1e9), StopFlag()).train(small())

    stop = StopFlag()
    cut = Loop(asked, Group(), Store(tmp_path / "b", {}, 1e9), stop)
    cut.progress = lambda report: stop.ask() if report.epoch == 0 else None
    with pytest.raises(Interrupted):
        cut.train(small())
    assert (cut.state.epoch, cut.state.step) == (1, 1)
    again = Loop(asked, Group(), Store(tmp_path / "b", {}, 1e9), StopFlag()).train(small())
    assert again.history == whole.history
    for key, value in whole.vectors.items():
        assert np.array_equal(value, again.vectors[key])


def test_an_epoch_over_users_takes_each_once_with_one_of_its_pairs(settings: Settings) -> None:
    asked = made("DCCF", settings, sampling="users", batch=11)
    task = task_of(asked)
    assert (task.n_examples, task.steps(11), task.steps(4)) == (11, (1, 11), (2, 4))
    drawn: dict[int, set[int]] = {}
    for epoch in range(60):
        users, items = (part.tolist() for part in Pairs(task, 5, 11).epoch(epoch))
        assert sorted(users) == [user for user in range(USERS) if user != 3]
        for user, item in zip(users, items, strict=True):
            drawn.setdefault(user, set()).add(item)
    assert all(drawn[user] == set(task.seen.row(user).tolist()) for user in drawn)


def test_a_number_of_steps_goes_over_the_examples_again(settings: Settings) -> None:
    asked = made("DCCF", settings, sampling="users", batch=4, steps=7)
    task = task_of(asked)
    assert task.steps(4) == (7, 4)
    users, _ = Pairs(task, 5, 4).epoch(2)
    assert len(users) == 28
    assert sorted(users[:11].tolist()) == sorted(users[11:22].tolist())
    assert users[:11].tolist() != users[11:22].tolist()
    few = Pairs(task_of(made("DCCF", settings, steps=1, batch=4)), 5, 4)
    assert len(few.epoch(0)[0]) == 4


@pytest.mark.parametrize("name", NAMES[:3])
def test_several_processes_are_refused_where_the_batch_must_be_whole(
    name: str, settings: Settings
) -> None:
    with pytest.raises(UsageError, match="compares the examples"):
        plan(TrainRequest(resolve(name), seed=0, device="cpu", devices=2), settings)


@pytest.mark.parametrize(
    ("name", "override", "words"),
    [
        ("DGCF", "DGCF.factors=3", "do not divide"),
        ("XSimGCL", "XSimGCL.contrast_layer=3", "2 layers"),
        ("DCCF", "DCCF.sampling=user", "sampling"),
        ("DGCF@lightgcn-1", "DGCF.cor=0", "model"),
        ("MVAE@mf", "MVAE.beta=0", "model"),
        ("MVAE", "MVAE.tau=0.01", "tau is 0.01"),
    ],
)
def test_values_that_make_no_sense_are_refused(name: str, override: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        resolve(name, [override])
