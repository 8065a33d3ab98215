"""Pairs that are known and not in a core: reviews whose rating was too low for it, or missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray

from mrl4rec.core import stage
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import read_table, table_at
from mrl4rec.data.interactions import Interactions
from mrl4rec.kernels.csr import Csr, csr
from mrl4rec.tables import versions
from mrl4rec.tables.splits import EVERY_FOLD

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows of users and of items."""


def consumed(settings: Settings, dataset: str, split: Commit, data: Interactions) -> Csr:
    """(U, I) all pairs of a split's users and items that are known: those of all its folds, and
    those that ``--min-rating`` left out of its core.
    """
    cores = stage.history(settings.storage.table_uri(dataset, "interactions"), "interactions")
    version = split.outputs.get("interactions")
    core = next((core for core in cores if core.version == version), None)
    users, items = data.pairs(*EVERY_FOLD)
    if core is not None:
        more = left_out(settings, dataset, core, data.user_ids, data.item_ids)
        both = [rows.astype(np.int64) * data.n_items + of for rows, of in ((users, items), more)]
        keys = np.union1d(*both)
        users, items = keys // data.n_items, keys % data.n_items
    return csr(users, items, data.n_users, data.n_items)


def source(settings: Settings, dataset: str, core: Commit) -> Commit | None:
    """The ingest whose reviews hold what a core left out; None where all ratings count."""
    if core.summary.get("min_rating") is None:
        return None
    return versions.newest_good(settings, dataset, "sources")


def left_out(settings: Settings, dataset: str, core: Commit, user_ids: Any, item_ids: Any) -> Pairs:
    """What ``--min-rating`` left out of a core, of the newest good reviews; ids are by row.

    The same pair may be there twice, and in the core too. Nothing where all ratings count.
    """
    ingest = source(settings, dataset, core)
    if ingest is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    uri = settings.storage.table_uri(dataset, "reviews")
    delta = table_at(uri, ingest.table_version("reviews"))
    least = float(core.summary["min_rating"])
    rating = ds.field("rating")
    table = read_table(delta, ["user_id", "item_id"], (rating < least) | rating.is_null())
    rows = [
        pc.index_in(table[name].cast(pa.string()), value_set=pa.array(ids, pa.string()))
        for name, ids in (("user_id", user_ids), ("item_id", item_ids))
    ]
    there = pc.and_(*(pc.is_valid(column) for column in rows))
    users, items = (column.filter(there).to_numpy().astype(np.int64) for column in rows)
    return users, items
