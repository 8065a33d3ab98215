"""Interactions from a frame, and their splits."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mrl4rec.core.choices import OF_SEQUENCES, STRATEGIES, check_seed
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.settings import Settings
from mrl4rec.data import catalog, downloads, elsewhere
from mrl4rec.data import sequences as ordered
from mrl4rec.data.interactions import Interactions, of_table
from mrl4rec.formats import reader
from mrl4rec.formats.options import ReadOptions
from mrl4rec.tables import ITEMS, USERS
from mrl4rec.tables.splits import BEFORE
from mrl4rec.transforms import kcore, splits
from mrl4rec.transforms import sequences as in_order
from mrl4rec.transforms.opening import open_engine

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pd.DataFrame | pl.DataFrame | pa.Table

SOURCE = "frame"
READING = ("time_unit", "time_format", "rating_range", "separator", "encoding", "format")
AS_ARGUMENTS = "as arguments here: user='…', item='…', rating='…', time='…', time_unit='ms' …"
"""The reader's messages name the options of the command line."""
BY_TIME = ("global_time", "since")
NEED_TIMES = ("last_out", *BY_TIME)


@dataclass(frozen=True)
class Dataset:
    """Interactions as they were read, and what of them is kept."""

    reviews: pa.Table
    """user_id, item_id, rating, reviewed_at (UTC), record_no (row of the frame, from 0)."""
    quarantined: pd.DataFrame
    """record_no, rule, detail and record of rows that cannot be used."""
    k: int = 0
    min_rating: float | None = None
    ordered: bool = False
    """Whether a user's rows without a time stand in their order."""

    @classmethod
    def from_frame(
        cls,
        data: Frame | str | Path,
        *,
        user: str | None = None,
        item: str | None = None,
        rating: str | None = None,
        time: str | None = None,
        ordered: bool = False,
        **reading: str,
    ) -> Dataset:
        """A frame, or a file in any form that `mrl4rec run` reads, also by URL (s3, http).

        Columns that are not named are recognised by usual names. ``ordered`` says that a user's
        rows stand in their order, for sequences without times; that of a file of lists of items is
        known. ``reading`` are the options of
        `mrl4rec inspect`: ``time_unit``, ``time_format``, ``rating_range``, ``separator``,
        ``encoding``, ``format``. Rows that cannot be used are in ``quarantined``, with a warning.
        Raises UsageError where a column is missing or what is meant cannot be told.
        """
        roles = {"user": user, "item": item, "rating": rating, "time": time}
        columns = {role: name for role, name in roles.items() if name is not None}
        for name in reading:
            if name not in READING:
                raise UsageError(
                    f"from_frame has no argument {name!r}", todo=nearest(name, READING)
                )
        options = replace(ReadOptions.parse(**reading), columns=columns)
        if not isinstance(data, str | Path | pa.Table | pd.DataFrame):
            if not hasattr(data, "to_arrow"):
                raise UsageError(
                    f"a {type(data).__name__} is no frame of interactions",
                    todo="give a pandas, Polars or Arrow frame, or the path of a file",
                )
            data = data.to_arrow()
        if isinstance(data, pd.DataFrame) and not data.columns.is_unique:
            twice = data.columns[data.columns.duplicated()][0]
            raise UsageError(
                f"several columns are named {twice!r}", todo="give each a name of its own"
            )
        try:
            found = reader.read(_here(data) if isinstance(data, str) else data, options)
        except UsageError as error:
            if "--" not in (error.todo or ""):
                raise
            todo = f"{error.todo} ({AS_ARGUMENTS})"
            raise UsageError(error.what, where=error.where, todo=todo) from None
        aside = found.quarantined.to_pandas()
        if len(aside):
            rules = ", ".join(f"{n} {rule}" for rule, n in aside["rule"].value_counts().items())
            warnings.warn(f"left out: {rules}; see Dataset.quarantined", stacklevel=2)
        return cls(found.rows, aside, ordered=ordered or found.mapping.syntax == "sessions")

    @classmethod
    def from_catalog(cls, name: str = "ml-100k") -> Dataset:
        """A data set of `mrl4rec datasets`, downloaded once, with the core of its catalogue entry.

        Raises UsageError for an unknown name, Mrl4recError where it cannot be downloaded.
        """
        files = downloads.fetch(name, Settings()).files
        known = catalog.entry(name)
        reading: dict[str, Any] = {} if known.format is None else {"format": known.format}
        return cls.from_frame(files[0], **reading).core(known.kcore)

    def __len__(self) -> int:
        """Rows that can be used; the same pair may be in several."""
        return self.reviews.num_rows

    def core(self, k: int, min_rating: float | None = None) -> Dataset:
        """The largest part in which every user and every item has at least ``k`` pairs.

        Rows with a rating below ``min_rating``, or none, are left out first. Raises UsageError for
        a negative ``k``.
        """
        if k < 0:
            raise UsageError(f"a core needs k ≥ 0, got {k}", todo="0 filters nothing")
        return replace(self, k=k, min_rating=min_rating)

    def split(
        self,
        strategy: str = "random",
        *,
        seed: int = 0,
        test_share: float = 0.2,
        since: datetime | None = None,
        sequences: bool = False,
    ) -> tuple[Interactions, Interactions]:
        """Pairs to train on (folds train and valid, by which epochs are chosen) and to test on.

        ``random``, ``per_user_random``, ``last_out``, ``global_time``, or ``since`` a moment (UTC
        where it has no zone): the folds of `mrl4rec run --split`, by a hash of (seed, user, item).
        With ``sequences`` each user's items in order, repeats among them, are split, as methods
        that read sequences need; ``by_user`` does that alone, and trains on some users and tests
        on others. Raises UsageError for an unknown strategy, where pairs lack the times that it
        needs, and where no pair is left.
        """
        sequences = sequences or strategy == "by_user"
        _check(strategy, seed, test_share, since, sequences)
        if since is not None:
            since = since.replace(tzinfo=since.tzinfo or UTC)
        known_order = self.ordered and sequences and strategy not in BY_TIME
        untimed = self.reviews["reviewed_at"].null_count
        if (sequences or strategy in NEED_TIMES) and untimed and not known_order:
            raise UsageError(
                f"the split {strategy!r}{' of sequences' * sequences} needs a time for every pair",
                where=f"{untimed} of {len(self)} rows have none",
                todo="name the column: Dataset.from_frame(…, time=…), or split('random'); if the "
                "rows of a user are in order: from_frame(…, ordered=True)",
            )
        with _engine() as engine:
            self._add(engine)
            core = kcore.build(engine, k=self.k, min_rating=self.min_rating, integer_ids=False)
            if not core["interactions"]:
                raise UsageError(
                    f"no pair is left: the {self.k}-core of {len(self)} rows is empty",
                    todo="take a smaller k, or core(0) for no filter",
                )
            for name in ("interactions", "users", "items"):
                engine.define(name, f"SELECT * FROM core_{name}")
            events = None
            if sequences:
                events = self._events(engine, strategy, seed, test_share, since)
            else:
                splits.build(engine, strategy, seed, test_share, since)
            pairs = engine.query("SELECT * FROM folded")
            ids = [
                engine.query(f"SELECT {side}_id FROM {side}s ORDER BY {side}_idx")[f"{side}_id"]
                for side in ("user", "item")
            ]
        user_ids, item_ids = (column.to_numpy() for column in ids)
        whole = of_table(pairs, user_ids, item_ids, "", SOURCE)
        train, test = whole.only(*BEFORE["test"]), whole.only("test")
        if events is None:
            return train, test
        rows = ordered.of_table(events, whole.n_users, whole.n_items, SOURCE)
        known = rows.kept(*BEFORE["test"])
        return replace(train, sequences=known), replace(test, sequences=rows)

    def _events(
        self, engine: Any, strategy: str, seed: int, test_share: float, since: datetime | None
    ) -> pa.Table:
        """Every event with its fold; the pairs of the engine get theirs from it."""
        in_order.build(engine, min_rating=self.min_rating, repeats=True, max_length=None)
        engine.define("sequences", in_order.TABLE)
        counts = in_order.split(engine, strategy, seed, test_share, since)
        for fold in ("valid", "test"):
            if not counts[fold]:
                raise UsageError(
                    f"there are no targets in {fold}: {in_order.NO_TARGETS[strategy][0]}",
                    where=f"split({strategy!r})",
                    todo="bring more or longer histories (core(0)), or take another split",
                )
        events: pa.Table = engine.query("SELECT * FROM event_folds")
        return events

    def _add(self, engine: Any) -> None:
        times = pc.cast(self.reviews["reviewed_at"], pa.int64())
        reviews = self.reviews.set_column(
            self.reviews.column_names.index("reviewed_at"), "reviewed_at", times
        ).append_column("source_sha256", pa.array([SOURCE] * len(self), pa.string()))
        engine.add("reviews", reviews)
        engine.add("sources", pa.table({"source_sha256": [SOURCE], "source_no": [0]}))
        for table in (USERS, ITEMS):
            engine.add(f"base_{table.name}", table.schema.empty_table())


