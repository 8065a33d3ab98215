"""Commits that no stage made: found at the head of a table, judged once, and undone.

Readers go through a stage's commit, so what somebody writes into a table by hand is never read.
But it must not stay unnoticed either: it is judged the first time it is seen.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from deltalake import DeltaTable

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import METADATA, Commit
from mrl4rec.core.storage import open_table
from mrl4rec.tables import versions

HARMLESS = ("OPTIMIZE", "VACUUM", "SET TBLPROPERTIES", "UPGRADE PROTOCOL", "FSCK")
"""Operations after which the table holds the same rows."""
log = logging.getLogger("mrl4rec.checks.gate")


def foreign_heads(
    settings: Settings, dataset: str, commit: Commit, tables: Iterable[str]
) -> dict[str, int]:
    """Table → head version, for those somebody changed by hand right above the stage's version."""
    heads = {}
    for table in tables:
        delta = open_table(settings.storage.table_uri(dataset, table))
        if delta is not None and _is_foreign(delta, commit.table_version(table)):
            heads[table] = delta.version()
    return heads


def restore(settings: Settings, dataset: str, commit: Commit, heads: Mapping[str, int]) -> None:
    """Bring the stage's tables back to its versions; what was there stays in the history."""
    versions.restore(settings, dataset, commit.table, commit)
    for table, head in heads.items():
        log.warning(
            "%s: version %d of %s was written by no stage and failed its gate; the table is back "
            "at what it was in version %d",
            dataset, head, table, commit.table_version(table),
        )  # fmt: skip


def _is_foreign(delta: DeltaTable, version: int) -> bool:
    """Whether the rows above ``version`` are of no stage and of no restore, and it is the base."""
    above = delta.version() - version
    entries = delta.history(limit=above) if above > 0 else []
    changes = [e for e in entries if not str(e.get("operation", "")).startswith(HARMLESS)]
    if not changes or _is_restore(changes[0]) or _is_stage(changes[0]):
        return False
    return not any(_is_stage(entry) for entry in changes)


def _is_restore(entry: Mapping[str, Any]) -> bool:
    named = str(entry.get("operation", "")).startswith("RESTORE")
    return named or "restored_to" in _note(entry)


def _is_stage(entry: Mapping[str, Any]) -> bool:
    return "key" in _note(entry)


def _note(entry: Mapping[str, Any]) -> dict[str, Any]:
    try:
        body = json.loads(entry.get(METADATA) or "null")
    except ValueError:  # somebody else's words
        return {}
    return body if isinstance(body, dict) else {}
