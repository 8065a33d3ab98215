"""The data engine: DuckDB in this process or Spark on a cluster, behind a few primitives.

What a stage computes is SQL text in the subset that both run unchanged: times are BIGINT µs since
1970 UTC, nulls in sorts are placed, sums of integers are cast, and nothing after decoding casts
text, matches a pattern or changes case, because there the two differ. Both give the same tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import pyarrow as pa

from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.tables.table import Table

if TYPE_CHECKING:
    from mrl4rec.formats.decode import Input

Mode = Literal["append", "overwrite"]
EngineName = Literal["duckdb", "spark"]
TYPES = {pa.int32(): "INT", pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.string(): "STRING"}


class Engine(Protocol):
    """Relations by name, and SQL over them. They live as long as the engine."""

    name: EngineName

    def hash(self, *columns: str) -> str:
        """SQL of a 64-bit hash. It differs between engines: it may only narrow down what is
        compared, never shape a result.
        """

    def add(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table a relation."""

    def read(self, name: str, table: Table, uri: str, version: int) -> None:
        """Make a version of a Delta table a relation of the declared columns that it has;
        timestamps become BIGINT µs.
        """

    def decode(self, name: str, inputs: Sequence[Input], as_of: datetime) -> None:
        """Make the good records of files the relation ``name`` (``formats.decode.GOOD``), and all
        others ``{name}_aside`` (``ASIDE``).
        """

    def define(self, name: str, sql: str) -> None:
        """Give a query a name; it is computed wherever the name is used."""

    def materialise(self, name: str, sql: str) -> int:
        """Compute a query once and make the result a relation; the number of rows."""

    def number(self, name: str, sql: str, order: str, column: str) -> int:
        """``materialise`` with ``column`` 0, 1, 2… (BIGINT) in ``order``, which has no ties."""

    def query(self, sql: str) -> pa.Table:
        """A small result as Arrow."""

    def write(
        self, table: Table, uri: str, sql: str, mode: Mode, text: str, base: int, order: str = ""
    ) -> int:
        """Write a query's rows, as ``table`` declares them, in one commit; the version it made.

        ``text`` is the commit's ``userMetadata``, ``order`` SQL. Raises ``stage.LostRace`` where
        another commit came after ``base``, the version that the stage read.
        """

    def drop(self, *names: str) -> None:
        """Forget materialised relations."""


def declared(table: Table, sql: str, order: str, timestamp: str) -> str:
    """SQL of a query's rows with the columns and types that ``table`` declares.

    ``timestamp`` is the engine's function from µs.
    """
    columns = ", ".join(
        f"{timestamp}({name}) AS {name}"
        if pa.types.is_timestamp(column.type)
        else f"CAST({name} AS {TYPES[column.type]}) AS {name}"
        for name, column in table.columns.items()
    )
    return f"SELECT {columns} FROM ({sql})" + (f" ORDER BY {order}" if order else "")


def check_reach(settings: Settings) -> None:
    """Raise UsageError where Spark's executors would not write where the warehouse is."""
    place = settings.warehouse
    if resolve(settings) != "spark" or not is_remote(settings):
        return
    if isinstance(place, Path) and not settings.warehouse_shared:
        raise UsageError(
            f"the executors of {settings.spark_master} may not see this folder: each would write "
            "to a disk of its own, and the table's files would be lost",
            where=str(place.absolute()),
            todo="name a warehouse in an object store (s3://bucket/prefix); where every machine "
            "has the folder at this path, set MRL4REC_WAREHOUSE_SHARED=true; else use DuckDB, or "
            "a Spark of this machine (MRL4REC_SPARK_MASTER=local[*])",
        )


def is_remote(settings: Settings) -> bool:
    """Whether Spark's executors are, or may be, on other machines."""
    return not (settings.spark_master or "local").startswith("local")


def resolve(settings: Settings) -> EngineName:
    """The engine that the settings come to: ``auto`` is Spark where a master is named."""
    if settings.data_engine == "auto":
        return "spark" if settings.spark_master else "duckdb"
    return settings.data_engine
