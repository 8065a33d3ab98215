"""Valid pairs that an older model was fitted on: they may not choose the epoch of its successors.

A model that was refitted on everything has seen the valid pairs of its time, and their fold is the
same in every later split (it hangs on the pair alone). A warm start from it knows them by heart: it
would look best before the first step. So they are trained on, and what is left of valid chooses.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mrl4rec.core.files import AnyPath
from mrl4rec.data.interactions import Interactions
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder import Loaded
from mrl4rec.tables.splits import FOLDS

TRAIN, VALID = FOLDS.index("train"), FOLDS.index("valid")


def unseen(data: Interactions, folder: AnyPath) -> Interactions:
    """The same pairs; the valid ones that the model in ``folder`` was fitted on are train."""
    fold_P = data.fold_P.copy()
    fold_P[(fold_P == VALID) & known_pairs(data, model_folder.load(folder))] = TRAIN
    return replace(data, fold_P=fold_P)


def known_pairs(data: Interactions, older: Loaded) -> NDArray[np.bool_]:
    """(P,) whether the older model was fitted on the pair."""
    users_P = _places(data.user_ids, older.ids.user_ids)[data.users_P]
    items_P = _places(data.item_ids, older.ids.item_ids)[data.items_P]
    seen = older.seen
    owners = np.repeat(np.arange(seen.n_rows, dtype=np.int64), seen.degrees)
    held = owners * seen.n_columns + seen.indices  # ascending, as the rows are
    wanted = np.where((users_P >= 0) & (items_P >= 0), users_P * seen.n_columns + items_P, -1)
    at = np.searchsorted(held, wanted)
    return (at < len(held)) & (held[np.minimum(at, len(held) - 1)] == wanted)


def _places(ids: NDArray[np.object_], older: NDArray[np.object_]) -> NDArray[np.int64]:
    """The row of each id in the older model; −1 for one it lacks."""
    found: Any = pc.index_in(pa.array(ids, pa.string()), value_set=pa.array(older, pa.string()))
    return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
