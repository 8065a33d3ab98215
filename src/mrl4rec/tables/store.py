"""How small tables are written: delta-rs, a MERGE on the key, retried when another commit won."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.stage import METADATA, LostRace, log_entries, properties
from mrl4rec.core.storage import open_table, table_at, table_options
from mrl4rec.tables.table import DELTA_PROPERTIES, Table

ATTEMPTS = 10
ATTEMPT = "attempt"
"""In a commit's information: which of all attempts made it."""


@dataclass(frozen=True)
class DataFile:
    """A Parquet file in a table's folder."""

    path: str
    """From the folder."""
    bytes: int
    rows: int
    stats: str = ""
    """As Delta's log has them."""


def commit_rows(uri: str, table: Table, rows: pa.Table, metadata: str | None = None) -> int:
    """Insert or update ``rows`` by the table's key in one commit; the version it made.

    The same rows again change nothing, so a retry after a lost answer adds no row. Raises
    Mrl4recError when other writers won ten times in a row.
    """
    for attempt in range(ATTEMPTS):
        try:
            return _merge(uri, table, rows, metadata)
        except CommitFailedError:
            time.sleep(0.05 * 2**attempt)
    raise Mrl4recError(
        f"{table.name}: {ATTEMPTS} commits in a row lost against other writers",
        where=uri,
        todo="see what else writes there, then run the same command again",
    )


def _merge(uri: str, table: Table, rows: pa.Table, metadata: str | None) -> int:
    commit = properties(metadata) if metadata else None
    delta = open_table(uri)
    if delta is None:
        delta = _create(uri, table)
    same = " AND ".join(_equal(table, name) for name in table.key)
    (
        delta.merge(
            rows,
            predicate=same,
            source_alias="new",
            target_alias="old",
            commit_properties=commit,
        )
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .execute()
    )
    return delta.version()


def _create(uri: str, table: Table) -> DeltaTable:
    try:
        write_deltalake(
            uri,
            table.schema.empty_table(),
            mode="error",
            configuration=dict(DELTA_PROPERTIES),
            storage_options=table_options(uri),
        )
    except DeltaError as error:  # two at once: the other one's table is as good as ours
        if open_table(uri) is None:
            raise Mrl4recError(f"{table.name} could not be created: {error}", where=uri) from error
    delta = open_table(uri)
    if delta is None:
        raise TableNotFoundError(uri)
    return delta


def _equal(table: Table, name: str) -> str:
    if table.columns[name].nullable:
        return f"(old.{name} = new.{name} OR (old.{name} IS NULL AND new.{name} IS NULL))"
    return f"old.{name} = new.{name}"


def append_rows(uri: str, rows: pa.Table, metadata: str, base: int) -> int:
    """Append rows in one commit against exactly the version ``base``; the version it made.

    No rows make a commit too. A column that the table does not have yet is added to it. Raises
    LostRace where another commit came in between.
    """
    try:
        delta = table_at(uri, version=base)
        commit = CommitProperties(custom_metadata={METADATA: metadata}, max_commit_retries=0)
        write_deltalake(delta, rows, mode="append", schema_mode="merge", commit_properties=commit)
    except CommitFailedError as error:
        raise LostRace(uri) from error
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
    attempt = uuid.uuid4().hex
    told = CommitProperties({METADATA: metadata, ATTEMPT: attempt}, max_commit_retries=0)
    try:
        delta.create_write_transaction(added, mode, schema, commit_properties=told)
    except CommitFailedError as error:
        # A request that was carried out, and whose answer was lost, was made again and refused.
        if not any(entry.get(ATTEMPT) == attempt for entry in log_entries(uri)):
            raise LostRace(uri) from error
    return base + 1
