"""``mrl4rec rollback``: make an earlier champion the champion again."""

from __future__ import annotations

import argparse
from typing import Any

from flows.cli import champion
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.serving.registry import change


def add_options(command: argparse.ArgumentParser) -> None:
    """Which one, why, and the form of the recommendations."""
    champion.add_dataset(command)
    champion.add_why(command)
    text = "the champion of row N of the ledger; unset: the last one"
    command.add_argument("--to", type=int, metavar="N", help=text)
    champion.add_lists(command)


def run(arguments: argparse.Namespace) -> Any:
    """Go back to an earlier champion."""
    settings = Settings()
    settings.storage.check_writable()
    dataset = champion.dataset_of(settings, arguments.dataset)
    done = change.rollback(
        settings, dataset, arguments.why, arguments.to, n=arguments.n, widths=arguments.widths
    )
    return champion.show_change(arguments, settings, done)
