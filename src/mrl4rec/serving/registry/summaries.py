"""The ledger in words, for tables that people read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrl4rec.serving.registry.ledger import Entry, short


def evidence_in_short(evidence: Mapping[str, Any]) -> str:
    """``ndcg@20 0.0412 → 0.0431 [+0.0004, +0.0034]``; empty where a row rests on no duel."""
    told = evidence.get("difference")
    if not isinstance(told, Mapping) or not told.get("judged", True):
        return ""
    try:
        values = f"{told['champion']:.4f} → {told['challenger']:.4f}"
        interval = f"[{told['low']:+.4f}, {told['high']:+.4f}]"
    except (KeyError, TypeError, ValueError):
        return ""
    return f"{evidence.get('metric', '')} {values} {interval}".strip()


def change_in_short(row: Entry) -> str:
    """``none → 1f2a…``, or the champion that stayed."""
    if row.champion == row.champion_before:
        return short(row.champion)
    return f"{short(row.champion_before)} → {short(row.champion)}"
