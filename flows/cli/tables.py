"""``mrl4rec tables``: what is in the warehouse: tables, versions, rows and stage keys."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from flows import console
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import history, log_entries
from mrl4rec.core.storage import open_table
from mrl4rec.tables import TABLES

Rows = tuple[list[str], list[list[Any]]]


def add_options(command: argparse.ArgumentParser) -> None:
    """One table or all of them, of one data set or all of them."""
    command.add_argument("name", nargs="?", help="one table: its whole history")
    command.add_argument("--dataset", help="only this data set")


def run(arguments: argparse.Namespace) -> Any:
    """Print the tables, or the versions of one."""
    settings = Settings()
    if arguments.name:
        columns, rows = history_of(settings, arguments.name, arguments.dataset)
    else:
        columns, rows = overview(settings, arguments.dataset)
    if arguments.json:
        return [dict(zip(columns, row, strict=True)) for row in rows]
    console.table(str(settings.warehouse), columns, rows)
    return None


def overview(settings: Settings, dataset: str | None) -> Rows:
    """Every table of every data set: newest version, rows, key of its newest stage."""
    columns = ["dataset", "table", "version", "rows", "stage", "stage key", "meaning"]
    rows = []
    for name in settings.storage.chosen([dataset] if dataset else None):
        for table in TABLES.values():
            uri = settings.storage.table_uri(name, table.name)
            delta = open_table(uri)
            if delta is None:
                continue
            stages = history(uri, table.name)
            rows.append(
                [
                    name,
                    table.name,
                    delta.version(),
                    delta.count(),
                    stages[0].stage if stages else None,
                    stages[0].key[:12] if stages else None,
                    table.meaning,
                ]
            )
    return columns, rows


def history_of(settings: Settings, table: str, dataset: str | None) -> Rows:
    """Every version of one table: when, by which operation, by which stage, how many rows."""
    if table not in TABLES:
        raise UsageError(f"there is no table {table!r}", todo=nearest(table, TABLES))
    columns = ["dataset", "version", "at (UTC)", "operation", "stage", "stage key", "rows"]
    rows = []
    for name in settings.storage.chosen([dataset] if dataset else None):
        uri = settings.storage.table_uri(name, table)
        if open_table(uri) is None:
            continue
        stages = {commit.version: commit for commit in history(uri, table)}
        for entry in log_entries(uri):
            version = int(entry["version"])
            commit = stages.get(version)
            at = datetime.fromtimestamp(entry["timestamp"] / 1000, UTC).strftime(
                "%Y-%m-%d %H:%M:%S"
            )
            old = open_table(uri, version)
            rows.append(
                [
                    name,
                    version,
                    at,
                    entry.get("operation"),
                    commit.stage if commit else None,
                    commit.key[:12] if commit else None,
                    old.count() if old else None,
                ]
            )
    return columns, rows
