"""What is asked of training, what it comes to on this machine, and its stage key."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass
from typing import Any

from mrl4rec.core import lazy, nodes
from mrl4rec.core.choices import ENGINES, PROTOCOLS, check_seed
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit, stage_key
from mrl4rec.kernels.devices import resolve_device
from mrl4rec.models import AUTO, Fitted, Method, Trained, default_levels, model_folder, parse_levels
from mrl4rec.models.factors import layers_of
from mrl4rec.models.pairwise import Pairwise
from mrl4rec.tables.splits import EVERY_FOLD, FITTED
from mrl4rec.training import warm

with lazy.imports():
    import torch

FUSED_OBJECTIVES = ("bpr", "mrl", "bce")
FUSED_NEGATIVES = ("uniform", "dns", "dns_mn", "ahns")
"""What the fused engine has loops for; negatives a level or once."""
log = logging.getLogger("mrl4rec")


@dataclass(frozen=True)
class TrainRequest:
    """One model to train."""

    method: Method
    levels: tuple[int, ...] | None = None
    """Nested widths; None: the method's default set. Not looked at by methods without levels."""
    seed: int | None = None
    """Not looked at by deterministic methods."""
    protocol: str = "clean"
    epochs: int | None = None
    """At most so many epochs; None: as the method says. Not looked at with ``refit_epochs``."""
    device: str = "auto"
    """``auto``, ``cpu`` or ``cuda``; ``auto`` takes the setting, then a GPU where there is one."""
    devices: int = 1
    """Processes on this machine, one a device. More than one, or more machines than one
    (``Settings.nodes``), start under torchrun."""
    engine: str = "auto"
    """How a step is taken: ``fused``, ``autograd``, or ``auto``: the fastest that can."""
    dtype: str = "float32"
    """Type of the tables while training; the model folder always holds float32."""
    warm: AnyPath | None = None
    """A model folder to start from: the vectors of the users and items it knows. None: a cold
    start. Not looked at by closed forms, which start nowhere."""
    unseen_by: AnyPath | None = None
    """A model folder whose training pairs may not choose the epoch: those among valid are trained
    on instead. For models that are held against a warm start from it, and the warm start itself.
    Not looked at by closed forms and with ``refit_epochs``."""
    refit_epochs: int | None = None
    """Train on every fold, test too, for exactly so many epochs, with no search for the best;
    closed forms are fitted on every fold, whatever the number. None: by the protocol."""


@dataclass(frozen=True)
class Plan:
    """A request with every choice made: all that the vectors are a function of, besides the split.

    Values that a method does not look at are None, so that equal models have equal keys.
    """

    method: Method
    levels: tuple[int, ...] | None
    seed: int | None
    protocol: str
    epochs: int | None
    engine: str | None
    device: str | None
    ranks: int
    dtype: str | None
    warm: str | None = None
    """Stage key of the model it starts from."""
    everything: bool = False
    """Trained on every fold; ``epochs`` is then the exact number of them."""
    unseen_by: str | None = None
    """Stage key of the model whose pairs may not choose the epoch."""

    def as_dict(self) -> dict[str, Any]:
        """JSON values. What a plan is without is left out, so that keys stay as they were."""
        values = {**asdict(self), "method": self.method.as_dict()}
        absent = ("warm", "everything", "unseen_by")
        return {k: v for k, v in values.items() if v or k not in absent}

    @property
    def trained(self) -> Trained:
        """The method, known to be trained by steps."""
        assert isinstance(self.method, Trained)
        return self.method

    @property
    def where(self) -> str:
        """The device that it runs on. A closed form without one runs on the CPU."""
        return self.device or "cpu"

    @property
    def folds(self) -> tuple[str, ...]:
        """The folds that the finished model is trained on."""
        return EVERY_FOLD if self.everything else FITTED

    @property
    def dim(self) -> int:
        """Dimension d of the vectors."""
        return self.trained.width(self.levels)


def plan(request: TrainRequest, settings: Settings) -> Plan:
    """Validate a request and fill in what it leaves open. Raises UsageError."""
    method, protocol = request.method, request.protocol
    if protocol not in PROTOCOLS:
        raise UsageError(
            f"unknown protocol {protocol!r}", where="--protocol", todo=nearest(protocol, PROTOCOLS)
        )
    everything = request.refit_epochs is not None
    if request.refit_epochs is not None and request.refit_epochs < 1:
        what = f"a refit of {request.refit_epochs} epochs was asked for"
        raise UsageError(what, todo="at least 1")
    if not isinstance(method, Trained):
        seed = None if method.deterministic else _seed(method, request.seed)
        on_device = isinstance(method, Fitted) and method.on_device
        there = resolve_device(request.device, settings) if on_device else "cpu"
        # named in the key on a GPU alone, so that the CPU's keys stay as they were
        device = None if there == "cpu" else there
        return Plan(method, None, seed, protocol, None, None, device, 1, None, None, everything)
    if request.engine not in ENGINES:
        raise UsageError(
            f"unknown engine {request.engine!r}",
            where="--engine",
            todo=nearest(request.engine, ENGINES),
        )
    if request.dtype not in ("float32", "float64"):
        raise UsageError(f"dtype is {request.dtype!r}", todo="float32 or float64")
    asked = request.refit_epochs if everything else request.epochs
    epochs = method.epochs if asked is None else asked
    if epochs < 1:
        raise UsageError(f"{epochs} epochs were asked for", where="--epochs", todo="at least 1")
    device = resolve_device(request.device, settings)
    check_devices(device, request.devices)
    nodes.check(settings)
    ranks = request.devices * settings.nodes
    check_ranks(method, ranks)
    levels = _levels(method, request.levels)
    return Plan(
        method=method,
        levels=levels,
        seed=_seed(method, request.seed),
        protocol=protocol,
        epochs=epochs,
        engine=choose_engine(request.engine, method, device, ranks),
        device=device,
        ranks=ranks,
        dtype=request.dtype,
        warm=_warm(request.warm, method, levels),
        everything=everything,
        unseen_by=None if everything else _key_of(request.unseen_by),
    )


