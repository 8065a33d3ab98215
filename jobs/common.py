"""What the stages of the data plane have in common: a command line, and tables written whole."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

from mrl4rec.core import stage
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.tables import versions
from mrl4rec.transforms.engine import resolve


def parser(words: str | None) -> argparse.ArgumentParser:
    """A command line with ``--dataset`` and ``--warehouse``, described by the first line."""
    made = argparse.ArgumentParser(description=(words or "").splitlines()[0])
    made.add_argument("--dataset", required=True, help="name of the place in the warehouse")
    made.add_argument("--warehouse", type=Path, help="default: MRL4REC_WAREHOUSE or ./warehouse")
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

    For a stage on DuckDB in a process of its own: it has no frames.
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


def heads(settings: Settings, dataset: str, tables: Iterable[str]) -> dict[str, int]:
    """The newest versions of tables, each created empty where it is not there yet."""
    return {name: versions.create(settings, dataset, name).version() for name in tables}
