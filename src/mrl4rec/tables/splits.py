"""Table ``splits``: every interaction with its fold; the marker of the split stage."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from mrl4rec.tables.expectation import Expectation, Suite, none
from mrl4rec.tables.table import Column, Table

SPLITS = Table(
    name="splits",
    key=("user_idx", "item_idx"),
    meaning="every interaction with its fold; the marker of the split stage",
    columns={
        "user_idx": Column(pa.int32(), "row of users"),
        "item_idx": Column(pa.int32(), "row of items"),
        "reviewed_at": Column(
            pa.timestamp("us", tz="UTC"), "first time of the pair, UTC", nullable=True
        ),
        "fold": Column(pa.string(), "train, valid or test"),
        "strategy": Column(pa.string(), "how the fold was chosen"),
        "split_seed": Column(pa.int64(), "seed of the split's hash"),
    },
)

FOLDS = ("train", "valid", "test")
HISTORIES = ("valid_history", "test_history")
"""Of a split of sequences: what users of valid and of test had before their targets. The first is
trained on with valid; the second is known, and never trained on."""
EVERY_FOLD = (*FOLDS, *HISTORIES)
"""A fold is kept in arrays as its place here."""
FITTED = ("train", "valid", "valid_history")
"""What a finished model is trained on."""
BEFORE = {"valid": ("train", "valid_history"), "test": (*FITTED, "test_history")}
"""What is known when the targets of a fold are to be found, and masked."""

FOLD_SIZES = "SELECT fold, count(*) AS rows FROM splits GROUP BY fold"

BY_PAIR = (
    "SELECT coalesce(s.user_idx, p.user_idx) AS user_idx, "
    "coalesce(s.item_idx, p.item_idx) AS item_idx, s.fold FROM splits AS s "
    "FULL JOIN interactions AS p ON s.user_idx = p.user_idx AND s.item_idx = p.item_idx "
)

SPLIT_SUITE = Suite(
    name="split",
    tables=("splits",),
    expectations=(
        none("columns", "columns_amiss", "columns and their types are as declared"),
        none(
            "folds_known",
            "unknown_folds",
            "every fold is train, valid or test",
            table="splits",
            where="fold IS NULL OR fold NOT IN ('train', 'valid', 'test')",
        ),
        Expectation("train_not_empty", "train", "there are pairs to train on", low=1),
        Expectation("test_not_empty", "test", "there are pairs to test on", low=1),
        none(
            "no_leak",
            "pairs_in_two_folds",
            "no pair is in two folds: what is tested was not trained on",
            listing="SELECT user_idx, item_idx, min(fold) AS fold, max(fold) AS other "
            "FROM splits GROUP BY user_idx, item_idx HAVING count(DISTINCT fold) > 1",
        ),
        none(
            "pairs_unique",
            "duplicate_pairs",
            "no pair is there twice",
            listing="SELECT user_idx, item_idx, count(*) AS rows FROM splits "
            "GROUP BY user_idx, item_idx HAVING count(*) > 1",
        ),
        none(
            "none_lost",
            "pairs_lost",
            "every interaction is in the split",
            listing=BY_PAIR + "WHERE s.user_idx IS NULL OR s.item_idx IS NULL",
        ),
        none(
            "none_invented",
            "pairs_invented",
            "every pair of the split is an interaction",
            listing=BY_PAIR + "WHERE p.user_idx IS NULL OR p.item_idx IS NULL",
        ),
        none(
            "times_kept",
            "times_changed",
            "every pair has the time of its interaction",
            listing="SELECT s.*, p.reviewed_at AS interaction_at FROM splits AS s "
            "JOIN interactions AS p ON s.user_idx = p.user_idx AND s.item_idx = p.item_idx "
            "WHERE s.reviewed_at IS DISTINCT FROM p.reviewed_at",
        ),
        none(
            "made_as_asked",
            "rows_of_other_split",
            "every row has the strategy and the seed that were asked for",
            table="splits",
            where="strategy IS DISTINCT FROM {strategy} "
            "OR split_seed IS DISTINCT FROM {split_seed}",
        ),
        Expectation(
            "valid_share",
            "valid_sigmas",
            "the number of valid pairs is within 4 σ of 10 % of train and valid",
            high=4,
            listing=FOLD_SIZES,
        ),
        none(
            "folds_as_told",
            "pairs_beyond_told",
            "every fold has as many pairs as the split stage told",
            listing=FOLD_SIZES,
        ),
    ),
)

TEST_SHARE = Expectation(
    "test_share",
    "test_sigmas",
    "the number of test pairs is within 4 σ of the share that was asked",
    high=4,
    listing=FOLD_SIZES,
)

CUT = none(
    "cut_in_time",
    "pairs_across_cut",
    "every pair at or after the time that was asked for is test, and no other",
    table="splits",
    where="(fold = 'test') IS DISTINCT FROM (reviewed_at >= {since})",
)


SEQUENCE_FOLDS = none(
    "folds_known",
    "unknown_folds",
    f"every fold is one of {', '.join(EVERY_FOLD)}",
    table="splits",
    where=f"fold IS NULL OR fold NOT IN {EVERY_FOLD}",
)


def split_suite(*, share_asked: bool, cut_asked: bool = False) -> Suite:
    """The suite of a split: not every strategy is asked for a share of test pairs, or for a cut."""
    asked = [e for e, wanted in ((TEST_SHARE, share_asked), (CUT, cut_asked)) if wanted]
    return replace(SPLIT_SUITE, expectations=(*SPLIT_SUITE.expectations, *asked))
