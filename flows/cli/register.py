"""``mrl4rec register``: a version of the registered model in MLflow, without promoting it."""

from __future__ import annotations

import argparse
from typing import Any

from flows.cli import champion
from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.serving import models
    from mrl4rec.serving.registry import aliases, change


def add_options(command: argparse.ArgumentParser) -> None:
    """The model."""
    champion.add_model(command)
    champion.add_dataset(command, champion.OF_DATASET)


def run(arguments: argparse.Namespace) -> Any:
    """Register a model and print its version."""
    settings = Settings()
    settings.storage.check_writable()
    dataset, key, _ = models.find(settings, arguments.model, arguments.dataset)
    loaded = change.fit_to_serve(settings, dataset, key)
    registry = aliases.Aliases(settings, dataset)
    version = registry.register(key) if registry.tracker.reachable() else None
    if version is None:
        raise Mrl4recError(
            "MLflow did not take the model",
            where=registry.tracker.place,
            todo="see whether the server runs, then type the same command again",
        )
    uri = f"models:/{registry.name}/{version}"
    if arguments.json:
        return {"dataset": dataset, "key": key, "version": version, "uri": uri}
    print(f"{loaded.card.method_name} {key[:12]} is {uri}")
    return None
