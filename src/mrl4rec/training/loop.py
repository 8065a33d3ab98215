"""The loop over epochs: search for the best one, then (``clean``) refit. The same in every rank."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mrl4rec.core import lazy
from mrl4rec.core.cost import total
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.data.interactions import Interactions
from mrl4rec.models import Trained as Method
from mrl4rec.models.sequential.model import SequenceModel
from mrl4rec.training.checkpoint import Arrays, State, Store
from mrl4rec.training.engine import Engine, create
from mrl4rec.training.group import Group
from mrl4rec.training.interrupt import Interrupted, StopFlag
from mrl4rec.training.order import Pairs, Side
from mrl4rec.training.progress import EpochReport, Progress
from mrl4rec.training.request import Plan
from mrl4rec.training.tasks import Task, tasks
from mrl4rec.training.warm import Start

with lazy.imports():
    from mrl4rec.evaluation import ranking

if TYPE_CHECKING:
    from mrl4rec.training.replay import Stepper

STOP_RECALL_AT = 10
LOOK_EVERY = 64
"""Steps between two looks at the losses of steps not waited for: each waits for the device."""
BEST = "best."

Look = Callable[[Arrays, Task, Method], float]
"""Recall@10 of what a method gave, on a task's fold."""


@dataclass(frozen=True, eq=False)
class Trained:
    """The kept vectors and how they came about. ``vectors`` is empty in ranks that do not lead."""

    vectors: Arrays
    epoch: int | None
    """The epoch that was chosen; None for a closed form."""
    best: float | None
    """Recall@10 of the epoch that was chosen; None where none was searched for."""
    history: list[dict[str, Any]]
    cost_before: dict[str, float] = field(default_factory=dict)
    """What the processes took whose checkpoints were gone on from."""


def look(
    vectors: Arrays, task: Task, method: Method, device: str = "cpu", memory_mb: int = 512
) -> float:
    """Recall@10 on the task's fold, its training items masked."""
    assert task.truth is not None
    model = method.scorer(vectors, histories=task.before)
    if isinstance(model, SequenceModel):
        model = replace(model, exact=False)  # every epoch, and nobody compares it bit by bit
    return ranking.recall_at(
        model, task.seen, task.truth, STOP_RECALL_AT, device=device, memory_mb=memory_mb
    )