@contextmanager
def _engine() -> Iterator[Any]:
    """DuckDB in this process, with a folder to spill to that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mrl4rec-") as folder:
        settings = Settings(warehouse=Path(folder), data_engine="duckdb")
        with open_engine(settings) as engine:
            yield engine


def _here(place: str) -> str | Path:
    """The file, or the copy of one that a URL names. Raises UsageError where it means several."""
    if not elsewhere.is_url(place):
        return place
    files = elsewhere.expand([place], Settings())
    if len(files) > 1:
        raise UsageError(f"{len(files)} files are meant", where=place, todo="read them one by one")
    return files[0]


def _check(
    strategy: str, seed: int, test_share: float, since: datetime | None, sequences: bool
) -> None:
    known = [name for name in STRATEGIES if name != "predefined"]
    if sequences and strategy in known and strategy not in OF_SEQUENCES:
        raise UsageError(
            f"the split {strategy!r} is of pairs, and sequences are to be split",
            where="sequences",
            todo=nearest(strategy, OF_SEQUENCES),
        )
    if strategy not in known:
        raise UsageError(f"unknown split {strategy!r}", todo=nearest(strategy, known))
    if not isinstance(test_share, int | float) or not 0 < test_share < 1:
        raise UsageError(f"the test share must lie between 0 and 1, got {test_share!r}")
    check_seed(seed, "seed")
    if (strategy == "since") != (since is not None):
        raise UsageError("the split 'since' takes a moment, and no other does", where="since")
    if since is not None and not isinstance(since, datetime):
        raise UsageError(
            f"{since!r} is no moment",
            where="since",
            todo="give a datetime, like datetime(2014, 5, 1)",
        )
