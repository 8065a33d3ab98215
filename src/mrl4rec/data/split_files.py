"""Train and test files in the paper authors' form: lines ``user item item …``, plain or gzip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.files import sha256
from mrl4rec.core.storage import read_table
from mrl4rec.formats.lines import Piece, author_pieces
from mrl4rec.formats.packing import unpacked

FOLDS = ("train", "test")
SCHEMA = pa.schema([("user_idx", pa.int32()), ("item_idx", pa.int32()), ("fold", pa.string())])


def find(folder: Path) -> dict[str, Path]:
    """The folder's train and test file. Raises UsageError where one is missing or there are two."""
    files = {}
    for fold in FOLDS:
        found = [p for p in (folder / f"{fold}.txt", folder / f"{fold}.txt.gz") if p.is_file()]
        if len(found) != 1:
            raise UsageError(
                f"{'no' if not found else 'both a plain and a gzipped'} {fold}.txt",
                where=str(folder),
                todo="give a folder with one train.txt[.gz] and one test.txt[.gz], "
                "each line: user item item …",
            )
        files[fold] = found[0]
    return files


def digests(files: dict[str, Path]) -> dict[str, str]:
    """SHA-256 of each file's bytes."""
    return {fold: sha256(path) for fold, path in files.items()}


def read(files: dict[str, Path]) -> pa.Table:
    """The pairs of both files with their fold, sorted.

    Raises Mrl4recError for a line that is not whole numbers, and for a pair given twice.
    """
    parts = [(fold, *_read_one(path)) for fold, path in files.items()]
    users = np.concatenate([part[1] for part in parts])
    items = np.concatenate([part[2] for part in parts])
    folds = np.concatenate([np.full(len(part[1]), n) for n, part in enumerate(parts)])
    order = np.lexsort((folds, items, users))
    users, items, folds = users[order], items[order], folds[order]
    again = np.flatnonzero((users[1:] == users[:-1]) & (items[1:] == items[:-1]))
    if len(again):
        n = again[0]
        where = sorted({parts[folds[m]][0] for m in (n, n + 1)}, reverse=True)
        raise Mrl4recError(
            f"{len(again):,} pairs are given twice; the first: user {users[n]} item {items[n]} "
            f"({' and '.join(where)})",
            where=", ".join(map(str, files.values())),
        )
    names = pa.array([part[0] for part in parts])
    return pa.Table.from_arrays(
        [pa.array(users), pa.array(items), names.take(pa.array(folds))], schema=SCHEMA
    )


def differences(given: pa.Table, interactions: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (n, 2) that only the interactions hold, and those that only the files hold, sorted."""
    ours, theirs = _keys(interactions), _keys(given)
    only = (np.setdiff1d(ours, theirs), np.setdiff1d(theirs, ours))
    core_only, files_only = (np.stack([k >> 32, k & 0xFFFFFFFF], axis=1) for k in only)
    return core_only, files_only


def require_same(
    given: pa.Table, files: Mapping[str, Path], tables: Mapping[str, DeltaTable]
) -> None:
    """Raise Mrl4recError unless the pairs of the files are exactly those of ``interactions``.

    ``tables`` also has ``users`` and ``items``, to name the first that differ.
    """
    pairs = read_table(tables["interactions"], ["user_idx", "item_idx"])
    core_only, files_only = differences(given, pairs)
    if not len(core_only) and not len(files_only):
        return
    ids = {name: dict(zip(*read_table(tables[name]).to_pydict().values(), strict=True))
           for name in ("users", "items")}  # fmt: skip
    parts = []
    for only, holder, other in (
        (core_only, "the interactions", "the files"),
        (files_only, "the files", "the interactions"),
    ):
        if len(only):
            user, item = only[0].tolist()
            names = f"{ids['users'].get(user, 'unknown')}, {ids['items'].get(item, 'unknown')}"
            parts.append(f"{len(only):,} pairs of {holder} are not in {other}; the first: "
                         f"user {user} item {item} ({names})")  # fmt: skip
    raise Mrl4recError(
        "the predefined split and the interactions are not the same pairs: " + "; ".join(parts),
        where=", ".join(map(str, files.values())),
        todo="give the files made from this dump with this --kcore, whose numbers are the ids by "
        "first appearance",
    )


def _keys(pairs: pa.Table) -> np.ndarray:
    users, items = (pairs[name].to_numpy().astype(np.int64) for name in ("user_idx", "item_idx"))
    return (users << 32) | items


def _read_one(path: Path) -> tuple[np.ndarray, np.ndarray]:
    none = np.empty(0, dtype=np.int32)
    users, items = [none], [none]
    try:
        for piece in author_pieces(unpacked(path)):
            values = _numbers(piece, path)
            items.append(values[1:])
            users.append(np.full(len(values) - 1, values[0], dtype=np.int32))
    except OSError as error:
        raise Mrl4recError(f"cannot be read: {error}", where=str(path)) from error
    return np.concatenate(users), np.concatenate(items)


def _numbers(piece: Piece, path: Path) -> np.ndarray:
    """The user and its items, as numbers."""
    tokens = [piece.user, *piece.items]
    if all(token.isdigit() for token in tokens):
        values = np.array(list(map(int, tokens)))
        if values.max() < np.iinfo(np.int32).max:
            return values.astype(np.int32)
    shown = b" ".join(tokens[:20])[:60].decode("utf-8", "replace")
    raise Mrl4recError(
        f"not a line of whole numbers `user item item …`: {shown!r}",
        where=f"{path}, line {piece.line}",
    )
