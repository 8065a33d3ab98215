"""Models that score by what a user had: bound to other histories than those of their folder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError
from mrl4rec.models.scorers import ItemItemModel
from mrl4rec.models.sequential.model import SequenceModel

if TYPE_CHECKING:
    from mrl4rec.data.sequences import Histories
    from mrl4rec.kernels.csr import Csr
    from mrl4rec.models.scorers import Scorer


def reads(model: Scorer) -> bool:
    """Whether a model scores by histories, and not by fixed vectors of users or for all alike."""
    return isinstance(model, SequenceModel | ItemItemModel)


def reads_order(model: Scorer) -> bool:
    """Whether the order of a history matters, so that pairs cannot stand for it."""
    return isinstance(model, SequenceModel) or (isinstance(model, ItemItemModel) and model.last > 0)


def bound(model: Scorer, rows: Histories) -> Scorer:
    """The model for the users of these histories, one a row.

    Raises UsageError for a model that reads none.
    """
    if isinstance(model, SequenceModel):
        return model.bound(rows)
    if isinstance(model, ItemItemModel):
        return replace(model, history=model.read(rows))
    raise UsageError(
        f"a model of kind {model.kind} reads no histories: it scores for the users it was trained "
        "on, or for all alike",
        todo="ask by a user's id, or take a model that reads them (SASRec, MTMI, LastItem, EASE)",
    )


def known_users(model: Scorer, seen: Csr) -> NDArray[np.bool_]:
    """(U,) the users that a model has something of: a history, or else a training pair."""
    if isinstance(model, SequenceModel):
        return model.histories.lengths > 0
    if isinstance(model, ItemItemModel):
        return model.history.degrees > 0
    return seen.degrees > 0
