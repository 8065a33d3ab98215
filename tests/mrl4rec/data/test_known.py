"""What users have had although their rating kept it out of the core."""

from __future__ import annotations

import numpy as np

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data import interactions, known
from tests.flows import warehouse

DATASET = warehouse.DATASET


def liked(settings: Settings) -> Commit:
    """A split of the pairs (u0, i0) and (u1, i1), which are rated 4 and more; reviews hold more."""
    ids = {"user_id": ["u0", "u0", "u1", "u1", "u2"], "item_id": ["i0", "i1", "i1", "i0", "i0"]}
    ratings = {"rating": [5.0, 1.0, 4.0, None, 2.0], "reviewed_at": [None] * 5}
    place = {"source_sha256": ["a"] * 5, "record_no": list(range(5))}
    warehouse.write(settings, "reviews", {**ids, **ratings, **place})
    source = {
        "source_sha256": ["a"], "source_no": [0], "path": ["a"], "bytes": [1], "format": ["csv"],
        "mapping": [None], "rows_read": [5], "rows_accepted": [5], "rows_duplicate": [0],
        "rows_quarantined": [0],
    }  # fmt: skip
    warehouse.marker(settings, Commit("ingest", "k1", "sources", -1, {"reviews": 0}), source)
    for side in ("user", "item"):
        rows = {f"{side}_idx": [0, 1], f"{side}_id": [f"{side[0]}0", f"{side[0]}1"]}
        warehouse.write(settings, f"{side}s", rows)
    pairs = {"user_idx": [0, 1], "item_idx": [0, 1], "reviewed_at": [None] * 2}
    told = {"k": 0, "min_rating": 4.0}
    core = Commit("kcore", "k2", "interactions", -1, {"users": 0, "items": 0}, told)
    core = warehouse.marker(settings, core, pairs)
    outputs = {"interactions": core.version, "users": 0, "items": 0}
    folds = {"fold": ["train", "test"], "strategy": ["random"] * 2, "split_seed": [0] * 2}
    split = Commit("split", "k3", "splits", -1, outputs, {"strategy": "random"})
    return warehouse.marker(settings, split, {**pairs, **folds})


def test_a_pair_that_was_rated_too_low_is_known_too(settings: Settings) -> None:
    split = liked(settings)
    data = interactions.load(settings, DATASET, split)
    found = known.consumed(settings, DATASET, split, data)
    assert [found.row(user).tolist() for user in (0, 1)] == [[0, 1], [0, 1]]
    core = Commit("kcore", "k", "interactions", 0, {}, {"k": 0, "min_rating": 4.0})
    users, items = known.left_out(settings, DATASET, core, data.user_ids, data.item_ids)
    assert sorted(zip(users.tolist(), items.tolist(), strict=True)) == [(0, 1), (1, 0)]
    ids = np.array(["u1"], dtype=object), np.array(["i1"], dtype=object)
    assert [len(rows) for rows in known.left_out(settings, DATASET, core, *ids)] == [0, 0]


def test_where_all_ratings_count_it_is_the_folds(settings: Settings) -> None:
    split = warehouse.build(settings).split
    data = interactions.load(settings, DATASET, split)
    assert known.consumed(settings, DATASET, split, data).degrees.tolist() == [5] * 20
