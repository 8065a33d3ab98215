"""Histories and sequences as arrays: by hand, and against plain lists."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.data.sequences import Histories, Sequences, histories, of_table
from mrl4rec.tables.splits import EVERY_FOLD

N_ITEMS = 5
ROWS = [[3, 1, 3, 0], [], [4]]
Plain = list[list[int]]
rows = st.lists(st.lists(st.integers(0, N_ITEMS - 1), max_size=7), max_size=6)
slow = settings(deadline=None, max_examples=60)


def plain(made: Histories) -> Plain:
    assert made.n_items == N_ITEMS
    assert made.indptr[0] == 0
    assert made.indptr[-1] == len(made.items)
    return [made.row(user).tolist() for user in range(made.n_rows)]


def test_by_hand() -> None:
    made = histories(ROWS, N_ITEMS)
    assert made.n_rows == 3
    assert made.lengths.tolist() == [4, 0, 1]
    assert plain(made) == ROWS
    assert plain(made.newest(2)) == [[3, 0], [], [4]]
    assert plain(made.of(np.array([2, 0, 2]))) == [[4], [3, 1, 3, 0], [4]]
    windows = made.windows(np.array([0, 1, 2]), 3)
    assert windows.tolist() == [[1, 3, 0], [5, 5, 5], [5, 5, 4]]
    assert windows.dtype == np.int64
    different = made.csr()
    assert different.indptr.tolist() == [0, 3, 3, 4]
    assert different.indices.tolist() == [0, 1, 3, 4]
    assert made.items.dtype == np.int32


@pytest.mark.parametrize("item", [-1, N_ITEMS])
def test_an_unknown_item_is_refused(item: int) -> None:
    with pytest.raises(Mrl4recError, match="0 … 4"):
        histories([[0], [item]], N_ITEMS)


@slow
@given(rows, st.integers(1, 9), st.data())
def test_histories_are_the_plain_lists(wanted: Plain, length: int, data: st.DataObject) -> None:
    made = histories(wanted, N_ITEMS)
    assert plain(made) == wanted
    assert plain(made.newest(length)) == [row[-length:] for row in wanted]
    users = data.draw(st.lists(st.sampled_from(range(len(wanted))))) if wanted else []
    users_B = np.array(users, dtype=np.int64)
    assert plain(made.of(users_B)) == [wanted[user] for user in users]
    alone = [row if user in users else [] for user, row in enumerate(wanted)]
    assert plain(made.alone(np.unique(users_B))) == alone
    some = made.within(3)
    assert [some.row(u).tolist() for u in range(len(wanted))] == [
        [item for item in row if item < 3] for row in wanted
    ]
    padded = [([N_ITEMS] * length + wanted[user])[-length:] for user in users]
    assert made.windows(users_B, length).tolist() == padded
    different = made.csr()
    assert [different.row(u).tolist() for u in range(len(wanted))] == [
        sorted(set(row)) for row in wanted
    ]


# ---------------------------------------------------------------------- folds

FOLDS = {fold: n for n, fold in enumerate(EVERY_FOLD)}


def split(of_users: list[list[tuple[int, str]]]) -> Sequences:
    folds = [FOLDS[fold] for row in of_users for _, fold in row]
    items = [[item for item, _ in row] for row in of_users]
    return Sequences(histories(items, N_ITEMS), np.array(folds, dtype=np.int8))


def test_folds_by_hand() -> None:
    made = split([
        [(0, "train"), (1, "train"), (0, "valid"), (2, "test")],
        [(3, "test_history"), (3, "test"), (4, "test"), (3, "test")],
        [(1, "train"), (1, "train")],
        [],
        [(2, "valid_history"), (4, "valid")],
    ])  # fmt: skip
    assert plain(made.only("train")) == [[0, 1], [], [1, 1], [], []]
    assert plain(made.before("test")) == [[0, 1, 0], [3], [], [], []]
    assert plain(made.before("valid")) == [[0, 1], [], [], [], [2]]
    found = made.targets("test")
    assert [found.row(user).tolist() for user in range(5)] == [[2], [3, 4], [], [], []]
    assert made.in_folds("valid", "test").sum() == 6


# Train or history, then valid, then test, as a split makes them.
ordered = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["train", "valid_history", "test_history"]), max_size=4),
        st.integers(0, 2), st.integers(0, 3),
    ).map(lambda parts: [*parts[0], *["valid"] * parts[1], *["test"] * parts[2]]),
    max_size=6,
)  # fmt: skip


@slow
@given(ordered, st.randoms(use_true_random=False))
def test_folds_are_those_of_plain_lists(folds: list[list[str]], random: object) -> None:
    of_users = [[(random.randrange(N_ITEMS), fold) for fold in row] for row in folds]  # type: ignore[attr-defined]
    made = split(of_users)
    for some in (("train",), ("train", "valid", "valid_history"), EVERY_FOLD):
        kept = [[i for i, f in row if f in some] for row in of_users]
        assert plain(made.only(*some)) == kept
        assert plain(made.kept(*some).events) == kept
        assert plain(made.kept(*some).only("train")) == plain(made.only("train"))
    for fold in ("valid", "test"):
        before, targets = [], []
        for row in of_users:
            places = [n for n, (_, found) in enumerate(row) if found == fold]
            before.append([item for item, _ in row[: places[0]]] if places else [])
            targets.append(sorted({row[n][0] for n in places}))
        assert plain(made.before(fold)) == before
        found = made.targets(fold)
        assert [found.row(user).tolist() for user in range(len(of_users))] == targets


# ---------------------------------------------------------------------- tables


def table(**columns: list[object]) -> pa.Table:
    """Two events of user 0 and one of user 2, in no order."""
    values = {"sequence_id": [2, 0, 0], "position": [0, 1, 0], "item_idx": [4, 1, 3],
              "fold": ["test_history", "test", "test_history"]}  # fmt: skip
    return pa.table({**values, **columns})


def test_a_table_in_any_order_is_read() -> None:
    made = of_table(table(), 3, N_ITEMS, "there")
    assert plain(made.events) == [[3, 1], [], [4]]
    assert plain(made.before("test")) == [[3], [], []]
    nothing = of_table(table().slice(0, 0), 2, N_ITEMS, "there")
    assert plain(nothing.before("test")) == [[], []]


@pytest.mark.parametrize(
    "columns",
    [
        {"sequence_id": [3, 0, 0]},
        {"sequence_id": [-1, 0, 0]},
        {"item_idx": [5, 1, 3]},
        {"item_idx": [-1, 1, 3]},
        {"position": [0, 1, 1]},
        {"fold": ["dev", "test", "test"]},
        {"fold": [None, "test", "test"]},
    ],
)
def test_a_table_that_does_not_fit_is_refused(columns: dict[str, list[object]]) -> None:
    with pytest.raises(Mrl4recError, match="there"):
        of_table(table(**columns), 3, N_ITEMS, "there")
