"""``mrl4rec vacuum``: remove files that no version in use needs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from flows import console
from flows.cli import champion
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.serving.registry import vacuum


def add_options(command: argparse.ArgumentParser) -> None:
    """The data set, and what is kept."""
    add = command.add_argument
    champion.add_dataset(command)
    add(
        "--keep-days",
        type=float,
        default=30.0,
        metavar="DAYS",
        help="what was replaced, or made by a champion, within these days stays",
    )
    add("--dry-run", action="store_true", help="list what would be removed, remove nothing")


def run(arguments: argparse.Namespace) -> Any:
    """Remove files that nothing needs."""
    settings = Settings()
    if not arguments.dry_run:
        settings.storage.check_writable()
    dataset = champion.dataset_of(settings, arguments.dataset)
    swept = vacuum.vacuum(
        settings, dataset, keep_days=arguments.keep_days, dry_run=arguments.dry_run
    )
    if arguments.json:
        return [asdict(table) for table in swept]
    console.table(
        f"{dataset}: {'would be removed' if arguments.dry_run else 'removed'}",
        ["table", "files", "MB", "kept besides the newest"],
        [[t.table, t.files, round(t.bytes / 1e6, 1), ", ".join(map(str, t.kept))] for t in swept],
    )
    return None
