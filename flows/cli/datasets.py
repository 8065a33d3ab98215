"""``mrl4rec datasets``: the catalogue."""

from __future__ import annotations

import argparse
from typing import Any

from flows import console
from mrl4rec.core import lazy

with lazy.imports():
    from mrl4rec.data import catalog

COLUMNS = ["name", "title", "kcore", "split", "sequence_split", "licence"]


def add_options(command: argparse.ArgumentParser) -> None:
    """No options of its own."""


def run(arguments: argparse.Namespace) -> Any:
    """Print the entries."""
    rows = [[getattr(entry, name) for name in COLUMNS] for entry in catalog.CATALOG.values()]
    if arguments.json:
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    console.table("mrl4rec run --dataset NAME", COLUMNS, rows)
    return None
