"""``mrl4rec quarantine``: the records that broke a rule, by rule, read without an engine."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows import console
from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import dataset_of, open_table, read_table

with lazy.imports():
    import pyarrow.compute as pc


if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

COLUMNS = ("path", "record_no", "rule", "detail", "record")


def add_options(command: argparse.ArgumentParser) -> None:
    """The data set, the rule, how many records."""
    add = command.add_argument
    add("--dataset", required=True, help="folder in the warehouse")
    add("--rule", help="only records that broke this one")
    add("--rows", type=int, default=20, help="most records to list")


def run(arguments: Namespace) -> Any:
    """Counts by rule and some of the records, of the newest version: that of a dump which a gate
    has stopped too, until the next ingest.
    """
    settings = Settings()
    (dataset,) = settings.storage.chosen([arguments.dataset])
    if arguments.rows < 0:
        raise UsageError(f"--rows is {arguments.rows}", todo="give at least 0")
    uri = settings.storage.table_uri(dataset, "quarantine")
    delta = open_table(uri)
    found = None if delta is None else dataset_of(delta)
    rules = {} if found is None else _rules(found)
    if arguments.rule is not None and arguments.rule not in rules:
        raise UsageError(
            f"no record of {dataset} is quarantined by the rule {arguments.rule!r}",
            where=uri,
            todo=nearest(arguments.rule, rules) if rules else "no record is quarantined at all",
        )
    rows = [] if found is None else _rows(found, arguments.rule, arguments.rows)
    paths = _paths(settings, dataset) if rows else {}
    listed = [{**row, "path": paths.get(row["source_sha256"])} for row in rows]
    if arguments.json:
        version = None if delta is None else delta.version()
        return {"dataset": dataset, "version": version, "rules": rules, "rows": listed}
    _print(dataset, rules, listed, arguments.rule)
    return None


def _rules(found: Dataset) -> dict[str, int]:
    """Number of records by rule, the most first."""
    counts = found.to_table(columns=["rule"])["rule"].value_counts().to_pylist()
    pairs = sorted((-row["counts"], row["values"]) for row in counts)
    return {rule: -count for count, rule in pairs}


def _rows(found: Dataset, rule: str | None, most: int) -> list[dict[str, Any]]:
    """Some records, in the order of their files."""
    chosen = found if rule is None else found.filter(pc.field("rule") == rule)
    rows = chosen.head(most).to_pylist()
    return sorted(rows, key=lambda row: (row["source_sha256"], row["record_no"]))


def _paths(settings: Settings, dataset: str) -> dict[str, str]:
    """Where the sources were, by digest; those of a killed ingest are not known yet."""
    delta = open_table(settings.storage.table_uri(dataset, "sources"))
    rows = read_table(delta, ["source_sha256", "path"]).to_pylist() if delta else []
    return {row["source_sha256"]: row["path"] for row in rows}


def _print(
    dataset: str, rules: Mapping[str, int], rows: list[dict[str, Any]], rule: str | None
) -> None:
    if not rules:
        print(f"no record of {dataset} is quarantined")
        return
    console.table(
        f"quarantined records of {dataset}", ["rule", "records"], [*map(list, rules.items())]
    )
    if rows:
        shown = [[_cell(row[name]) for name in COLUMNS] for row in rows]
        of = rules[rule] if rule else sum(rules.values())
        console.table(f"{len(rows):,} of {of:,}", list(COLUMNS), shown)


def _cell(value: Any) -> Any:
    return console.shown(value) if isinstance(value, str) else value
