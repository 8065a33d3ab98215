"""``mrl4rec hierarchy``: clusters of each prefix against planted groups and each other."""

from __future__ import annotations

import argparse
import logging
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from flows import console
from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.evaluation import hierarchy as measuring
    from mrl4rec.reporting import hierarchy
    from mrl4rec.reporting import runs as stored

log = logging.getLogger("mrl4rec")


def add_options(command: argparse.ArgumentParser) -> None:
    """The models, and the data set they were run on."""
    command.add_argument(
        "models",
        nargs="*",
        default=["MRL-M", "BPR-D"],
        metavar="MODEL",
        help="methods that were run, or stage keys of models",
    )
    command.add_argument("--dataset", default="planted", help="data set they were run on")


def run(arguments: Namespace) -> Any:
    """Measure models, raw and rotated (or find them measured), and print what came of it."""
    settings = Settings()
    settings.storage.check_writable()
    found: list[dict[str, Any]] = []
    for one in _runs(settings, arguments.dataset, arguments.models):
        for rotated in (False, True):
            log.info("%s%s, seed %s", one.method, ", rotated" if rotated else "", one.seed)
            found += measuring.measured(settings, arguments.dataset, one.model, rotated=rotated)
    if arguments.json:
        return found

    for title, table in hierarchy.tables(found).items():
        console.table(f"{arguments.dataset}: {title}", list(table.head), table.rows)
    return None


def _runs(settings: Settings, dataset: str, names: Sequence[str]) -> list[Any]:
    """Evaluated models by method or the beginning of a key; an evaluation of their rotated vectors
    is not another model.
    """
    settings.storage.chosen([dataset])
    runs = [run for run in stored.load_runs(settings, dataset) if run.model and not run.rotated]
    stored.need_runs(runs, str(settings.storage.dataset_dir(dataset)))
    out = []
    for name in names:
        said = name.strip().lower()
        hits = [r for r in runs if r.method.lower() == said]
        hits = hits or [r for r in runs if len(said) > 5 and str(r.model).startswith(said)]
        if not hits:
            methods = list(dict.fromkeys(run.method for run in runs))
            raise UsageError(
                f"no model {name!r} was evaluated on {dataset}", todo=nearest(name, methods)
            )
        out += hits
    return list({run.model: run for run in out}.values())