@dataclass
class Loop:
    """Everything a run needs; ``train`` drives it."""

    plan: Plan
    group: Group
    store: Store
    stop: StopFlag
    look: Look = look
    progress: Progress | None = None
    start: Start | None = None
    """Where both phases start from; None: cold."""
    only: str | None = None
    """One phase alone: ``search`` for tuning, which needs no refit. None: all of the protocol."""
    state: State = field(default_factory=State)
    best: Arrays = field(default_factory=dict)
    cost_before: dict[str, float] = field(default_factory=dict)
    began: tuple[float, float] = (0.0, 0.0)
    """When this process began, by the clock and in its own processor time."""

    def train(self, data: Interactions) -> Trained:
        """Train to the end, from the newest checkpoint where there is one.

        Raises Interrupted after SIGTERM, Mrl4recError where the loss is not finite.
        """
        method = self.plan.trained
        phases = tasks(data, self.plan.protocol, method, everything=self.plan.everything)
        phases = [task for task in phases if self.only in (None, task.phase)]
        if self.group.leads:
            self.store.sweep()
        self.state, arrays = self.store.load()
        self._check_same_start()
        self.cost_before, self.began = self.state.cost, (time.monotonic(), time.process_time())
        self.best = {
            name.removeprefix(BEST): array
            for name, array in arrays.items()
            if name.startswith(BEST)
        }
        vectors = self.best
        for task in phases:
            if task.phase == "search" and self.state.phase == "refit":
                continue
            if task.phase != self.state.phase:
                self._begin_refit()
                arrays = {}
            learner = create(task, self.plan, self.group, self.start)
            self._run(learner, arrays)
            vectors = self.best if task.phase == "search" else learner.vectors()
        assert self.state.best_epoch is not None
        kept = vectors if self.group.leads else {}
        state = self.state
        return Trained(kept, state.best_epoch, state.best, state.history, self.cost_before)

    def _check_same_start(self) -> None:
        """Raise Mrl4recError where the leader goes on from another checkpoint than this rank."""
        mine = [float(self.state.phase == "refit"), float(self.state.epoch), float(self.state.step)]
        if self.group.from_leader(mine) != mine:
            raise Mrl4recError(
                "the ranks found different checkpoints to go on from",
                where=str(self.store.folder),
                todo="wait until every machine sees the same files there, then run this again",
            )

    def _begin_refit(self) -> None:
        done = self.state
        if self.plan.everything:  # nothing was searched for: the last epoch is given
            assert self.plan.epochs is not None
            done.best_epoch = self.plan.epochs - 1
        self.state = State(
            "refit", history=done.history, best=done.best, best_epoch=done.best_epoch
        )
        self.best = {}

    def _run(self, learner: Engine, arrays: Arrays) -> None:
        """Epochs of one phase, from where the state stands to where it ends."""
        task, state = learner.task, self.state
        steps, _ = task.steps(self.plan.trained.batch)
        learner.restore(arrays, state.epoch * steps + state.step)
        assert self.plan.seed is not None
        pairs = Pairs(task, self.plan.seed, self.plan.trained.batch, self.group.device)
        while state.epoch <= self._last_epoch():
            began = time.monotonic()
            self._epoch(learner, pairs)
            epoch, loss = state.epoch, state.loss / steps
            value = self._evaluate(learner, epoch) if task.truth is not None else None
            self._note(task, epoch, loss, value, time.monotonic() - began)
            state.epoch, state.step, state.loss = epoch + 1, 0, 0.0
            if self.group.leads and self.store.due() and state.epoch <= self._last_epoch():
                self._save(learner)

    def _last_epoch(self) -> int:
        """The epoch after which the phase ends, as things stand."""
        state, method = self.state, self.plan.trained
        if state.phase == "refit":
            assert state.best_epoch is not None
            return state.best_epoch
        assert self.plan.epochs is not None
        cap = self.plan.epochs - 1
        if state.best_epoch is None:
            return cap
        every = method.evaluate_every
        looked_at = state.best_epoch // every + method.patience
        return min(cap, looked_at * every)

    def _epoch(self, learner: Engine, pairs: Pairs) -> None:
        """The rest of the epoch under way, a step at a time."""
        task, state = learner.task, self.state
        steps, batch = task.steps(self.plan.trained.batch)
        users, items = pairs.epoch(state.epoch)
        ahead: Stepper | None = getattr(learner, "stepper", None)
        if ahead is not None:
            ahead.begin(state.loss)
        while state.step < steps:
            part = slice(state.step * batch, (state.step + 1) * batch)
            inputs = (users[part], items[part], state.epoch * steps + state.step)
            if ahead is None:
                asked = self._step(learner, *inputs)
            else:
                ahead.take(*inputs)
                state.step += 1
                asked = self.stop.asked
            due = self.store.seconds > 0 and self.group.leads and self.store.due()
            if ahead is not None and (
                asked or due or state.step == steps or state.step % LOOK_EVERY == 0
            ):
                self._look_back(ahead, steps)
            if asked:
                self._interrupt(learner)
            if due:
                self._save(learner)

    def _step(self, learner: Engine, users_B: Side, positives_B: Side, step: int) -> bool:
        """One step of all ranks, its loss seen before the update. True where any is to stop."""
        loss = learner.loss(users_B, positives_B, step)
        value = loss if isinstance(loss, float) else loss.item()
        total, asked = self.group.sum([value, float(self.stop.asked)])
        if not math.isfinite(total):
            raise self._diverged(f"the loss became {total}")
        learner.update(loss)
        self.state.step += 1
        self.state.loss += total
        return bool(asked)

    def _look_back(self, ahead: Stepper, steps: int) -> None:
        """Read the losses of the steps taken without being waited for."""
        losses = ahead.look()
        if losses.bad_step is not None:
            self.state.step = losses.bad_step - self.state.epoch * steps
            raise self._diverged(f"the loss became {losses.bad_loss}")
        self.state.loss = losses.total

    def _evaluate(self, learner: Engine, epoch: int) -> float | None:
        """Recall@10 when it is the epoch's turn, the same on every rank; ≥ the best is the best."""
        assert self.plan.epochs is not None
        if epoch % self.plan.trained.evaluate_every and epoch != self.plan.epochs - 1:
            return None
        value, vectors = 0.0, {}
        if self.group.leads:
            vectors = learner.vectors()
            finite = all(np.isfinite(array).all() for array in vectors.values())
            value = self.look(vectors, learner.task, self.plan.trained) if finite else math.nan
        (value,) = self.group.from_leader([value])
        if not math.isfinite(value):
            raise self._diverged("the vectors are no longer finite")
        if self.state.best is None or value >= self.state.best:
            self.state.best, self.state.best_epoch, self.best = value, epoch, vectors
        return value

    def _note(
        self, task: Task, epoch: int, loss: float, value: float | None, seconds: float
    ) -> None:
        metric = f"{task.truth_fold}_recall@{STOP_RECALL_AT}" if task.truth_fold else None
        row: dict[str, Any] = {"phase": task.phase, "epoch": epoch, "loss": loss}
        if metric and value is not None:
            row[metric] = value
        self.state.history.append(row)
        if self.progress is None or not self.group.leads:
            return
        last = self._last_epoch()
        left = last - epoch
        if self.plan.protocol == "clean" and task.phase == "search":
            left += 1 + (self.state.best_epoch or 0)
        self.progress(
            EpochReport(
                method=self.plan.method.name,
                phase=task.phase,
                epoch=epoch,
                last_epoch=last,
                loss=loss,
                metric=metric,
                value=value,
                best=self.state.best,
                best_epoch=self.state.best_epoch,
                seconds=seconds,
                seconds_left=left * seconds,
            )
        )

    def _save(self, learner: Engine) -> None:
        best = {BEST + name: array for name, array in self.best.items()}
        taken = {
            "seconds": time.monotonic() - self.began[0],
            "cpu_seconds": time.process_time() - self.began[1],
        }
        self.state.cost = total(self.cost_before, taken)
        self.store.save(self.state, {**learner.state(), **best})

    def _interrupt(self, learner: Engine) -> None:
        where = f"{self.state.phase}, epoch {self.state.epoch}, step {self.state.step}"
        if self.group.leads:
            self._save(learner)
        self.group.from_leader([0.0])  # nobody leaves before the checkpoint stands
        raise Interrupted(
            f"training was asked to stop; a checkpoint was written ({where})",
            where=str(self.store.folder),
            todo="run the same command again: it goes on from there",
        )

    def _diverged(self, what: str) -> Mrl4recError:
        state = self.state
        return Mrl4recError(
            f"training diverged: {what} in epoch {state.epoch} ({state.phase}), step {state.step}; "
            "stopped before the update",
            where=str(self.store.folder),
            todo=f"lower the learning rate: --set {self.plan.method.name}.lr=…",
        )
