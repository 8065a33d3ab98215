"""Splits as arrays: sorted, checked, and the same whatever the order of the table's rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.interactions import from_pairs, load
from mrl4rec.kernels.csr import Csr, csr
from mrl4rec.tables import ITEMS, SPLITS, USERS

COMMIT = Commit("split", "s" * 64, "splits", 0, {"interactions": 0, "users": 0, "items": 0})
NOON = datetime(2014, 7, 1, 12, tzinfo=UTC)
ROWS = [(1, 0, "train"), (0, 2, "valid"), (0, 0, "train"), (2, 1, "test"), (0, 1, "test")]


def write(settings: Settings, table: Any, columns: dict[str, Any]) -> None:
    write_deltalake(
        settings.storage.table_uri("toy", table.name), pa.table(columns, schema=table.schema)
    )


def write_split(
    settings: Settings,
    rows: Iterable[tuple[int, int, str]] = ROWS,
    users: Iterable[tuple[int, str]] = ((0, "zoe"), (2, "ann"), (1, "bob")),
    items: Iterable[tuple[int, str]] = ((2, "c"), (0, "a"), (1, "b")),
    times: bool = True,
) -> None:
    users_, items_, folds = zip(*rows, strict=True)
    n = len(users_)
    write(
        settings,
        SPLITS,
        {
            "user_idx": users_,
            "item_idx": items_,
            "reviewed_at": [
                NOON + timedelta(days=u, hours=i) for u, i in zip(users_, items_, strict=True)
            ]
            if times
            else [None] * n,
            "fold": folds,
            "strategy": ["random"] * n,
            "split_seed": [0] * n,
        },
    )
    for table, pairs, kind in ((USERS, users, "user"), (ITEMS, items, "item")):
        index, names = zip(*pairs, strict=True)
        write(settings, table, {f"{kind}_idx": index, f"{kind}_id": names})


def test_load_places_ids_by_index_and_sorts_pairs(settings: Settings) -> None:
    write_split(settings)
    found = load(settings, "toy", COMMIT)
    assert (found.n_users, found.n_items, found.split_key) == (3, 3, "s" * 64)
    assert found.user_ids.tolist() == ["zoe", "bob", "ann"]
    assert found.item_ids.tolist() == ["a", "b", "c"]
    assert found.users_P.tolist() == [0, 0, 0, 1, 2]
    assert found.items_P.tolist() == [0, 1, 2, 0, 1]
    assert found.fold_P.tolist() == [0, 2, 1, 0, 2]
    assert found.users_P.dtype == found.items_P.dtype == np.int32
    assert found.fold_P.dtype == np.int8
    assert found.reviewed_at_P is not None
    assert found.reviewed_at_P[2] == np.datetime64("2014-07-01T14:00", "us")
    users, items = found.pairs("train", "valid")
    assert list(zip(users.tolist(), items.tolist(), strict=True)) == [(0, 0), (0, 2), (1, 0)]
    seen = found.csr("train", "valid")
    assert [seen.row(user).tolist() for user in range(3)] == [[0, 2], [0], []]
    assert seen.degrees.tolist() == [2, 1, 0]


def test_an_older_version_is_read_when_the_split_names_it(settings: Settings) -> None:
    write_split(settings)
    extra = pa.table({"user_idx": [3], "user_id": ["eve"]}, schema=USERS.schema)
    write_deltalake(settings.storage.table_uri("toy", "users"), extra, mode="append")
    assert load(settings, "toy", COMMIT).n_users == 3


def test_no_time_at_all_is_none_and_the_digest_is_of_external_ids(
    settings: Settings, tmp_path: Path
) -> None:
    write_split(settings)
    other = Settings(warehouse=tmp_path / "other")
    swap = {0: 1, 1: 0, 2: 2}  # the same data with users 0 and 1 numbered the other way
    write_split(
        other,
        [(swap[u], i, fold) for u, i, fold in reversed(ROWS)],
        users=((0, "bob"), (1, "zoe"), (2, "ann")),
        times=False,
    )
    first, second = load(settings, "toy", COMMIT), load(other, "toy", COMMIT)
    assert second.reviewed_at_P is None
    assert first.digest() != second.digest()  # times differ
    timeless = replace(first, reviewed_at_P=None)
    assert timeless.digest() == replace(second, reviewed_at_P=None).digest()
    moved = from_pairs([(0, 0)], [], [(0, 1)], 1, 2)
    assert moved.digest() != from_pairs([(0, 1)], [], [(0, 0)], 1, 2).digest()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": [(3, 0, "train")]}, "user_idx lie outside 0 … 2, first 3"),
        ({"rows": [(0, -1, "train")]}, "item_idx lie outside 0 … 2, first -1"),
        ({"rows": [(0, 0, "train"), (0, 0, "test")]}, "1 pairs occur twice, first user 0, item 0"),
        ({"rows": [(0, 0, "holdout")]}, r"unknown folds \['holdout'\]"),
        ({"users": [(0, "a"), (1, "b"), (1, "c")]}, "not dense: 3 rows, 2 different"),
        ({"items": [(0, "a"), (1, "b"), (5, "c")]}, "item_idx lie outside 0 … 2, first 5"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    settings: Settings, options: dict[str, Any], message: str
) -> None:
    write_split(settings, **options)
    with pytest.raises(Mrl4recError, match=message):
        load(settings, "toy", COMMIT)


def test_a_missing_table_or_version_says_which(settings: Settings) -> None:
    with pytest.raises(Mrl4recError, match="toy/splits"):
        load(settings, "toy", COMMIT)
    write_split(settings)
    later = Commit(COMMIT.stage, COMMIT.key, "splits", 7, COMMIT.outputs)
    with pytest.raises(Mrl4recError, match="version 7"):
        load(settings, "toy", later)


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 9))))
def test_a_csr_holds_exactly_its_pairs(pairs: set[tuple[int, int]]) -> None:
    both = np.array(sorted(pairs, key=hash), dtype=np.int64).reshape(-1, 2)
    found = csr(both[:, 0], both[:, 1], 8, 10)
    assert {(u, i) for u in range(8) for i in found.row(u).tolist()} == pairs
    assert found.problem() is None
    assert found.n_rows == 8


@pytest.mark.parametrize(
    ("indptr", "indices"),
    [
        ([0, 2, 1], [0, 1]),
        ([0, 1, 3], [0, 1]),
        ([0, 2, 2], [1, 0]),
        ([0, 2, 2], [1, 1]),
        ([0, 1, 2], [0, 9]),
    ],
)
def test_a_broken_csr_is_seen(indptr: list[int], indices: list[int]) -> None:
    assert Csr(np.array(indptr, np.int64), np.array(indices, np.int32), 3).problem()


def test_from_pairs_checks_its_range() -> None:
    with pytest.raises(Mrl4recError, match="outside 0 … 1, first 2"):
        from_pairs([(0, 2)], [], [], 1, 2)
