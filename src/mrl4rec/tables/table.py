"""What a table is: columns with types and meaning, a key, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

RETENTION = "interval 3650 days"
"""How long Delta keeps its log: long, because the history is the cache."""

DELTA_PROPERTIES = {
    "delta.logRetentionDuration": RETENTION,
    "delta.deletedFileRetentionDuration": RETENTION,
    "delta.enableDeletionVectors": "false",
}


@dataclass(frozen=True)
class Column:
    """One column: its Arrow type, what it means (with its unit), and whether it may be null."""

    type: pa.DataType
    meaning: str
    nullable: bool = False
    added_later: bool = False
    """Versions written before it was declared lack it, and that is no fault."""


@dataclass(frozen=True)
class Table:
    """A Delta table at ``<warehouse>/<dataset>/<name>``."""

    name: str
    key: tuple[str, ...]
    meaning: str
    columns: Mapping[str, Column]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema. Delta stores null or not; what may be null is the gate's business."""
        return pa.schema([(name, column.type) for name, column in self.columns.items()])
