"""Tables that splits of sequences have besides: nothing masked, and several vectors a user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mrl4rec.evaluation.sequences import COSINE, HITS, JUDGED, UNION, UNMASKED
from mrl4rec.reporting.cells import Table, stat_text, text
from mrl4rec.reporting.figures import name_of
from mrl4rec.reporting.runs import Group, Stat, headline

LEGEND = (
    "masked: what a user had is not recommended, and users are judged by targets that they did not "
    "have before. all: nothing is left out, and all targets count, those that were had before too; "
    "of other users, so that the two are not compared. ¶: NDCG whose ideal are the hits that there "
    "are, as in public code: to read published figures by, comparable with no other column."
)
MERGED = (
    "K: vectors a user. merged: Recall of the K lists of neighbours, each as long as the list "
    "divided by K, put together, as a server does. cosine: mean over the pairs of a user's "
    "vectors, 1 where all are alike. coverage: share of the items that stand in somebody's list."
)


@dataclass(frozen=True)
class Family:
    """Rows that differ in the number of vectors a user alone."""

    label: str
    rows: list[tuple[int, Group]]
    """(K, row), K ascending; two or more."""


def interests(group: Group) -> int | None:
    """K of a group's models; None for those without."""
    value = _settings(group).get("interests")
    return value if isinstance(value, int) else None


def families(groups: Sequence[Group]) -> list[Family]:
    """Rows put together by all settings but K; those with one K alone are left out."""
    found: dict[str, dict[int, Group]] = {}
    for group in groups:
        k = interests(group)
        if k is not None and not group.rotated:
            rest = {n: v for n, v in _settings(group).items() if n not in ("name", "interests")}
            found.setdefault(repr((sorted(rest.items()), group.levels)), {}).setdefault(k, group)
    return [
        Family(min((one.name for one in rows.values()), key=len), sorted(rows.items()))
        for rows in found.values()
        if len(rows) > 1
    ]


def several(groups: Sequence[Group]) -> list[tuple[int, Group, Stat, Stat]]:
    """(K, row, cosine, headline metric) of rows with several vectors a user."""
    metric, k = _headline(groups)
    out = []
    for group in groups:
        cosine, value = (group.stat(name, k, group.full) for name in (COSINE, metric))
        if cosine is not None and value is not None:
            out.append((interests(group) or 2, group, cosine, value))
    return out


def masked(groups: Sequence[Group], k: int) -> Table | None:
    """Each metric with the history masked, and with nothing masked, at one cut-off."""
    if not any(group.stat(HITS, k, group.full) for group in groups):
        return None
    heads = [f"{name_of(m, k)} {how}" for m in JUDGED for how in ("masked", "all")]
    table = Table(["method", "levels", *heads, f"{name_of('ndcg', k)} all ¶"])
    table.numeric = frozenset(range(2, len(table.head)))
    names = [*(m + how for m in JUDGED for how in ("", UNMASKED)), HITS]
    for group in groups:
        values = [stat_text(group.stat(name, k, group.full)) for name in names]
        table.rows.append([group.label, group.levels or "–", *values])
    _mark(table, [[group.stat(name, k, group.full) for name in names] for group in groups])
    return table


def by_vectors(groups: Sequence[Group]) -> Table | None:
    """K, merged lists, cosine and coverage of rows with several vectors a user."""
    found = several(groups)
    if not found:
        return None
    metric, k = _headline(groups)
    head = ["method", "levels", "K", name_of(metric, k), "merged", "of it", "cosine",
            f"coverage@{k}"]  # fmt: skip
    table = Table(head, numeric=frozenset(range(2, len(head))))
    for count, group, cosine, value in found:
        merged = group.stat(UNION, k, group.full)
        share = f"{100 * merged.mean / value.mean:.1f} %" if merged and value.mean else "–"
        table.rows.append(
            [
                group.label,
                group.levels or "–",
                text(count),
                stat_text(value),
                stat_text(merged),
                share,
                stat_text(cosine),
                stat_text(group.stat("coverage", k, group.full)),
            ]
        )
    return table


def by_interests(groups: Sequence[Group]) -> Table | None:
    """The headline metric by K, a row for each member of a family."""
    metric, k = _headline(groups)
    head = ["family", "method", "K", name_of(metric, k), f"{name_of(metric, k)} all", "cosine"]
    table = Table(head, numeric=frozenset(range(2, len(head))))
    for family in families(groups):
        for count, group in family.rows:
            names = (metric, metric + UNMASKED, COSINE)
            values = [stat_text(group.stat(name, k, group.full)) for name in names]
            table.rows.append([family.label, group.label, text(count), *values])
    return table if table.rows else None


def _mark(table: Table, stats: Sequence[Sequence[Stat | None]]) -> None:
    """The best of each column in bold."""
    for column in range(len(table.head) - 2):
        means = [row[column].mean if row[column] else -1.0 for row in stats]  # type: ignore[union-attr]
        table.best |= {(at, 2 + column) for at, m in enumerate(means) if m == max(means) > 0}


def _settings(group: Group) -> Mapping[str, Any]:
    return dict((group.runs[0].card or {}).get("method") or {})


def _headline(groups: Sequence[Group]) -> tuple[str, int]:
    return headline([run for group in groups for run in group.runs])
