"""How small tables are written: delta-rs, a MERGE on the key, retried when another commit won."""

from __future__ import annotations

import time

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.stage import METADATA, LostRace, properties
from mrl4rec.core.storage import open_table, table_at, table_options
from mrl4rec.tables.table import DELTA_PROPERTIES, Table

ATTEMPTS = 10


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
