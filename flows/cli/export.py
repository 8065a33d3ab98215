"""``mrl4rec export``: a model's vectors, weights or counts for serving elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from flows.cli import champion
from mrl4rec.core import files, lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.serving import export as exporting
    from mrl4rec.serving import models
    from mrl4rec.training import stored


def add_options(command: argparse.ArgumentParser) -> None:
    """The model, what of it, and the format."""
    add = command.add_argument
    champion.add_model(command)
    champion.add_dataset(command, champion.OF_DATASET)
    add("--width", type=champion.positive, help="first so many dimensions; unset: all")
    add("--rotate", action="store_true", help="rotate first (exact SVD): better narrow prefixes")
    add(
        "--neighbours",
        type=champion.positive,
        metavar="K",
        help="of an item-item model, lists of the K largest weights of each item; unset: all "
        "weights",
    )
    add("--format", choices=("npy", "parquet", "faiss"), default="npy", help="form of the files")
    add("--out", help="folder to write; unset: export/<key>-<width> in the warehouse")


def run(arguments: argparse.Namespace) -> Any:
    """Write the files, and print the folder and what they hold."""
    settings = Settings()
    if arguments.out:
        files.check_folder(Path(arguments.out).parent, "--out", "name another folder")
    else:
        settings.storage.check_writable()
    named = models.find(settings, arguments.model, arguments.dataset)
    asked = exporting.Options(arguments.width, arguments.rotate, arguments.neighbours)
    out = Path(arguments.out or settings.storage.export_dir(_name(named.key, asked)))
    loaded = stored.load(settings, named.folder)
    written = exporting.run(loaded, out, asked, arguments.format)
    if arguments.json:
        return {"export": str(written.folder), "what": written.words}
    print(written.folder)
    print(f"{loaded.card.method_name} of {named.dataset}: {written.words}")
    return None


def _name(key: str, asked: Any) -> str:
    parts = [key[:12], str(asked.width or "full")]
    parts += ["rotated"] if asked.rotate else []
    parts += [f"{asked.neighbours}-neighbours"] if asked.neighbours else []
    return "-".join(parts)
