"""Tables ``sequences`` and ``sequence_splits``: each user's items in order, and their folds."""

from __future__ import annotations

import pyarrow as pa

from mrl4rec.tables.expectation import Expectation, Suite, none
from mrl4rec.tables.splits import EVERY_FOLD, SEQUENCE_FOLDS, SPLIT_SUITE
from mrl4rec.tables.table import Column, Table

_EVENT = {
    "sequence_id": Column(pa.int32(), "row of users"),
    "position": Column(pa.int32(), "place in the sequence, from 0, the oldest first"),
    "item_idx": Column(pa.int32(), "row of items"),
    "reviewed_at": Column(
        pa.timestamp("us", tz="UTC"), "UTC; null when the source has no time", nullable=True
    ),
}

SEQUENCES = Table(
    name="sequences",
    key=("sequence_id", "position"),
    meaning="each user's items in order of time, or a list's in its own order; its stage's marker",
    columns={
        **_EVENT,
        "user_id": Column(
            pa.string(), "the dump's user id; null for a list without one", nullable=True
        ),
    },
)

SEQUENCE_SPLITS = Table(
    name="sequence_splits",
    key=("sequence_id", "position"),
    meaning="every event of the sequences with its fold",
    columns={
        **_EVENT,
        "fold": Column(pa.string(), ", ".join(EVERY_FOLD)),
        "strategy": Column(pa.string(), "how the fold was chosen"),
        "split_seed": Column(pa.int64(), "seed of the split's hash"),
    },
)

SEQUENCES_SUITE = Suite(
    name="sequences",
    tables=("sequences",),
    expectations=(
        none("columns", "columns_amiss", "columns and their types are as declared"),
        Expectation("not_empty", "rows", "there is at least one event", low=1),
        none(
            "positions_dense",
            "gaps",
            "the positions of a sequence are 0, 1, 2 …, each once",
            listing="SELECT sequence_id, count(*) AS events, count(DISTINCT position) AS positions,"
            " min(position) AS first, max(position) AS last FROM sequences GROUP BY sequence_id "
            "HAVING min(position) <> 0 OR max(position) <> count(*) - 1 "
            "OR count(DISTINCT position) <> count(*)",
        ),
        none(
            "in_order",
            "steps_back",
            "no event is older than the one before it, and all events of a sequence have a time "
            "or none has",
            listing="SELECT * FROM (SELECT *, lag(reviewed_at) OVER "
            "(PARTITION BY sequence_id ORDER BY position) AS before, "
            "count(reviewed_at) OVER (PARTITION BY sequence_id) AS timed, "
            "count(*) OVER (PARTITION BY sequence_id) AS n FROM sequences) AS e "
            "WHERE reviewed_at < before OR timed NOT IN (0, n)",
        ),
        none(
            "not_too_long",
            "too_long",
            "no sequence is longer than was asked for",
            listing="SELECT sequence_id, count(*) AS events FROM sequences GROUP BY sequence_id "
            "HAVING count(*) > {max_length}",
        ),
        none(
            "of_the_core",
            "strangers",
            "every event is of a user and an item of the core",
            listing="SELECT s.* FROM sequences AS s ANTI JOIN interactions AS p "
            "ON s.sequence_id = p.user_idx AND s.item_idx = p.item_idx",
        ),
    ),
)

SEQUENCE_SPLIT_EXPECTATIONS = (
    none(
        "events_unique",
        "duplicate_events",
        "no event is there twice",
        listing="SELECT sequence_id, position, count(*) AS rows FROM sequence_splits "
        "GROUP BY sequence_id, position HAVING count(*) > 1",
    ),
    none(
        "events_kept",
        "events_changed",
        "every event is as it is in sequences, and none is missing or new",
        listing="SELECT s.*, e.item_idx AS other_item FROM sequence_splits AS s FULL JOIN "
        "sequences AS e ON s.sequence_id = e.sequence_id AND s.position = e.position "
        "WHERE s.item_idx IS DISTINCT FROM e.item_idx "
        "OR s.reviewed_at IS DISTINCT FROM e.reviewed_at",
    ),
    none(
        "no_future",
        "events_after_targets",
        "nothing that is read or trained on comes after a target of its sequence, and nothing of "
        "valid after one of test",
        listing="SELECT * FROM (SELECT *, max(CASE fold WHEN 'test' THEN 2 WHEN 'valid' THEN 1 "
        "ELSE 0 END) OVER (PARTITION BY sequence_id ORDER BY position) AS reached "
        "FROM sequence_splits) AS e WHERE reached > "
        "CASE fold WHEN 'test' THEN 2 WHEN 'valid' THEN 1 ELSE 0 END",
    ),
    none(
        "no_empty_history",
        "targets_without_history",
        "every user with targets had something before them",
        listing="SELECT sequence_id, position, fold FROM sequence_splits "
        "WHERE position = 0 AND fold IN ('valid', 'test')",
    ),
)


def sequence_split_suite() -> Suite:
    """The suite of a split of sequences: of its pairs, and of its events."""
    kept = [
        SEQUENCE_FOLDS if asked.name == SEQUENCE_FOLDS.name else asked
        for asked in SPLIT_SUITE.expectations
        if asked.name != "valid_share"  # no share of pairs is asked for
    ]
    tables = ("splits", "sequence_splits")
    return Suite("split", tables, (*kept, *SEQUENCE_SPLIT_EXPECTATIONS))
