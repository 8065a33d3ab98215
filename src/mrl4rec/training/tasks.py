"""The phases of a protocol: on which pairs to train, and on which fold to look.

``paper`` trains on train ∪ valid and looks at test. ``clean`` trains on train and looks at valid,
then is fitted anew on train ∪ valid, without evaluation (docs/methods.md#protocols). A
refit on everything is that last phase alone, on every fold, whatever the protocol.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.data.interactions import FOLDS, Interactions
from mrl4rec.kernels.csr import Csr
from mrl4rec.training.request import FITTED

log = logging.getLogger("mrl4rec")


@dataclass(frozen=True, eq=False)
class Task:
    """One phase: pairs to train on and, while searching for the epoch, the fold to look at."""

    phase: str
    """``search`` or ``refit``."""
    users_P: NDArray[np.int64]
    """Users of the training pairs, sorted by (user, item)."""
    items_P: NDArray[np.int64]
    seen: Csr
    """The same pairs as rows: never drawn as negatives, masked when looking."""
    truth: Csr | None
    truth_fold: str | None
    examples: str = "pairs"
    """What an epoch goes over: ``pairs``, or ``users``, each with one of its pairs."""
    epoch_steps: int = 0
    """Steps an epoch; 0: as many as the examples fill."""

    @property
    def n_pairs(self) -> int:
        """Number of training pairs."""
        return len(self.users_P)

    @cached_property
    def begins_E(self) -> NDArray[np.int64]:
        """Where each user's pairs begin, of the users that have any."""
        return np.flatnonzero(np.diff(self.users_P, prepend=-1))

    @property
    def n_examples(self) -> int:
        """Number of examples: pairs, or users with any."""
        return self.n_pairs if self.examples == "pairs" else len(self.begins_E)

    def steps(self, batch: int) -> tuple[int, int]:
        """(steps an epoch, examples a step): a last partial batch is dropped, unless it is the
        only one.
        """
        steps = self.epoch_steps or max(1, self.n_examples // batch)
        return steps, min(batch, self.n_examples)


def tasks(
    data: Interactions,
    protocol: str,
    *,
    everything: bool = False,
    examples: str = "pairs",
    epoch_steps: int = 0,
) -> list[Task]:
    """The phases in order. Raises Mrl4recError where a fold that a phase needs is empty."""
    if everything:
        phases = [_task(data, "refit", FOLDS, None)]
    elif protocol == "paper":
        phases = [_task(data, "search", FITTED, "test")]
    else:
        phases = [_task(data, "search", ("train",), "valid"), _task(data, "refit", FITTED, None)]
    return [replace(task, examples=examples, epoch_steps=epoch_steps) for task in phases]


def _task(data: Interactions, phase: str, folds: tuple[str, ...], truth: str | None) -> Task:
    users, items = data.pairs(*folds)
    seen = data.csr(*folds)
    kept = seen.open_rows[users]
    if not kept.all():
        log.warning(
            "%d users have seen every item: their %d pairs have no negative and are left out",
            len(np.unique(users[~kept])),
            int((~kept).sum()),
        )
    if not kept.any():
        raise Mrl4recError(
            f"there is no pair to train on in {' and '.join(folds)}",
            where="table splits",
            todo="take more data, a lower --kcore, or another --split",
        )
    found = data.csr(truth) if truth else None
    if found is not None and len(found.indices) == 0:
        raise Mrl4recError(
            f"the {truth} fold is empty, so no epoch can be chosen on it",
            where="table splits",
            todo="take more data or another --split"
            + (", or --protocol paper" if truth == "valid" else ", or --protocol clean"),
        )
    return Task(
        phase, users[kept].astype(np.int64), items[kept].astype(np.int64), seen, found, truth
    )
