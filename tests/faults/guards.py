"""Guards that can be taken out, to see that the tests notice: what each function does is undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from mrl4rec.stage import properties
from mrl4rec.tables import store


def take_out(name: str) -> None:
    """Take a guard out of this process."""
    GUARDS[name]()


def _lease() -> None:
    """Nobody waits for anybody."""
    from mrl4rec.lease import Lease

    Lease.__enter__ = lambda self: self  # type: ignore[method-assign]
    Lease.__exit__ = lambda *_: None  # type: ignore[method-assign]


def _fence() -> None:
    """Whoever lost its lease commits all the same, to whatever version is there by then."""
    from mrl4rec import lease

    lease.confirm = lambda: None
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
    "lease": _lease,
    "fence": _fence,
    "checksum": _checksum,
}
"""By name: taking it out."""
