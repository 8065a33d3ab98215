"""The card of a model folder: what it is, how it was made, and the digest of every file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import AnyPath, sha256
from mrl4rec.core.stage import json_digest

CARD, MODEL, SEEN, USERS, ITEMS, CONSUMED = (
    "model.json",
    "model.safetensors",
    "seen.safetensors",
    "users.parquet",
    "items.parquet",
    "consumed.safetensors",
)
FORMAT = 1
MOST_BYTES = 64 << 20
"""Of a card: a learning curve of a hundred thousand epochs has fewer."""
TODO = "delete the folder and train again: `mrl4rec train` makes it anew from the committed split"


@dataclass(frozen=True)
class FileFacts:
    """What was written of one file."""

    bytes: int
    sha256: str


Files = dict[str, FileFacts]
"""By name."""


@dataclass(frozen=True)
class ModelCard:
    """What a model is and how it was made: JSON values only."""

    stage_key: str
    dataset: str
    method: dict[str, Any]
    """The method's own values, flat."""
    method_name: str
    levels: tuple[int, ...] | None = None
    """Nested widths it was trained with; None for a method without levels."""
    seed: int | None = None
    protocol: str = "clean"
    epoch: int | None = None
    """Epoch of the kept vectors, from 0; None for a closed form."""
    versions: dict[str, Any] = field(default_factory=dict)
    """Versions and stage keys of the tables it was trained on."""
    shapes: dict[str, list[int]] = field(default_factory=dict)
    """Shape of each tensor; filled in by ``save``."""
    kind: str = ""
    """``factors``, ``mixture``, ``item_item`` or ``counts``; filled in by ``save``."""
    widths: tuple[int | None, ...] = (None,)
    """Widths it was trained to be cut to; filled in by ``save``."""
    epochs_asked: int | None = None
    """At most so many were to be trained; None for a closed form, and in older cards."""
    code: int | None = None
    """The method's code version; None in older cards."""
    engine: str | None = None
    device: str | None = None
    ranks: int = 1
    dtype: str | None = None
    """Type of the vectors in training; None for a closed form, and in older cards."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """Learning curve: one entry an epoch, ``epoch``, ``loss``, ``valid_recall@10`` …"""
    trained_until: str | None = None
    """Newest interaction trained on, ISO 8601; None where there are no times. Where a warm start
    has seen a newer one, that."""
    folds: tuple[str, ...] = ("train", "valid")
    """The folds of its split that it was fitted on."""
    warm: str | None = None
    """Stage key of the model it started from; None: a cold start."""
    created_with: dict[str, str] = field(default_factory=dict)
    """Versions of mrl4rec, torch and numpy."""
    cost: dict[str, float] = field(default_factory=dict, compare=False)
    """What it took: ``seconds``, ``cpu_seconds``, ``peak_mb`` (``mrl4rec.core.cost``); empty where
    that was not measured."""


def write_card(folder: Path, card: ModelCard) -> None:
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
    }
    body = {"format": FORMAT, **asdict(card), "files": files}
    body["sha256"] = digest(body)
    text = json.dumps(body, indent=1, sort_keys=True, allow_nan=False, default=str)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def read(folder: AnyPath) -> tuple[ModelCard, Files]:
    path = folder / CARD
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES >> 20} MiB")
        body = json.loads(path.read_text(encoding="utf-8"))
        whole = isinstance(body, dict) and body.get("sha256") == digest(body)
    except FileNotFoundError as error:
        raise Mrl4recError(
            "this is no model folder: model.json is missing",
            where=str(folder),
            todo="name a folder under <warehouse>/<dataset>/models, or train one",
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise Mrl4recError(
            f"the card cannot be read: {error}", where=str(path), todo=TODO
        ) from error
    if not whole:
        raise Mrl4recError(
            "the card is not what was written (its digest differs)", where=str(path), todo=TODO
        )
    if body.get("format") != FORMAT:
        raise Mrl4recError(
            f"the folder has format {body.get('format')!r}, this version reads {FORMAT}",
            where=str(path),
            todo="load it with the version of mrl4rec that wrote it, or train again",
        )
    known = {entry.name for entry in fields(ModelCard)}
    try:
        card = _reader(ModelCard).validate_python({k: v for k, v in body.items() if k in known})
        return card, _reader(Files).validate_python(body.get("files"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Mrl4recError(
            f"the card cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            where=str(path),
            todo=TODO,
        ) from error


@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    """Holds values from outside against the types of their fields."""
    return TypeAdapter(kind)


def check_files(folder: AnyPath, files: Files, verify: bool) -> None:
    older = CONSUMED not in files  # folders of earlier versions have none
    for name in (MODEL, SEEN, USERS, ITEMS, *(() if older else (CONSUMED,))):
        path, known = folder / name, files.get(name)
        if known is None or not path.is_file():
            raise Mrl4recError(f"{name} is missing", where=str(folder), todo=TODO)
        size = path.stat().st_size
        if size != known.bytes:
            raise Mrl4recError(
                f"{name} has {size} bytes, {known.bytes} were written",
                where=str(path),
                todo=TODO,
            )
        if verify and sha256(path) != known.sha256:
            raise Mrl4recError(
                f"{name} is not what was written (its digest differs)", where=str(path), todo=TODO
            )


def digest(body: dict[str, Any]) -> str:
    known = {name: value for name, value in body.items() if name != "sha256"}
    return json_digest(known)
