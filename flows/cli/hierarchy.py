"""``mrl4rec hierarchy``: clusters of each prefix against planted groups and each other."""

from __future__ import annotations

import argparse
import logging
from argparse import Namespace
from typing import Any

from flows import console
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.evaluation import hierarchy as measuring
    from mrl4rec.models import model_folder
    from mrl4rec.reporting import hierarchy
    from mrl4rec.serving import models

log = logging.getLogger("mrl4rec")


def add_options(command: argparse.ArgumentParser) -> None:
    """The models, and the data set they were run on."""
    command.add_argument(
        "models",
        nargs="*",
        default=["MRL-M", "BPR-D"],
        metavar="MODEL",
        help="names of models, as `mrl4rec models` lists them; a method stands for all its seeds",
    )
    command.add_argument("--dataset", default="planted", help="data set they were run on")


def run(arguments: Namespace) -> Any:
    """Measure models, raw and rotated (or find them measured), and print what came of it."""
    settings = Settings()
    settings.storage.chosen([arguments.dataset])
    settings.storage.check_writable()
    found: list[dict[str, Any]] = []
    dataset = arguments.dataset
    named = [one for name in arguments.models for one in models.find_all(settings, name, dataset)]
    for _, key, folder in dict.fromkeys(named):
        card = model_folder.read_card(folder)
        for rotated in (False, True):
            log.info("%s%s, seed %s", card.method_name, ", rotated" if rotated else "", card.seed)
            found += measuring.measured(settings, dataset, key, rotated=rotated)
    if arguments.json:
        return found

    for title, table in hierarchy.tables(found).items():
        console.table(f"{dataset}: {title}", list(table.head), table.rows)
    return None
