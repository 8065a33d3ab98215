"""Writing a model folder whole or not at all, and reading it back verified."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mrl4rec.core import tensor_file
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import AnyPath, here, put_folder, remove, sync
from mrl4rec.core.stage import canonical
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.model_folder import card as cards
from mrl4rec.models.model_folder.card import (
    CARD,
    CONSUMED,
    ITEMS,
    MODEL,
    SEEN,
    TODO,
    USERS,
    Files,
    ModelCard,
)
from mrl4rec.models.model_folder.tensors import (
    Ids,
    check_finite,
    check_fit,
    check_forms,
    to_model,
    to_tensors,
)
from mrl4rec.models.scorers import Scorer

P = TypeVar("P", bound=AnyPath)


class Loaded(NamedTuple):
    """What a model folder holds."""

    model: Scorer
    card: ModelCard
    ids: Ids
    seen: Csr
    """(U, I) the pairs it was trained on: left out when it is evaluated."""
    consumed: Csr
    """(U, I) all pairs known when it was trained, held-out ones included: left out when it is
    served. Where a folder of an earlier version does not say, those it was trained on."""


def save(
    folder: P,
    model: Scorer,
    card: ModelCard,
    ids: tuple[Any, Any],
    seen: Csr,
    consumed: Csr | None = None,
) -> P:
    """Write a model folder; afterwards it is complete, or the place is as it was.

    ``seen`` are the pairs it was trained on, ``consumed`` all that are known; None: the same.
    A sound model already there is left alone (its name is its stage key), a damaged one replaced.
    Raises Mrl4recError where the parts do not fit each other or a value is not finite.
    """
    tensors = to_tensors(model)
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    card = replace(card, shapes=shapes, kind=model.kind, widths=model.widths)
    ids = Ids(np.asarray(ids[0], dtype=object), np.asarray(ids[1], dtype=object))
    consumed = seen if consumed is None else consumed
    check_fit(model, ids, seen, consumed, str(folder))
    check_finite(tensors, str(folder))
    with _beside(folder) as temporary:
        tensor_file.write(temporary / MODEL, tensors)
        for name, pairs in ((SEEN, seen), (CONSUMED, consumed)):
            tensor_file.write(temporary / name, {"indptr": pairs.indptr, "indices": pairs.indices})
        _write_ids(temporary / USERS, "user_id", ids.user_ids)
        _write_ids(temporary / ITEMS, "item_id", ids.item_ids)
        cards.write_card(temporary, card)
        for path in [*temporary.iterdir(), temporary]:
            sync(path)
        _put(temporary, folder)
    return folder


def load(folder: AnyPath, *, verify: bool = True) -> Loaded:
    """Read a model folder.

    ``verify`` compares every file with the digest in the card; shapes, fit and (with ``verify``)
    finiteness are checked too. Wide item-item matrices are mapped, not read. Raises Mrl4recError
    naming the file that is missing, cut short or changed.
    """
    card, files = cards.read(folder)
    cards.check_files(folder, files, verify=False)
    with here(folder) as copy:
        return _load(copy, card, files, verify=verify)


def _load(folder: Path, card: ModelCard, files: Files, *, verify: bool) -> Loaded:
    cards.check_files(folder, files, verify)
    tensors = tensor_file.read(folder / MODEL)
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    if shapes != card.shapes:
        raise Mrl4recError(
            f"the tensors have other shapes than the card says: {shapes}, expected {card.shapes}",
            where=str(folder / MODEL),
            todo=TODO,
        )
    ids = Ids(_read_ids(folder / USERS, "user_id"), _read_ids(folder / ITEMS, "item_id"))
    seen = _read_pairs(folder / SEEN, len(ids.item_ids))
    consumed = seen if CONSUMED not in files else _read_pairs(folder / CONSUMED, seen.n_columns)
    model = to_model(card, tensors, len(ids.user_ids), str(folder))
    check_fit(model, ids, seen, consumed, str(folder))
    if verify:
        check_finite(tensors, str(folder))
    return Loaded(model, card, ids, seen, consumed)


def read_card(folder: AnyPath) -> ModelCard:
    """The card alone, verified against its own digest; cheap."""
    return cards.read(folder)[0]


def is_complete(folder: AnyPath) -> bool:
    """True where a folder holds a card and every file it names at its full length."""
    try:
        _, files = cards.read(folder)
        cards.check_files(folder, files, verify=False)
    except Mrl4recError:
        return False
    return True


def digest(folder: AnyPath) -> str:
    """SHA-256 over names, types, shapes and bytes of the model's tensors."""
    with here(folder / MODEL) as file:
        tensors = tensor_file.read(file)
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(canonical([name, tensor.dtype.str, list(tensor.shape)]).encode())
        total.update(np.ascontiguousarray(tensor).data)
    return total.hexdigest()


def _write_ids(path: Path, name: str, ids: NDArray[np.object_]) -> None:
    pq.write_table(pa.table({name: pa.array(ids, pa.string())}), path)


def _read_pairs(path: Path, n_items: int) -> Csr:
    rows = tensor_file.read(path)
    check_forms(rows, ("indptr", "indices"), str(path))
    return Csr(rows["indptr"], rows["indices"], n_items)


def _read_ids(path: Path, name: str) -> NDArray[np.object_]:
    try:
        return pq.read_table(path)[name].cast(pa.string()).to_numpy()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise Mrl4recError(
            f"the ids cannot be read: {error}", where=str(path), todo=TODO
        ) from error


@contextmanager
def _beside(folder: AnyPath) -> Iterator[Path]:
    """A folder to write in, gone afterwards: beside the place, so that it can be renamed."""
    if not isinstance(folder, Path):
        with tempfile.TemporaryDirectory(prefix="mrl4rec-") as made:
            yield Path(made)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name[:32]}.{uuid.uuid4().hex[:8]}.tmp"
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(temporary: Path, folder: AnyPath) -> None:
    """Rename into place; a sound folder there wins, another is moved away first.

    An object store has no rename: the card comes last.
    """
    if not isinstance(folder, Path):
        if not (is_complete(folder) and _is_sound(folder)):
            remove(folder)
            put_folder(temporary, folder, last=CARD)
        return
    for _ in range(3):
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.exists():
                raise
            if is_complete(folder) and _is_sound(folder):
                return
            broken = folder.parent / f".{folder.name[:32]}.{uuid.uuid4().hex[:8]}.broken"
            os.rename(folder, broken)
            shutil.rmtree(broken, ignore_errors=True)
        else:
            sync(folder.parent)
            return
    raise Mrl4recError("the folder could not be put in place", where=str(folder))


def _is_sound(folder: AnyPath) -> bool:
    try:
        load(folder)
    except Mrl4recError:
        return False
    return True
