"""``mrl4rec models``: the trained models, by the names that other commands take."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from flows import console
from flows.cli import champion
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.serving import models
    from mrl4rec.serving.registry import ledger

HEAD = ["name", "levels", "seed", "settings", "protocol", "split", "epoch", "valid R@10",
        "test R@20", "version", "key"]  # fmt: skip


def add_options(command: argparse.ArgumentParser) -> None:
    """The data set."""
    champion.add_dataset(command, "only this data set; unset: every one")


def run(arguments: argparse.Namespace) -> Any:
    """Print a table of each data set's models, the oldest first."""
    settings = Settings()
    found = {
        name: models.with_versions(settings, name, models.listed(settings, name))
        for name in settings.storage.chosen([arguments.dataset] if arguments.dataset else None)
    }
    if arguments.json:
        return [
            asdict(one) | {"folder": str(one.folder)} for of_it in found.values() for one in of_it
        ]
    for dataset, of_it in found.items():
        now = ledger.champion(settings, dataset)
        console.table(f"models of {dataset}", HEAD, [_row(one, now) for one in of_it])
    print("any command takes a name that only one of them has, or the first digits of its key")
    return None


def _row(one: Any, champion_key: str | None) -> list[Any]:
    aliases = {*one.aliases} | ({"champion"} if one.key == champion_key else set())
    version = " ".join(filter(None, [one.version, *sorted(aliases)]))
    values = [None if v is None else f"{v:.4f}" for v in (one.valid_recall_10, one.test_recall_20)]
    facts = [one.name, one.levels, one.seed, one.settings or None, one.protocol, one.split]
    return [*facts, one.epoch, *values, version or None, one.key[:12]]
