"""Pairs with times, from a file or planted, cut in time at a whole day.

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from mrl4rec.core.errors import UsageError
from mrl4rec.data.interactions import Interactions
from mrl4rec.data.synthetic import world
from mrl4rec.data.synthetic.spec import Planted

COLUMNS = ("author_uid", "author_iid", "unixReviewTime")
DAY = 86_400


def from_csv(path: Path, columns: Sequence[str] = COLUMNS, share: float = 0.1) -> Interactions:
    """A CSV file, plain or gzip, with columns of users, items and times (s since 1970).

    Raises UsageError where the file or a column is not there.
    """
    try:
        options = csv.ConvertOptions(include_columns=list(columns))
        table = csv.read_csv(path, convert_options=options)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UsageError(f"cannot be read: {error}", where=str(path)) from error
    users, items = (_codes(table[name]) for name in columns[:2])
    return cut(users, items, table[columns[2]].to_numpy(), share)


def planted(spec: Planted, share: float = 0.1) -> Interactions:
    """A planted dump, without the file."""
    users, items, _, times = world.build(spec).rows(np.arange(spec.reviews))
    return cut(users, items, times, share)


def cut(
    users_P: NDArray[Any], items_P: NDArray[Any], times_P: NDArray[Any], share: float
) -> Interactions:
    """Test is the newest ``share`` of the pairs, to a whole day (UTC); the rest is train."""
    order = np.lexsort((times_P, items_P, users_P))
    users, items, times = users_P[order], items_P[order], times_P[order]
    first = np.r_[True, (np.diff(users) != 0) | (np.diff(items) != 0)]
    users, items, days = users[first], items[first], times[first] // DAY
    starts, pairs = np.unique(days, return_counts=True)
    newer = pairs[::-1].cumsum()[::-1]  # pairs of this day and later
    since = starts[int(np.abs(newer - share * len(users)).argmin())]
    n_users, n_items = int(users.max()) + 1, int(items.max()) + 1
    return Interactions(
        users.astype(np.int32),
        items.astype(np.int32),
        np.where(days >= since, 2, 0).astype(np.int8),
        (times[first] * 1_000_000).astype("datetime64[us]"),
        n_users,
        n_items,
        np.array([f"u{n}" for n in range(n_users)], dtype=object),
        np.array([f"i{n}" for n in range(n_items)], dtype=object),
        f"newest {share:g}",
    )


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Dense numbers by first appearance."""
    codes = column.combine_chunks().dictionary_encode().indices
    return codes.to_numpy(zero_copy_only=False).astype(np.int64)
