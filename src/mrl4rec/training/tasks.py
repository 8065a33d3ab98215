"""The phases of a protocol: on which pairs to train, and on which fold to look.

``paper`` trains on train ∪ valid and looks at test. ``clean`` trains on train and looks at valid,
then is fitted anew on train ∪ valid, without evaluation (docs/methods.md#protocols). A
refit on everything is that last phase alone, on every fold, whatever the protocol.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.data.interactions import Interactions
from mrl4rec.data.sequences import Histories
from mrl4rec.kernels.csr import Csr
from mrl4rec.models import Trained
from mrl4rec.models.sequential.base import Sequential
from mrl4rec.tables.splits import BEFORE, EVERY_FOLD, FITTED

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
    """What an epoch goes over: ``pairs``, ``stretches`` of them, each beginning where the last one
    ended, or ``users``, each with one of its pairs."""
    epoch_steps: Callable[[int], int] = int
    """Steps an epoch, of the steps that the examples fill."""
    histories: Histories | None = None
    """The events to train on, where the method reads sequences. ``items_P`` are then the places of
    targets among them, and ``users_P`` their rows."""
    before: Histories | None = None
    """What the users of the fold to look at had before."""

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
        return len(self.begins_E) if self.examples == "users" else self.n_pairs

    def steps(self, batch: int) -> tuple[int, int]:
        """(steps an epoch, examples a step): a last partial batch is dropped, unless it is the
        only one.
        """
        one_pass = max(1, self.n_examples // batch)
        return self.epoch_steps(one_pass), min(batch, self.n_examples)


def tasks(
    data: Interactions, protocol: str, method: Trained | None = None, *, everything: bool = False
) -> list[Task]:
    """The phases in order; without a method those of one that reads pairs.

    Raises Mrl4recError where a fold that a phase needs is empty.
    """
    if everything:
        phases = [_phase(data, method, "refit", EVERY_FOLD, None)]
    elif protocol == "paper":
        phases = [_phase(data, method, "search", FITTED, "test")]
    else:
        phases = [
            _phase(data, method, "search", ("train",), "valid"),
            _phase(data, method, "refit", FITTED, None),
        ]
    if method is None:
        return phases
    return [
        replace(task, examples=method.examples, epoch_steps=method.epoch_steps) for task in phases
    ]


def _phase(
    data: Interactions,
    method: Trained | None,
    phase: str,
    folds: tuple[str, ...],
    truth: str | None,
) -> Task:
    if isinstance(method, Sequential):
        return _of_sequences(data, method, phase, folds, truth)
    return _of_pairs(data, phase, folds, truth)


def _of_pairs(data: Interactions, phase: str, folds: tuple[str, ...], truth: str | None) -> Task:
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
        raise _nothing_to_train_on(folds)
    found = _truth(data, truth)
    if found is not None and data.sequences is not None and truth is not None:
        seen = data.csr(*BEFORE[truth])
    return Task(
        phase, users[kept].astype(np.int64), items[kept].astype(np.int64), seen, found, truth
    )


def _of_sequences(
    data: Interactions, method: Sequential, phase: str, folds: tuple[str, ...], truth: str | None
) -> Task:
    """Examples of a method that reads sequences: every target with enough before it, or (where all
    targets are taken at once) every sequence with any, as the place of its last event.
    """
    assert data.sequences is not None, "refused before: it needs sequences"
    histories = data.sequences.only(*folds)
    rows = np.repeat(np.arange(histories.n_rows, dtype=np.int64), histories.lengths)
    places = np.arange(len(rows), dtype=np.int64)
    kept = places - histories.indptr[rows] >= method.least
    if method.targets == "all":
        kept &= places == histories.indptr[rows + 1] - 1
    if not kept.any():
        raise _nothing_to_train_on(folds, f" with {method.least} items before it")
    found = _truth(data, truth)
    known = data.csr(*(BEFORE[truth] if truth else folds))
    before = data.sequences.before(truth) if truth else None
    return Task(
        phase, rows[kept], places[kept], known, found, truth, histories=histories, before=before
    )


def _truth(data: Interactions, fold: str | None) -> Csr | None:
    """The pairs of the fold to look at."""
    if fold is None:
        return None
    found = data.csr(fold)
    if len(found.indices):
        return found
    raise Mrl4recError(
        f"the {fold} fold is empty, so no epoch can be chosen on it",
        where="table splits",
        todo="take more data or another --split"
        + (", or --protocol paper" if fold == "valid" else ", or --protocol clean"),
    )


def _nothing_to_train_on(folds: tuple[str, ...], more: str = "") -> Mrl4recError:
    return Mrl4recError(
        f"there is no pair to train on in {' and '.join(folds)}{more}",
        where="table splits",
        todo="take more data, a lower --kcore, or another --split",
    )
