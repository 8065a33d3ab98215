"""``mrl4rec datasets``: the catalogue."""

from __future__ import annotations

import argparse
from typing import Any

from flows import console

COLUMNS = ["name", "title", "kcore", "split", "licence"]


def add_options(command: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(arguments: argparse.Namespace) -> Any:
    """Print the entries."""
    from mrl4rec.data.catalog import CATALOG

    rows = [[getattr(entry, name) for name in COLUMNS] for entry in CATALOG.values()]
    if arguments.json:
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    console.table("mrl4rec run --dataset NAME", COLUMNS, rows)
    return None
