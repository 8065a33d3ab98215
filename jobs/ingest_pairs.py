"""Which rows need a look at their ids: those whose 64-bit number of (user, item) comes again.

A row whose number is the only one of its kind has no duplicate and repeats no pair, whatever the
function that numbers pairs: equal pairs have equal numbers. All others are compared by their
ids, so two pairs that share a number by chance cost time and change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.ingest_scan import Scanned
from mrl4rec.errors import Mrl4recError

Hashes = NDArray[np.int64]

PASS_ROWS = 32_000_000
"""Numbers sorted at a time: 256 MB. More rows take more passes over them."""
SIEVE_BITS = 24
KEPT = ("user_id", "item_id", "rating", "reviewed_at")


@dataclass(frozen=True)
class Piece:
    """Rows of an Arrow or Parquet file as they go into the table: those that are not masked out."""

    path: str
    rows: int
    """Rows that go into the table."""
    mask_path: str | None = None
    """A numpy file: False where a row does not; None: all do."""
    source_sha256: str | None = None
    """Of all rows; None where they say it themselves, with their place in it."""
    shift: int = 0
    """What makes of ``line`` the place in the source."""

    def table(self) -> pa.Table:
        """The rows, with the columns of `reviews`."""
        if self.source_sha256 is None:
            # Spark writes times as INT96 by default, which reach further than nanoseconds do.
            return pq.read_table(self.path, coerce_int96_timestamp_unit="us")
        found = read_rows(self.path)
        if self.mask_path is not None:
            found = found.filter(pa.array(np.load(self.mask_path)))
        return placed(found, self.source_sha256, self.shift)


def read_rows(path: str) -> pa.Table:
    """The rows of a stretch, mapped into memory."""
    with pa.memory_map(path) as source:
        return pa.ipc.open_file(source).read_all()


def placed(rows: pa.Table, source_sha256: str, shift: int) -> pa.Table:
    """Rows of a stretch with their absolute place, as `reviews` has it."""
    number = pc.add(rows["line"], shift)
    source = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows.num_rows, np.int32)), pa.array([source_sha256])
    )
    found = rows.select(KEPT).append_column("source_sha256", source)
    return found.append_column("record_no", number)


def repeated(of: Sequence[Hashes], others: Sequence[Hashes] = (), most: int = PASS_ROWS) -> Hashes:
    """The numbers that come more than once in all of the arrays, sorted.

    Memory is bounded by ``most`` numbers: they are sorted a range at a time.
    """
    arrays = [*of, *others]
    passes = -(-sum(map(len, arrays)) // most)
    if passes <= 1:
        return _twice(arrays)
    edges = np.linspace(-(2.0**63), 2.0**63, passes + 1)[1:-1].astype(np.int64)
    found = []
    for n in range(passes):
        low = edges[n - 1] if n else None
        high = edges[n] if n < passes - 1 else None
        found.append(_twice(_between(array, low, high) for array in arrays))
    return np.concatenate(found)


def _between(array: Hashes, low: Any, high: Any) -> Hashes:
    if low is not None:
        array = array[array >= low]
    return array if high is None else array[array < high]


def _twice(arrays: Iterable[Hashes]) -> Hashes:
    held = list(arrays)
    if not held:
        return np.empty(0, np.int64)
    together = np.concatenate(held)
    together.sort()
    again = together[1:][together[1:] == together[:-1]]
    return again[np.flatnonzero(np.diff(again, prepend=again[:1] - 1))] if len(again) else again


class Sieve:
    """Whether numbers are among a sorted few: a table of bits answers for most of them."""

    def __init__(self, few: Hashes) -> None:
        self._few = few
        self._maybe = np.zeros(1 << SIEVE_BITS, bool)
        self._maybe[self._place(few)] = True

    def holds(self, numbers: Hashes) -> NDArray[np.bool_]:
        """For each number, whether it is one of the few."""
        found = self._maybe[self._place(numbers)]
        (maybe,) = np.nonzero(found)
        if len(maybe):
            asked = numbers[maybe]
            at = np.minimum(np.searchsorted(self._few, asked), len(self._few) - 1)
            found[maybe] = self._few[at] == asked
        return found

    def _place(self, numbers: Hashes) -> NDArray[np.int64]:
        return numbers & ((1 << SIEVE_BITS) - 1)


def divide(
    scanned: Sequence[Scanned],
    others: Sequence[Hashes],
    shifts: Mapping[tuple[str, int], int],
    short_ids: bool,
    folder: Path,
) -> tuple[list[Piece], list[Path]]:
    """Part the clean rows: those that are alone, and Parquet files of those to be compared.

    ``others`` are the numbers of all rows elsewhere. With ``short_ids`` rows with short item ids
    are given to be compared too, because they are counted there.
    """
    folder.mkdir()
    scanned = [found for found in scanned if found.rows]
    sieve = Sieve(repeated([_pairs(found) for found in scanned], others))
    alone, compared = [], []
    for number, found in enumerate(scanned):
        stretch = found.stretch
        rows = read_rows(stretch.rows_path)
        doubtful = sieve.holds(rows["pair"].to_numpy())
        if short_ids:
            doubtful |= rows["short"].to_numpy()
        shift = shifts[stretch.source_sha256, stretch.start]
        count, mask = int(np.count_nonzero(doubtful)), None
        if count:
            part = placed(rows.filter(pa.array(doubtful)), stretch.source_sha256, shift)
            compared.append(folder / f"{number:06d}.parquet")
            pq.write_table(part, compared[-1], store_schema=False)
            mask = str(compared[-1].with_suffix(".npy"))
            np.save(mask, ~doubtful)
        if found.rows > count:
            kept = found.rows - count
            alone.append(Piece(stretch.rows_path, kept, mask, stretch.source_sha256, shift))
    there = sum(piece.rows for piece in alone) + sum(pq.read_metadata(p).num_rows for p in compared)
    if there != sum(found.rows for found in scanned):
        raise Mrl4recError(
            f"{there} of {sum(found.rows for found in scanned)} rows are in the files written",
            where=str(folder),
            todo="something else wrote there meanwhile; run it again",
        )
    return alone, compared


def _pairs(found: Scanned) -> Hashes:
    return read_rows(found.stretch.rows_path)["pair"].to_numpy()
