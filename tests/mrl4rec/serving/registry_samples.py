"""A world small enough to recommend in by hand: a core, and models that know most of it.

Eight users and six items. The model knows the first six users (one of them, user 2, without a
training pair) and the first five items; the others came later.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from mrl4rec.core import stage
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.kernels.csr import Csr
from mrl4rec.models import model_folder
from mrl4rec.models.scorers import FactorModel, Scorer
from mrl4rec.tables import TABLES
from mrl4rec.tables.table import DELTA_PROPERTIES
from tests.mrl4rec.models import model_samples

DATASET = "d"
USERS = list("dahcbgfe")
"""Ids by user_idx; their order is another than that of the rows."""
ITEMS = [f"i{n}" for n in range(6)]
PAIRS = [
    *[(0, 0), (0, 2), (0, 4), (1, 2), (1, 4), (2, 0), (3, 0), (3, 2), (3, 3)],
    *[(user, item) for user in (4, 5) for item in range(4)],
    *[(6, 2), (6, 5), (7, 0)],
]
"""(user, item) there are now: user 0 has had item 4 since the model was trained."""

SEEN = [[0, 2], [2, 4], [], [0, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]
"""Training pairs of the model's six users; by item: 4, 2, 5, 3, 1."""
USER_VECTORS = [(1, 2), (-1, 2), (9, 9), (1, 0), (2, 1), (1, 1)]
ITEM_VECTORS = [(4, 0), (3, 1), (2, 2), (1, 3), (0, 4)]

FULL = {
    "d": [("i3", 7), ("i1", 5), ("i5", None)],  # i4 scores 8, and was had since
    "a": [("i3", 5), ("i1", -1), ("i0", -4)],
    "h": [("i2", 5), ("i3", 3), ("i1", 2)],  # by popularity, less i0
    "c": [("i1", 3), ("i4", 0), ("i5", None)],
    "b": [("i4", 4), ("i5", None)],
    "g": [("i4", 4), ("i5", None)],
    "f": [("i0", 4), ("i3", 3), ("i1", 2)],  # by popularity, less i2 and i5
    "e": [("i2", 5), ("i3", 3), ("i1", 2)],  # by popularity, less i0
}
"""The three best of each user, by hand."""
NARROW = FULL | {
    "d": [("i1", 3), ("i3", 1), ("i5", None)],
    "a": [("i3", -1), ("i1", -3), ("i0", -4)],
    "b": [("i4", 0), ("i5", None)],
    "g": [("i4", 0), ("i5", None)],
}
"""The same by the first coordinate alone."""
BY_POPULARITY = {"h", "f", "e"}


def core(
    settings: Settings,
    users: list[str] = USERS,
    items: list[str] = ITEMS,
    pairs: list[tuple[int, int]] = PAIRS,
    key: str = "core",
) -> Commit:
    """Write a k-core as its stage does: users, items, then interactions with the commit."""
    said = stage.properties(stage.canonical({"stage": "kcore", "key": key}))
    outputs = {}
    for side, ids in (("user", users), ("item", items)):
        rows = {f"{side}_idx": list(range(len(ids))), f"{side}_id": ids}
        outputs[f"{side}s"] = overwrite(settings, f"{side}s", rows, said)
    commit = Commit("kcore", key, "interactions", -1, outputs, {"k": 1})
    rows = {
        "user_idx": [user for user, _ in pairs],
        "item_idx": [item for _, item in pairs],
        "reviewed_at": [None] * len(pairs),
    }
    version = overwrite(settings, "interactions", rows, stage.properties(commit.metadata()))
    return replace(commit, version=version)


def overwrite(settings: Settings, table: str, rows: dict[str, list[Any]], said: Any) -> int:
    """Replace a table's rows; its version."""
    uri = settings.storage.table_uri(DATASET, table)
    write_deltalake(
        uri,
        pa.table(rows, schema=TABLES[table].schema),
        mode="overwrite",
        configuration=DELTA_PROPERTIES,
        commit_properties=said,
    )
    return int(DeltaTable(uri).version())


def factors(sign: int = 1) -> FactorModel:
    """The model by hand; ``sign`` −1 turns its lists around."""
    users = sign * np.array(USER_VECTORS, dtype=np.float32)
    return FactorModel(users, np.array(ITEM_VECTORS, dtype=np.float32), widths=(1, 2))


def seen(lists: list[list[int]] = SEEN, n_items: int = 5) -> Csr:
    """The model's training pairs."""
    return model_samples.rows(*lists, n_items=n_items)


def model(settings: Settings, letter: str = "a", scorer: Scorer | None = None, **card: Any) -> str:
    """Save a model of the first users and items; its stage key, 64 times a letter."""
    key, scorer = letter * 64, scorer or factors()
    ids = (np.array(USERS[: scorer.n_users]), np.array(ITEMS[: scorer.n_items]))
    said = model_samples.card(stage_key=key, dataset=DATASET, **card)
    model_folder.save(folder(settings, key), scorer, said, ids, seen(n_items=scorer.n_items))
    return key


def folder(settings: Settings, key: str) -> Path:
    """Where a model lies."""
    return settings.storage.model_dir(DATASET, key)


def lists(settings: Settings, width: int | None = None) -> dict[str, list[tuple[str, Any]]]:
    """The lists in the table at a width, by user: (item, score), best first."""
    rows = table(settings).to_pyarrow_table().sort_by([("user_id", "ascending"),
                                                       ("rank", "ascending")])  # fmt: skip
    out: dict[str, list[tuple[str, Any]]] = {}
    for row in rows.to_pylist():
        if row["width"] == width:
            found = out.setdefault(row["user_id"], [])
            found.append((row["item_id"], row["score"]))
            assert row["rank"] == len(found)
    return out


def table(settings: Settings) -> DeltaTable:
    """The table of recommendations."""
    return DeltaTable(settings.storage.table_uri(DATASET, "recommendations"))
