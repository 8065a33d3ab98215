"""The portrait of some reviews: sizes, shares and distributions, from one pass over their rows.

Shapes: N rows, U users (or items) of them, B bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

NO_RATING = "none"
SECOND, DAY = 1_000_000, 86_400 * 1_000_000
"""Microseconds."""


@dataclass(frozen=True)
class Portrait:
    """What some rows of `reviews` look like; shares are of rows. JSON values only."""

    rows: int = 0
    users: int = 0
    items: int = 0
    new_users: float = 0.0
    """Share of rows whose user had none before."""
    new_items: float = 0.0
    top_user: float = 0.0
    """Share of the most frequent user."""
    top_item: float = 0.0
    top_user_id: str = ""
    top_item_id: str = ""
    ratings: Mapping[str, float] = field(default_factory=dict)
    """Share of each rating; ``none`` is a row without one."""
    user_rows: tuple[float, ...] = ()
    """Share of rows of users with 1, 2–3, 4–7, … of these rows: bins of log2."""
    item_rows: tuple[float, ...] = ()
    first: str | None = None
    """Earliest time, ISO 8601 in UTC; None where no row has a time."""
    last: str | None = None
    pace: float | None = None
    """Rows a day in the middle half of the times: late rows do not count. None where that is less
    than a second long."""


def portray(
    rows: pa.Table,
    before: tuple[pa.Array, pa.Array] | None = None,
) -> Portrait:
    """The portrait of rows (user_id, item_id, rating, reviewed_at).

    ``before`` holds the different ids of users and of items that were there before these rows.
    """
    if not rows.num_rows:
        return Portrait()
    sides = [_side(rows[name], ids) for name, ids in zip(
        ("user_id", "item_id"), before or (None, None), strict=True)]  # fmt: skip
    user, item = sides
    times = _times(rows["reviewed_at"])
    return Portrait(
        rows=rows.num_rows,
        users=user.different,
        items=item.different,
        new_users=user.new,
        new_items=item.new,
        top_user=user.top,
        top_item=item.top,
        top_user_id=user.top_id,
        top_item_id=item.top_id,
        ratings=_ratings(rows["rating"]),
        user_rows=user.bins,
        item_rows=item.bins,
        first=_iso(times.min()) if len(times) else None,
        last=_iso(times.max()) if len(times) else None,
        pace=_pace(times),
    )


class _Side(NamedTuple):
    """Users or items of some rows; shares are of rows."""

    different: int
    new: float
    top: float
    top_id: str
    bins: tuple[float, ...]


def _side(column: pa.ChunkedArray, before: pa.Array | None) -> _Side:
    codes = pc.dictionary_encode(column.combine_chunks())
    rows_U = np.bincount(codes.indices.to_numpy(zero_copy_only=False))
    n = len(column)
    new = 1.0
    if before is not None:
        known_U = pc.is_in(codes.dictionary, value_set=before).to_numpy(zero_copy_only=False)
        new = float(rows_U[~known_U].sum() / n)
    most = int(rows_U.max())
    name = pc.min(codes.dictionary.filter(pa.array(rows_U == most))).as_py()
    return _Side(len(rows_U), new, most / n, str(name), _log_bins(rows_U))


def _log_bins(rows_U: NDArray[np.integer]) -> tuple[float, ...]:
    """(B,) share of rows by the log2 of how many their user (or item) has."""
    bins_U = np.frexp(rows_U.astype(np.float64))[1] - 1  # exact: floor(log2)
    weights_B = np.bincount(bins_U, weights=rows_U)
    return tuple((weights_B / rows_U.sum()).tolist())


def _ratings(column: pa.ChunkedArray) -> dict[str, float]:
    found = pc.value_counts(column.combine_chunks()).to_pylist()
    shares = {
        NO_RATING if pair["values"] is None else f"{pair['values']:g}": pair["counts"] / len(column)
        for pair in found
    }
    return dict(sorted(shares.items()))


def _times(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Microseconds since 1970 of the rows that have a time."""
    times = column.drop_null().cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.asarray(times.to_numpy())


def _pace(times: NDArray[np.int64]) -> float | None:
    if not len(times):
        return None
    low, high = np.quantile(times, [0.25, 0.75])
    return float(len(times) / 2 / (high - low) * DAY) if high - low >= SECOND else None


def _iso(moment: Any) -> str:
    return datetime.fromtimestamp(int(moment) // SECOND, UTC).isoformat()
