"""Guards that can be taken out, to see that the tests notice: what each function does is undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from mrl4rec.core.stage import properties
from mrl4rec.tables import store


def take_out(name: str) -> None:
    """Take a guard out of this process."""
    GUARDS[name]()


def _lock() -> None:
    """No stage waits for another."""
    from mrl4rec.core import locks

    locks.locked = lambda *_: nullcontext()  # type: ignore[assignment]


def _lock_and_version() -> None:
    """No stage waits, and its marker is committed to whatever version is there by then."""
    _lock()
    store.append_rows = append_anyway


def write_anyway(
    uri: str, rows: pa.RecordBatchReader, mode: Literal["append", "overwrite"], text: str, _: int
) -> int:
    """``duckdb_engine.commit_stream`` to whatever version is there."""
    write_deltalake(uri, rows, mode=mode, commit_properties=properties(text))
    return DeltaTable(uri).version()


def append_anyway(uri: str, rows: pa.Table, metadata: str, base: int) -> int:
    """``store.append_rows`` that appends to whatever version is there."""
    write_deltalake(uri, rows, mode="append", commit_properties=properties(metadata))
    return DeltaTable(uri).version()


def _checksum() -> None:
    """A checkpoint is taken for what its name says, unread."""
    from mrl4rec.training import checkpoint

    def read(path: Path) -> Any:
        from safetensors.numpy import load

        body = path.read_bytes()
        length = int.from_bytes(body[:8], "little")
        header = json.loads(body[8 : 8 + length])["__metadata__"]
        state = checkpoint.State(**json.loads(header["state"]))
        return state, json.loads(header["identity"]), load(body)

    checkpoint._read = read


GUARDS: dict[str, Callable[[], None]] = {
    "lock": _lock,
    "lock and version": _lock_and_version,
    "checksum": _checksum,
}
"""By name: taking it out."""
