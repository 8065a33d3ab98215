"""``mrl4rec rollback``: make an earlier champion the champion again."""

from __future__ import annotations

import argparse
import re
from typing import Any

from flows.cli import champion
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.serving import models
    from mrl4rec.serving.registry import change, ledger

ROW = re.compile(r"-?\d{1,5}")
"""A number of so few digits is a row, and no beginning of a stage key."""


def add_options(command: argparse.ArgumentParser) -> None:
    """Which one, why, and the form of the recommendations."""
    champion.add_dataset(command)
    champion.add_why(command)
    text = "the champion of row N of the ledger, or the name of a former one; unset: the last one"
    command.add_argument("--to", metavar="N|MODEL", help=text)
    champion.add_lists(command)


def run(arguments: argparse.Namespace) -> Any:
    """Go back to an earlier champion."""
    settings = Settings()
    settings.storage.check_writable()
    dataset = champion.dataset_of(settings, arguments.dataset)
    to = None if arguments.to is None else _row(settings, dataset, arguments.to)
    done = change.rollback(
        settings, dataset, arguments.why, to, n=arguments.n, widths=arguments.widths
    )
    return champion.show_change(arguments, settings, done)


def _row(settings: Settings, dataset: str, text: str) -> int:
    """The row of the ledger that a number or a former champion's name stands for."""
    if ROW.fullmatch(text):
        return int(text)
    champions = [row.champion or "" for row in ledger.entries(settings, dataset)]
    key = models.find(settings, text, dataset, among=champions).key
    return len(champions) - 1 - champions[::-1].index(key)
