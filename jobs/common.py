"""What the stages of the data plane share: a command line, and the tables they read and write."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.abc import MetaPathFinder
from typing import Any

from mrl4rec.core import stage
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import opened
from mrl4rec.tables import TABLES, Table, versions
from mrl4rec.transforms.engine import Engine, Mode, resolve


class Tables:
    """The tables of a data set, as one run of a stage reads and writes them."""

    def __init__(self, settings: Settings, dataset: str) -> None:
        self.settings, self.dataset = settings, dataset
        self.heads: dict[str, int] = {}
        """The version of each table that is written: as the run found it, then as it made it."""

    def uri(self, table: str) -> str:
        return self.settings.storage.table_uri(self.dataset, table)

    def begin(self, *names: str) -> None:
        """From here on another's commit to these tables is a lost race; one not there is made."""
        for name in names:
            self.heads[name] = versions.create(self.settings, self.dataset, name).version()

    def read(self, engine: Engine, table: str, version: int, prefix: str = "") -> None:
        """Make a version of a table a relation with its name after the prefix."""
        engine.read(f"{prefix}{table}", TABLES[table], self.uri(table), version)

    def write(
        self, engine: Engine, table: Table, sql: str, text: str, mode: Mode, order: str = ""
    ) -> None:
        """Commit a query's rows on top of the table's head."""
        base, uri = self.heads[table.name], self.uri(table.name)
        version = engine.write(table, uri, sql, mode=mode, text=text, base=base, order=order)
        self.heads[table.name] = version

    def replace(self, engine: Engine, table: Table, sql: str, text: str) -> None:
        """Commit a query's rows, in the order of their key, in place of all that were there."""
        self.write(engine, table, sql, text, mode="overwrite", order=", ".join(table.key))

    def finish(self, engine: Engine, table: Table, sql: str, commit: Commit) -> Commit:
        """The same with the marker, whose commit says that the stage is done."""
        self.replace(engine, table, sql, commit.metadata())
        return replace(commit, version=self.heads[table.name])


def parser(words: str | None) -> argparse.ArgumentParser:
    """A command line with ``--dataset`` and ``--warehouse``, described by the first line."""
    made = argparse.ArgumentParser(description=(words or "").splitlines()[0])
    made.add_argument("--dataset", required=True, help="name of the place in the warehouse")
    made.add_argument("--warehouse", type=opened, help="default: MRL4REC_WAREHOUSE or ./warehouse")
    return made


def parse(
    made: argparse.ArgumentParser, argv: Sequence[str] | None
) -> tuple[dict[str, Any], str, Settings]:
    """The stage's own options, the data set, and the settings."""
    options = vars(made.parse_args(argv))
    dataset, warehouse = options.pop("dataset"), options.pop("warehouse")
    settings = Settings(**({"warehouse": warehouse} if warehouse else {}))
    if argv is None and resolve(settings) == "duckdb":
        sys.meta_path.insert(0, _WithoutPandas())
    return options, dataset, settings


class _WithoutPandas(MetaPathFinder):
    """Hides pandas from pyarrow, which imports it, 0.8 s, to see whether a list is a Series.

    For a stage on DuckDB in a process of its own: it has no frames. (None in ``sys.modules`` does
    not do: pyarrow takes it for the module.)
    """

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ImportError("a stage has no use for pandas")


def newest(settings: Settings, dataset: str, marker: str, lacking: str) -> Commit:
    """The newest commit of a marker. Raises Mrl4recError, which says ``lacking``, without one."""
    commits = stage.history(settings.storage.table_uri(dataset, marker), marker)
    if not commits:
        raise Mrl4recError(lacking)
    return commits[0]
