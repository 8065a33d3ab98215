"""``mrl4rec export``: vectors for serving."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mrl4rec.core import files, lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.serving import export as exporting
    from mrl4rec.serving.registry import find


def add_options(command: argparse.ArgumentParser) -> None:
    """The model, the width and the format."""
    add = command.add_argument
    add("model", help="a model folder, a stage key or its beginning, or the id of an MLflow run")
    add("--width", type=int, help="first so many dimensions; unset: all")
    add("--rotate", action="store_true", help="rotate first (exact SVD): better narrow prefixes")
    add("--format", choices=("npy", "parquet", "faiss"), default="npy", help="form of the files")
    add("--out", help="folder to write; unset: export/<key>-<width> in the warehouse")


def run(arguments: argparse.Namespace) -> Any:
    """Write the vectors and print the folder."""
    settings = Settings()
    if arguments.out:
        files.check_folder(Path(arguments.out).parent, "--out", "name another folder")
    else:
        settings.storage.check_writable()
    folder = Path(arguments.model)
    if not (folder / "model.json").exists():
        folder = settings.storage.model_dir(*find.model(settings, arguments.model))
    name = f"{folder.name[:12]}-{arguments.width or 'full'}{'-rotated' if arguments.rotate else ''}"
    out = Path(arguments.out) if arguments.out else settings.storage.export_dir(name)
    written = exporting.run(folder, arguments.width, arguments.rotate, arguments.format, out)
    if arguments.json:
        return {"export": str(written)}
    print(written)
    return None
