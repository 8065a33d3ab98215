"""Interactions to train on: the authors' split files, planted tastes, or pairs by a hash."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mrl4rec.core.hashing import chain, chain_array
from mrl4rec.data import split_files
from mrl4rec.data.interactions import Interactions, from_pairs
from mrl4rec.data.synthetic import world
from mrl4rec.data.synthetic.spec import Planted

ROOM = 0x62656E6368  # "bench": its hashes are its own
TEST_USERS = 20
"""So few held-out pairs that looking at a table of 10⁶ items stays cheap."""


def interactions(
    kind: str, folder: str = "", users: int = 0, items: int = 0, pairs: int = 0
) -> Interactions:
    """``split`` (files in ``folder``), ``planted`` or ``random`` pairs of the sizes given."""
    if kind == "split":
        return _from_split(Path(folder))
    rows = _planted(users, items, pairs) if kind == "planted" else _random(users, items, pairs)
    if kind == "planted":
        held = chain_array(chain(ROOM, 1), np.arange(len(rows))) % np.uint64(10) < 2
    else:
        held = np.zeros(len(rows), dtype=bool)
        held[np.unique(rows[:, 0], return_index=True)[1][:TEST_USERS]] = True
    return _interactions(rows[~held], rows[held], users, items)


def _from_split(folder: Path) -> Interactions:
    table = split_files.read(split_files.find(folder))
    rows = np.stack([table["user_idx"].to_numpy(), table["item_idx"].to_numpy()], axis=1)
    test = np.array(table["fold"].to_pylist()) == "test"
    n_users, n_items = rows.max(axis=0) + 1
    return _interactions(rows[~test], rows[test], int(n_users), int(n_items))


def _interactions(train: np.ndarray, test: np.ndarray, n_users: int, n_items: int) -> Interactions:
    # The protocol `paper` trains on train and valid together, so valid may hold a single pair.
    fit = [(int(user), int(item)) for user, item in train.tolist()]
    held = [(int(user), int(item)) for user, item in test.tolist()]
    return from_pairs(fit[1:], fit[:1], held, n_users, n_items)


def _planted(users: int, items: int, pairs: int) -> np.ndarray:
    spec = Planted(users=users, items=items, reviews=pairs)
    made = world.build(spec)
    user, item, _, _ = made.rows(np.arange(pairs))
    return np.stack([user, item.astype(np.int64)], axis=1)


def _random(users: int, items: int, pairs: int) -> np.ndarray:
    """Distinct pairs, the same number for every user, items by a hash."""
    user = np.arange(pairs) % users
    item = (chain_array(chain(ROOM, 2), np.arange(pairs)) % np.uint64(items)).astype(np.int64)
    return np.unique(np.stack([user, item], axis=1), axis=0)
