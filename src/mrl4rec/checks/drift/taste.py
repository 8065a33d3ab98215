"""Whether a dump has to do with the tastes known so far: the champion's AUC on its new pairs.

For a new pair of a user and an item that the champion knows: does it score the item above another
one that is as popular and that the user has not had? .5 is what it reaches on shuffled ids.

Shapes: P pairs, I items of the champion.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mrl4rec.core.hashing import chain, chain_array
from mrl4rec.kernels.csr import Csr, csr
from mrl4rec.models.model_folder import Loaded
from mrl4rec.models.scorers import FactorModel, ItemItemModel, Scorer

MOST_PAIRS = 20_000
"""More than so many are drawn from, by hash."""
NEIGHBOURS = 0.02
"""Of all known items, the share on either side that counts as equally popular; at least 5."""
TRIES = 8
"""Draws for another item before a pair is left out."""
BLOCK_BYTES = 64 << 20
ROOM = 0x6472696674  # "drift": separates these hashes from all other uses

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Taste:
    """What the champion makes of the new pairs."""

    auc: float
    pairs: int
    """Pairs it rests on."""

    @property
    def error(self) -> float:
        """Standard error of the AUC, at most."""
        return 0.5 / sqrt(self.pairs)

    @property
    def upper(self) -> float:
        """The AUC with two standard errors in its favour."""
        return self.auc + 2 * self.error


def taste(rows: pa.Table, champion: Loaded, seed: int = 0) -> Taste | None:
    """The champion's AUC on the new pairs of ``rows`` (user_id, item_id).

    None where nothing can be said: it knows no pair, it tells no user from another, or it looks at
    a user's last item alone, which says little of what comes some items later.
    """
    model, _, ids, seen, _ = champion
    if model.kind == "counts" or (isinstance(model, ItemItemModel) and model.last > 0):
        return None
    users_P, items_P = _known_pairs(rows, ids.user_ids, ids.item_ids, seen)
    if not len(users_P):
        return None
    word = chain(ROOM, seed)
    key_P = users_P * seen.n_columns + items_P
    chosen = np.sort(np.argsort(chain_array(word, key_P), kind="stable")[:MOST_PAIRS])
    new = csr(users_P, items_P, seen.n_rows, seen.n_columns)
    users_P, items_P = users_P[chosen], items_P[chosen]
    others_P = _others(users_P, items_P, seen, new, word)
    found = others_P >= 0
    if not found.any():
        return None
    users_P, items_P, others_P = users_P[found], items_P[found], others_P[found]
    gaps_P = _scores(model, users_P, items_P, others_P)
    return Taste(float(((gaps_P > 0) + 0.5 * (gaps_P == 0)).mean()), len(gaps_P))


def _known_pairs(rows: pa.Table, user_ids: Any, item_ids: Any, seen: Csr) -> tuple[Ints, Ints]:
    """Different pairs of known users and items that the champion was not trained on."""
    users = _places(rows["user_id"], user_ids)
    items = _places(rows["item_id"], item_ids)
    pairs_I = np.bincount(seen.indices, minlength=seen.n_columns)
    there = (users >= 0) & (items >= 0)
    users, items = users[there], items[there]
    there = (seen.degrees[users] > 0) & (pairs_I[items] > 0)
    key = np.unique(users[there] * seen.n_columns + items[there])
    users, items = key // seen.n_columns, key % seen.n_columns
    fresh = ~_has(seen, users, items)
    return users[fresh], items[fresh]


def _places(column: pa.ChunkedArray, ids: Any) -> Ints:
    """Row of each id in the champion's tables; −1 for one it lacks."""
    found = pc.index_in(column, value_set=pa.array(ids, pa.string()))
    return np.asarray(found.fill_null(-1).to_numpy(), dtype=np.int64)


def _has(rows: Csr, users_P: Ints, items_P: Ints) -> NDArray[np.bool_]:
    """(P,) whether the pair is there."""
    owners = np.repeat(np.arange(rows.n_rows, dtype=np.int64), rows.degrees)
    held = owners * rows.n_columns + rows.indices  # ascending, as the rows are
    wanted = users_P * rows.n_columns + items_P
    at = np.minimum(np.searchsorted(held, wanted), max(len(held) - 1, 0))
    return held[at] == wanted if len(held) else np.zeros(len(wanted), dtype=bool)


def _others(users_P: Ints, items_P: Ints, seen: Csr, new: Csr, word: int) -> Ints:
    """(P,) an item about as popular that the user has neither had nor takes now; −1: none found."""
    pairs_I = np.bincount(seen.indices, minlength=seen.n_columns)
    order = np.lexsort((chain_array(word, np.arange(len(pairs_I))), pairs_I))
    known = order[pairs_I[order] > 0]
    rank_I = np.full(len(pairs_I), -1, dtype=np.int64)
    rank_I[known] = np.arange(len(known))
    reach = max(5, int(NEIGHBOURS * len(known)))
    low = np.maximum(rank_I[items_P] - reach, 0)
    high = np.minimum(rank_I[items_P] + reach + 1, len(known))
    out = np.full(len(users_P), -1, dtype=np.int64)
    open_ = np.arange(len(users_P))
    for attempt in range(TRIES):
        key = users_P[open_] * seen.n_columns + items_P[open_]
        dice = chain_array(chain(word, attempt), key)
        span = (high - low)[open_].astype(np.uint64)
        drawn = known[low[open_] + (dice % span).astype(np.int64)]
        taken = _has(seen, users_P[open_], drawn) | _has(new, users_P[open_], drawn)
        out[open_[~taken]] = drawn[~taken]
        open_ = open_[taken]
    return out


def _scores(model: Scorer, users_P: Ints, items_P: Ints, others_P: Ints) -> NDArray[np.float64]:
    """(P,) score of the pair's item minus that of the other."""
    if isinstance(model, FactorModel):
        gap_PD = model.item_vectors[items_P] - model.item_vectors[others_P]
        return np.einsum("pd,pd->p", model.user_vectors[users_P], gap_PD, dtype=np.float64)
    out = np.empty(len(users_P))
    block = max(1, BLOCK_BYTES // (4 * model.n_items))
    for start in range(0, len(users_P), block):
        part = slice(start, start + block)
        scores_BI = model.scores(users_P[part])
        row = np.arange(len(scores_BI))
        out[part] = scores_BI[row, items_P[part]] - scores_BI[row, others_P[part]]
    return out
