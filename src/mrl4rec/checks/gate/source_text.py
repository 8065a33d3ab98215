"""What the gate on ``reviews`` takes from how each source was read, as SQL text."""

from __future__ import annotations

import json
from typing import Any

from mrl4rec.core.storage import read_table, table_at
from mrl4rec.formats.mapping import FORMATS
from mrl4rec.tables.expectation import sql_ranges, sql_session_place


def of(uri: str, version: int) -> dict[str, str]:
    """SQL of ``rating_ranges`` and ``session_place``, from a version of the table ``sources``."""
    found = mappings(uri, version)
    ranges = {digest: mapping.get("rating_range") for digest, mapping in found.items()}
    sessions = [digest for digest, held in found.items() if held.get("syntax") == "sessions"]
    limited = {digest: (limits[0], limits[1]) for digest, limits in ranges.items() if limits}
    return {
        "rating_ranges": sql_ranges(limited),
        "session_place": sql_session_place(sessions),
    }


def mappings(uri: str, version: int) -> dict[str, dict[str, Any]]:
    """Source → its mapping as it is stored; of a version before there were any, its format's."""
    found = {}
    for row in read_table(table_at(uri, version)).to_pylist():
        form = FORMATS.get(row.get("format", ""))
        stored = row.get("mapping")
        mapping = json.loads(stored) if stored is not None else form and form.to_json()
        found[row["source_sha256"]] = mapping or {}
    return found
