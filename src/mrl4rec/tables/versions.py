"""Which version of a stage's tables is the newest good one, and how to go back to it.

A killed run leaves tables whose marker was never committed; somebody may have written to a table by
hand; a dump may have failed its gate. Whatever lies there, the next run of the stage begins by
restoring its tables to the newest commit that no gate failed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlparse

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from mrl4rec.core import commits, stage
from mrl4rec.core.files import inside
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import open_table, read_table, table_at
from mrl4rec.tables import TABLES, store

OUTPUTS = {
    "sources": ("reviews", "quarantine"),
    "interactions": ("users", "items"),
    "splits": ("sequence_splits",),
    "sequences": (),
}
"""The other tables of the stage that each marker stands for; a commit need not have all of them."""


def newest_good(settings: Settings, dataset: str, marker: str) -> Commit | None:
    """The newest commit of ``marker`` whose versions no gate failed and whose files are all there.

    A commit that was not judged yet counts as good: its files are complete, and the gate that
    comes after the next run judges the whole table.
    """
    return next(good(settings, dataset, marker), None)


def good(settings: Settings, dataset: str, marker: str) -> Iterator[Commit]:
    """The commits of ``marker`` that ``newest_good`` is the first of, newest first."""
    commits = stage.history(settings.storage.table_uri(dataset, marker), marker)
    failed = failed_versions(settings, dataset) if commits else set()
    for commit in commits:
        versions = {marker: commit.version, **commit.outputs}
        if any((table, str(version)) in failed for table, version in versions.items()):
            continue
        if complete(settings, dataset, commit):
            yield commit


def complete(settings: Settings, dataset: str, commit: Commit) -> bool:
    """Whether every table version that the commit names can be opened and has all its files."""
    versions = {commit.table: commit.version, **commit.outputs}
    return all(readable(settings, dataset, table, v) for table, v in versions.items())


def failed_versions(settings: Settings, dataset: str) -> set[tuple[str, str]]:
    """The (table, version) pairs that a gate has failed."""
    gates = open_table(settings.storage.table_uri(dataset, "gates"))
    if gates is None:
        return set()
    rows = read_table(gates, ["table", "version", "verdict"]).to_pylist()
    return {(row["table"], row["version"]) for row in rows if row["verdict"] == "fail"}


def restore(settings: Settings, dataset: str, marker: str, commit: Commit | None) -> None:
    """Give the marker's tables the content they had at ``commit``, or none at all where it is None.

    A table that has it already is left alone. The way back is a commit of its own, so what was
    there stays in the history.
    """
    for table in (*OUTPUTS[marker], marker):
        delta = open_table(settings.storage.table_uri(dataset, table))
        if delta is None:
            continue
        if commit is None:
            _empty(delta, table)
        elif table == marker or table in commit.outputs:
            _go_back(delta, commit.table_version(table))


def create(settings: Settings, dataset: str, table: str) -> DeltaTable:
    """The table, created empty with the project's Delta properties where it is not there yet."""
    return store.create(settings.storage.table_uri(dataset, table), TABLES[table])


def version(settings: Settings, dataset: str, table: str) -> int:
    """The newest version number of a table that exists."""
    return table_at(settings.storage.table_uri(dataset, table)).version()


def _go_back(delta: DeltaTable, target: int) -> None:
    wanted = table_at(delta.table_uri, version=target)
    same_files = set(wanted.file_uris()) == set(delta.file_uris())
    if same_files and wanted.schema() == delta.schema():
        return
    if wanted.file_uris():
        commits.once(
            delta.table_uri,
            lambda told: delta.restore(target, commit_properties=told),
            json.dumps({"restored_to": target}),
        )
    else:
        _empty(delta, PurePosixPath(urlparse(delta.table_uri).path).name)


def _empty(delta: DeltaTable, table: str) -> None:
    schema = TABLES[table].schema
    if not delta.file_uris() and pa.schema(delta.schema().to_arrow()).names == schema.names:
        return

    def write(told: CommitProperties) -> None:
        write_deltalake(
            delta,
            schema.empty_table(),
            mode="overwrite",
            schema_mode="overwrite",
            commit_properties=told,
        )

    commits.once(delta.table_uri, write, json.dumps({"restored_to": None}))


def readable(settings: Settings, dataset: str, table: str, number: int) -> bool:
    """Whether a version of a table can be opened and has all its files."""
    folder = settings.storage.dataset_dir(dataset) / table
    try:
        delta = open_table(settings.storage.table_uri(dataset, table), number)
    except Exception as error:  # deltalake raises bare DeltaError for a version whose log is gone
        if isinstance(error, OSError) and not isinstance(folder, Path):
            raise  # the store is away, which says nothing of the version
        return False
    if delta is None:
        return False
    paths = [unquote(urlparse(file).path) for file in delta.file_uris()]  # local ones are quoted
    if isinstance(folder, Path):
        return all(Path(path).exists() for path in paths)
    there = inside(folder, "*")  # one request, however many files
    return all(PurePosixPath(path).name in there for path in paths)
