"""How small tables are written: delta-rs, a MERGE on the key, retried when another commit won."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.transaction import AddAction, RemoveAction

from mrl4rec.core import commits
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.stage import LostRace
from mrl4rec.core.storage import open_table, table_at, table_options
from mrl4rec.tables.table import DELTA_PROPERTIES, Table

ATTEMPTS = 10


@dataclass(frozen=True)
class DataFile:
    """A Parquet file in a table's folder."""

    path: str
    """From the folder."""
    bytes: int
    rows: int
    stats: str = ""
    """As Delta's log has them."""


def create(
    uri: str, table: Table, configuration: Mapping[str, str] = DELTA_PROPERTIES
) -> DeltaTable:
    """The table, created empty with these properties where it is not there yet."""
    delta = open_table(uri)
    if delta is not None:
        return delta

    def make(told: CommitProperties) -> None:
        DeltaTable.create(
            uri,
            schema=table.schema,
            mode="ignore",
            name=table.name,
            description=table.meaning,
            configuration=configuration,
            storage_options=table_options(uri),
            commit_properties=told,
        )

    with suppress(LostRace):  # two at once: the other one's table is as good as ours
        commits.once(uri, make)
    return table_at(uri)


def commit_rows(uri: str, table: Table, rows: pa.Table, metadata: str | None = None) -> int:
    """Insert or update ``rows`` by the table's key in one commit; the version it made.

    The same rows again change nothing, so a retry after a lost answer adds no row. Raises
    Mrl4recError when other writers won ten times in a row.
    """
    for attempt in range(ATTEMPTS):
        try:
            return _merge(uri, table, rows, metadata)
        except LostRace:
            time.sleep(0.05 * 2**attempt)
    raise Mrl4recError(
        f"{table.name}: {ATTEMPTS} commits in a row lost against other writers",
        where=uri,
        todo="see what else writes there, then run the same command again",
    )


def _merge(uri: str, table: Table, rows: pa.Table, metadata: str | None) -> int:
    delta = create(uri, table)
    same = " AND ".join(_equal(table, name) for name in table.key)

    def merge(told: CommitProperties) -> None:
        (
            delta.merge(
                rows,
                predicate=same,
                source_alias="new",
                target_alias="old",
                commit_properties=told,
            )
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .execute()
        )

    made = commits.once(uri, merge, metadata)
    return delta.version() if made is None else made


def _equal(table: Table, name: str) -> str:
    if table.columns[name].nullable:
        return f"(old.{name} = new.{name} OR (old.{name} IS NULL AND new.{name} IS NULL))"
    return f"old.{name} = new.{name}"


def append_rows(uri: str, rows: pa.Table, metadata: str, base: int) -> int:
    """Append rows in one commit against exactly the version ``base``; the version it made.

    No rows make a commit too. A column that the table does not have yet is added to it. Raises
    LostRace where another commit came in between.
    """
    delta = table_at(uri, version=base)

    def append(told: CommitProperties) -> None:
        write_deltalake(delta, rows, mode="append", schema_mode="merge", commit_properties=told)

    commits.once(uri, append, metadata)
    return base + 1


def commit_files(
    uri: str, schema: pa.Schema, files: Sequence[DataFile], mode: Literal["append", "overwrite"],
    metadata: str, base: int,
) -> int:  # fmt: skip
    """Make files that lie in the table's folder part of it, or with ``overwrite`` all of it, in one
    commit against exactly the version ``base``; the version it made.

    No files make a commit too. Raises LostRace where another commit came in between, Mrl4recError
    where the table lacks a column of what is appended.
    """
    delta = table_at(uri, version=base)
    lacking = set(schema.names) - {field.name for field in delta.schema().fields}
    if mode == "append" and lacking:
        raise Mrl4recError(f"the table has no column {', '.join(sorted(lacking))}", where=uri)
    now = int(time.time() * 1000)
    added: list[AddAction | RemoveAction] = [
        AddAction(file.path, file.bytes, {}, now, True, file.stats) for file in files
    ]

    def commit(told: CommitProperties) -> None:
        delta.create_write_transaction(added, mode, schema, commit_properties=told)

    commits.once(uri, commit, metadata)
    return base + 1
