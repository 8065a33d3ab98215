"""``mrl4rec registry``: the champion, and whether ledger, MLflow and recommendations agree."""

from __future__ import annotations

import argparse
from typing import Any

from flows.cli import champion
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.serving.registry import agree


def add_options(command: argparse.ArgumentParser) -> None:
    """The data set, and the form of the recommendations."""
    champion.add_dataset(command)
    champion.add_lists(command)


def run(arguments: argparse.Namespace) -> Any:
    """Bring all into agreement and say how it stands; ``ok`` False where it could not be."""
    settings = Settings()
    settings.storage.check_writable()
    dataset = champion.dataset_of(settings, arguments.dataset)
    found = agree.bring_into_agreement(settings, dataset, n=arguments.n, widths=arguments.widths)
    answer = {"ok": found.ok, **champion.as_dict(settings, found)}
    if not arguments.json:
        champion.show(f"registry of {dataset}", answer)
    return answer
