"""A model's card for people: Markdown for its run's page, and JSON without the curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mrl4rec.tracking.identity import identity, text

Value = tuple[str, int, int | None, float]
"""(metric, k, width or None, value)"""
COLUMNS = (("recall", 10), ("recall", 20), ("recall", 50), ("ndcg", 10), ("ndcg", 20))
LEFT_OUT = ("history", "files", "sha256", "format")
"""Of the card: the curves are the run's metrics, and the rest is of the folder's files."""


def card_json(card: Mapping[str, Any]) -> str:
    """The card as JSON text."""
    body = {name: value for name, value in card.items() if name not in LEFT_OUT}
    return json.dumps(body, indent=1, sort_keys=True, default=str) + "\n"


def card_markdown(name: str, card: Mapping[str, Any], values: Sequence[Value]) -> str:
    """The model's values on test by width, then what it is and how it was trained."""
    what = identity(card)
    cost = card.get("cost") or {}
    facts = {
        "data set": card["dataset"],
        "split": what.split_key,
        "protocol": what.protocol,
        "method": what.method,
        "levels": what.levels,
        "settings": what.changed or "defaults",
        "seed": what.seed,
        "epochs asked": what.epochs,
        "epoch kept (from 0)": card.get("epoch"),
        "trained on": text(card.get("folds")),
        "engine": f"{text(card.get('engine'))}, {text(card.get('device'))}",
        "seconds": f"{cost['seconds']:.1f}" if "seconds" in cost else None,
        "model": card["stage_key"],
    }
    lines = [f"## {name}", "", *_table(values), "| | |", "|---|---|"]
    lines += [f"| {k} | {v} |" for k, v in facts.items() if v not in (None, "none", "none, none")]
    return "\n".join(lines) + "\n"


def _table(values: Sequence[Value]) -> list[str]:
    by_width: dict[int | None, dict[tuple[str, int], float]] = {}
    for metric, k, width, value in values:
        by_width.setdefault(width, {})[metric, k] = value
    columns = [at for at in COLUMNS if any(at in row for row in by_width.values())]
    if not columns:
        return []
    head = " | ".join(f"{metric}@{k}" for metric, k in columns)
    lines = [f"| test, width | {head} |", "|---" * (len(columns) + 1) + "|"]
    for width, row in sorted(by_width.items(), key=lambda item: -(item[0] or 0)):
        cells = " | ".join(f"{row[at]:.4f}" if at in row else "–" for at in columns)
        lines.append(f"| {'whole' if width is None else width} | {cells} |")
    return [*lines, ""]
