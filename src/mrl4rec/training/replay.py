"""Steps that the host does not wait for: one process on a GPU takes them, and looks now and then.

A step of matrix factorisation is a few dozen short kernels, so a GPU would spend its time waiting
for launches, and for the host to read each loss. Here the loss stays on the device: it is summed
there, and where it is not finite a flag there makes Adam skip this update and all that follow, so
that the tables stand as before the bad step when the host looks at last. On CUDA the whole step is
recorded once as a graph and replayed with the next batch copied into its inputs.

Shapes: B examples of a batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from mrl4rec.training.group import Group
from mrl4rec.training.order import Side

WARM_UP = 3
"""Steps before recording: kernels are compiled, Adam's moments and library workspaces made."""
GRAPHS = "MRL4REC_CUDA_GRAPHS"
"""Environment variable: 0 takes the steps one by one on a GPU too, to find an error in one."""

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(users (B,), positives (B,), step ()) → the loss () of the batch, with its gradient."""


@dataclass(frozen=True)
class Losses:
    """What a look at the steps so far tells."""

    total: float
    """Sum of the losses since ``begin``, up to the first that is not finite."""
    bad_step: int | None
    """The first step whose loss was not finite; neither it nor any later one was taken."""
    bad_loss: float


class Tally:
    """Losses of the steps, on the device. Every change is in place: a graph holds the addresses."""

    def __init__(self, device: torch.device) -> None:
        self.step = torch.zeros((), dtype=torch.int64, device=device)
        self.total = torch.zeros((), dtype=torch.float64, device=device)
        self.bad_step = torch.full((), -1, dtype=torch.int64, device=device)
        self.bad_loss = torch.zeros((), dtype=torch.float64, device=device)
        self.stopped = torch.zeros((), dtype=torch.float32, device=device)
        """1 from the first loss that is not finite: Adam's ``found_inf``, which skips updates."""

    def add(self, loss: Tensor) -> None:
        """Take in the loss of ``step``."""
        value = loss.detach().to(torch.float64)
        running, finite = self.stopped == 0, torch.isfinite(value)
        first = running & ~finite
        self.total += value.masked_fill(~(running & finite), 0.0)
        self.bad_step.copy_(torch.where(first, self.step, self.bad_step))
        self.bad_loss.copy_(torch.where(first, value, self.bad_loss))
        self.stopped += first

    def look(self) -> Losses:
        """Wait for the device and read, all in one copy."""
        parts = [self.total, self.bad_step.to(torch.float64), self.bad_loss]
        total, step, loss = torch.stack(parts).tolist()
        return Losses(total, int(step) if step >= 0 else None, loss)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Steps taken inside move nothing and leave the tally as it was."""
        kept = (self.step, self.total, self.bad_step, self.bad_loss, self.stopped)
        before = [tensor.clone() for tensor in kept]
        self.stopped.fill_(1)
        yield
        for tensor, value in zip(kept, before, strict=True):
            tensor.copy_(value)


class Stepper:
    """Takes steps without waiting for any of them, an operation at a time, on any device."""

    def __init__(self, loss: Loss, optimiser: torch.optim.Adam, device: torch.device) -> None:
        """``optimiser`` is a fused Adam; from now on it heeds the tally's flag."""
        self.loss, self.optimiser, self.device = loss, optimiser, device
        self.tally = Tally(device)
        optimiser.found_inf = self.tally.stopped  # type: ignore[attr-defined]

    def begin(self, total: float) -> None:
        """Sum on from ``total``: that of the epoch's steps before a checkpoint, or 0."""
        self.tally.total.fill_(total)

    def take(self, users_B: Side, positives_B: Side, step: int) -> None:
        """Take a step, unless a loss before it was not finite, or its own is not."""
        self.tally.step.fill_(step)
        self._body(torch.as_tensor(users_B), torch.as_tensor(positives_B))

    def look(self) -> Losses:
        """Wait for the steps taken and tell of their losses."""
        return self.tally.look()

    def reset(self) -> None:
        """Forget what hangs on the optimiser's tensors: they were replaced."""

    def _body(self, users_B: Tensor, positives_B: Tensor) -> None:
        loss = self.loss(users_B, positives_B, self.tally.step)
        self.tally.add(loss)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        # at the end, so that none outlives its step: a graph's gradients lie in its own memory
        self.optimiser.zero_grad(set_to_none=True)


class Replayed(Stepper):
    """The same steps from a CUDA graph, recorded at the first and for each new size of batch.

    A step is then three copies into its inputs and one launch.
    """

    def __init__(self, loss: Loss, optimiser: torch.optim.Adam, device: torch.device) -> None:
        super().__init__(loss, optimiser, device)
        self.inputs: tuple[Tensor, Tensor] | None = None
        self.replay: Callable[[], None] = lambda: None

    def take(self, users_B: Side, positives_B: Side, step: int) -> None:
        """Copy the inputs in and replay."""
        given = (torch.as_tensor(users_B), torch.as_tensor(positives_B))
        if self.inputs is None or len(self.inputs[0]) != len(users_B):
            self._record(*given)
        assert self.inputs is not None
        for kept, new in zip(self.inputs, given, strict=True):
            kept.copy_(new)
        self.tally.step.fill_(step)
        self.replay()

    def reset(self) -> None:
        """Record anew before the next step."""
        self.inputs, self.replay = None, lambda: None

    def _record(self, users_B: Tensor, positives_B: Tensor) -> None:
        self.reset()  # an old graph's memory goes first
        inputs = (users_B.clone(), positives_B.clone())
        with self.tally.held():  # the warm-up is of real steps, and must not be among those taken
            self.replay = record(lambda: self._body(*inputs), self.device)
        self.inputs = inputs


def record(body: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """A CUDA graph of ``body``, after a few rounds of it on a side stream, as capture asks for.

    ``body`` reads and writes tensors that stay where they are; it must not wait for the device.
    """
    with torch.cuda.device(device):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                body()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            body()
    return graph.replay


def stepper(loss: Loss, optimiser: torch.optim.Adam, device: torch.device) -> Stepper:
    """Replayed steps on CUDA, unless ``MRL4REC_CUDA_GRAPHS=0``; plain ones elsewhere."""
    graphs = device.type == "cuda" and os.environ.get(GRAPHS, "1") != "0"
    return (Replayed if graphs else Stepper)(loss, optimiser, device)


def runs_ahead(group: Group) -> bool:
    """True where the host need not see each loss: alone, on a GPU. Ranks agree at every step."""
    return group.world == 1 and group.device.startswith("cuda")
