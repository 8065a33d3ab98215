"""``mrl4rec promote``: make a model the champion."""

from __future__ import annotations

import argparse
from typing import Any

from flows.cli import champion
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.serving import models
    from mrl4rec.serving.registry import change


def add_options(command: argparse.ArgumentParser) -> None:
    """The model, why, and the form of the recommendations."""
    champion.add_model(command)
    champion.add_dataset(command, champion.OF_DATASET)
    champion.add_why(command)
    champion.add_lists(command)


def run(arguments: argparse.Namespace) -> Any:
    """Make a model the champion."""
    settings = Settings()
    settings.storage.check_writable()
    if arguments.dataset is not None:
        champion.dataset_of(settings, arguments.dataset)
    dataset, key, _ = models.find(settings, arguments.model, arguments.dataset)
    done = change.promote(
        settings, dataset, key, arguments.why, n=arguments.n, widths=arguments.widths
    )
    return champion.show_change(arguments, settings, done)
