"""Figures as the page takes them: a title, inline SVG, and the table that stands under it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.reporting.svg import to_svg

with lazy.imports():
    import markupsafe

TITLES = {
    "recall_by_width": "{metric} by width",
    "level_sweep": "{metric} by level set",
    "learning_curve": "The metric that chose the epoch",
    "loss": "Training loss",
    "user_degrees": "Reviews of a user",
    "item_degrees": "Reviews of an item",
    "rows_over_time": "Reviews over time",
    "ratings": "Ratings",
    "quarantine": "Quarantine by rule",
    "champion_over_time": "Champion and challenger",
    "standing": "{metric}: which differences are significant",
    "per_user": "{metric} of each user",
    "by_activity": "{metric} by training pairs of a user",
    "by_history": "{metric} by length of the history",
    "by_interests": "{metric} by number of vectors",
    "diversity": "Diversity against {metric}",
    "masked": "{metric}, history masked and not",
    "by_popularity": "{metric} by popularity of the test items",
    "cost": "{metric} against the seconds of training",
    "planted_users": "Planted groups of users, found in each prefix",
    "planted_items": "Planted groups of items, found in each prefix",
    "nested_users": "Clusters of users inside those of the narrower prefix",
    "nested_items": "Clusters of items inside those of the narrower prefix",
    "drift": "How each dump differs from the rows before it",
    "drift_rows": "New rows of each dump",
    "drift_auc": "What the champion makes of each dump",
}


def panels(
    drawn: Mapping[str, Any],
    tables: Mapping[str, Any],
    anchor: str,
    metric: str,
    where: str,
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Each figure with its title, what it is of, its SVG and its table.

    Figures are of ``where``: protocol, core and split; those named in ``elsewhere`` of that.
    """
    out = []
    for name, figure in drawn.items():
        title, of = TITLES[name].format(metric=metric), elsewhere.get(name, where)
        place = slug(f"{anchor}-{name}")
        svg = markupsafe.Markup(to_svg(figure, place, f"{title}, {of}"))
        out.append({"name": name, "anchor": place, "title": title, "where": of, "svg": svg,
                    "table": tables.get(name)})  # fmt: skip
    return out


def slug(text: str) -> str:
    """The text as an id of HTML."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower())
