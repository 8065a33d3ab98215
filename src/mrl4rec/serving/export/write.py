"""Writing an exported model: its files, what each user has had, and a manifest.

``manifest.json`` says how a score is computed. Reading the files back gives the lists that the
model itself gives, but for lists of neighbours that were cut (``complete`` false).
"""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from mrl4rec.core import tensor_file
from mrl4rec.core.errors import UsageError
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.model_folder import Loaded
from mrl4rec.serving.export.contents import Contents, Options, contents
from mrl4rec.serving.export.formats import FORMATS, check

MANIFEST = "manifest.json"
WHOLE = Options()


class Exported(NamedTuple):
    """What was written."""

    folder: Path
    words: str
    """What it is, for people."""


def run(
    loaded: Loaded,
    out: Path,
    asked: Options = WHOLE,
    format: str = "npy",
    *,
    seen: bool = True,
) -> Exported:
    """Write a model to a new folder ``out``.

    ``format`` is one of ``FORMATS``. ``seen`` adds the items each user is known to have had
    (``seen.safetensors``). Raises UsageError for an option that the model cannot fulfil, an unknown
    format, or a place that is taken or cannot be written.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            "the place to write to is taken", where=str(out), todo="name a new or empty folder"
        )
    found = contents(loaded, asked)
    check(format, found)
    temporary = out.parent / f".{out.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise UsageError(
            f"the folder cannot be made: {error.strerror}",
            where=str(out),
            todo="name one that can be written: --out FOLDER",
        ) from error
    try:
        files = FORMATS[format](temporary, found)
        if found.history is not None:
            text = "indptr, indices: rows of the items that a user's scores are summed over"
            files |= _write_rows(temporary, "history.safetensors", found.history, text)
        if seen:
            text = "indptr, indices: rows of the items each user has had, held-out ones too"
            files |= _write_rows(temporary, "seen.safetensors", loaded.consumed, text)
        body = _manifest(loaded, found, format, files)
        (temporary / MANIFEST).write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Exported(out, found.words)


def _write_rows(folder: Path, name: str, rows: Csr, text: str) -> dict[str, str]:
    tensor_file.write(folder / name, {"indptr": rows.indptr, "indices": rows.indices})
    return {name: text}


def _manifest(
    loaded: Loaded, found: Contents, format: str, files: dict[str, str]
) -> dict[str, Any]:
    card = loaded.card
    return {
        "what": found.words,
        "score": found.score,
        "stage_key": card.stage_key,
        "dataset": card.dataset,
        "method": card.method_name,
        "format": format,
        **found.facts,
        "users": len(found.users.ids),
        "items": len(found.items.ids),
        "dtype": "float32",
        "files": files,
        "ties": "equal scores have no order of their own here",
    }