def key(dataset: str, split: Commit, request: TrainRequest, settings: Settings) -> str:
    """The stage key of one training. The data set's name is not in it: the split's key says all."""
    return plan_key(split, plan(request, settings))


def plan_key(split: Commit, made: Plan) -> str:
    """The stage key of a plan on a split."""
    return stage_key("train", made.method.code, {"split": split.key}, made.as_dict())


def not_fused(method: Trained, device: str, ranks: int) -> str | None:
    """Why the fused engine cannot take these steps, or None where it can."""
    if not isinstance(method, Pairwise):
        return f"{method.name} has a loss of its own"
    if method.objective not in FUSED_OBJECTIVES or (
        method.objective == "bce" and method.has_levels
    ):
        return f"it has no loop for the objective {method.objective}, {method.negatives.word}"
    if method.negatives.inner.kind not in FUSED_NEGATIVES:
        return f"it has no loop for {method.negatives.word} negatives"
    if device != "cpu":
        return f"it runs on the CPU, and the device is {device}"
    if ranks > 1:
        return f"it is one process, and {ranks} were asked for"
    return None


def choose_engine(asked: str, method: Trained, device: str, ranks: int) -> str:
    """``fused`` or ``autograd``. Raises UsageError where what was asked for cannot be done."""
    reason = not_fused(method, device, ranks)
    if asked == "fused" and reason:
        raise UsageError(
            f"the fused engine cannot train this: {reason}",
            where="--engine fused",
            todo="--engine autograd, or leave --engine out",
        )
    engine = asked if asked != "auto" else "autograd" if reason else "fused"
    if (engine == "autograd" or layers_of(method.model)) and method.lag not in (0, AUTO):
        raise UsageError(
            f"{method.name}.lag is {method.lag}, and {engine} on {method.model} keeps all rows up "
            "to date",
            where=f"--set {method.name}.lag",
            todo="leave lag out: only fused on mf has it"
            + (f"; not fused: {reason}" if reason else ""),
        )
    if asked == "auto" and reason:
        log.info("%s: engine autograd, not fused: %s", method.name, reason)
    return engine


def check_devices(device: str, devices: int) -> None:
    """Raise UsageError where there are fewer devices than asked for."""
    if devices < 1:
        raise UsageError(f"{devices} devices were asked for", where="--devices", todo="at least 1")
    if devices == 1:
        return
    there = os.cpu_count() or 1
    if device == "cuda":
        there = torch.cuda.device_count()
    elif devices <= 4:  # a few ranks on one core are slow, yet right
        return
    if devices > there:
        raise UsageError(
            f"{devices} devices were asked for, and this machine has {there} ({device})",
            where="--devices",
            todo=f"at most {there}",
        )


def check_ranks(method: Trained, ranks: int) -> None:
    """Raise UsageError where several processes would each need the whole batch."""
    if ranks > 1 and not method.sums_over_examples:
        raise UsageError(
            f"{method.name} compares the examples of a batch with each other, and {ranks} "
            "processes would each see a part of it",
            where="--devices, MRL4REC_NODES",
            todo="--devices 1 on one machine",
        )


def _warm(folder: AnyPath | None, method: Trained, levels: tuple[int, ...] | None) -> str | None:
    """The stage key of the model to start from, which must fit."""
    if folder is None:
        return None

    return warm.fitting(folder, method, method.width(levels)).stage_key


def _key_of(folder: AnyPath | None) -> str | None:
    if folder is None:
        return None

    return model_folder.read_card(folder).stage_key


def _levels(method: Trained, levels: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if not method.has_levels:
        return None
    if levels is not None:
        return parse_levels(levels, method.dim)
    if isinstance(method.dim, int):
        return default_levels(method.dim)
    raise UsageError(
        f"{method.name}.dim follows the level set, and none is given", where="--levels"
    )


def _seed(method: Method, seed: int | None) -> int:
    if seed is None:
        raise UsageError(f"{method.name} needs a seed", where="--seeds", todo="e.g. --seeds 0")
    return check_seed(seed, "--seeds")
