"""The tables of evidence and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mrl4rec.reporting.cells import Table, stat_text, text
from mrl4rec.reporting.costs import Cost, megabytes, seconds_text
from mrl4rec.reporting.evidence import Evidence, Slice
from mrl4rec.reporting.runs import Group, headline

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def standing(found: Evidence) -> Table:
    """Each group's mean and interval; rows with a common letter do not differ significantly."""
    head = ["method", "levels", found.place.name, "95 % interval", "not significantly different"]
    table = Table(head, numeric=frozenset({2, 3}))
    for at, group in enumerate(found.groups):
        mean, half = found.means_M[at], found.half_M[at]
        letters = "".join(
            LETTERS[n % len(LETTERS)]
            for n, (first, last) in enumerate(found.runs)
            if first <= at <= last
        )
        interval = f"{mean - half:.4f} … {mean + half:.4f}"
        row = [group.label, group.levels or "–", f"{mean:.4f}", interval, letters or "–"]
        table.rows.append(row)
    return table


def tables(found: Evidence) -> dict[str, Table | None]:
    """The table under each picture of the evidence."""
    return {
        "standing": standing(found),
        "per_user": users(found),
        "by_activity": slices(found, found.activity, "training pairs of a user"),
        "by_history": slices(found, found.activity, "events of a user's history"),
        "by_popularity": slices(found, found.popularity, "popularity of the test items"),
    }


def pairs(found: Evidence) -> Table:
    """Every paired test."""
    head = ["better", "worse", "difference", "95 % interval", "relative", "d_z", "p", "p (Holm)",
            "seeds ±", "significant"]  # fmt: skip
    table = Table(head, numeric=frozenset(range(2, 9)))
    for one in found.contests:
        paired = one.found
        table.rows.append(
            [
                one.a.name,
                one.b.name,
                f"{paired.difference:+.4f}",
                f"{paired.low:+.4f} … {paired.high:+.4f}",
                "–" if paired.relative is None else f"{100 * paired.relative:+.1f} %",
                "–" if paired.d_z is None else f"{paired.d_z:+.3f}",
                f"{paired.p:.4f}",
                f"{one.p_holm:.4f}",
                "–" if one.seeds_sd is None else f"{one.seeds_sd:.4f}",
                "yes" if one.better else "no",
            ]
        )
    return table


def users(found: Evidence) -> Table:
    """How the metric is distributed over users, and for whom a row does better than the best."""
    best = found.groups[0].name
    head = ["method", "levels", "users with 0", "lower quartile", "median", "upper quartile",
            f"better than with {best}", "worse"]  # fmt: skip
    table = Table(head, numeric=frozenset(range(2, 8)))
    for group, one in zip(found.groups, found.spread, strict=True):
        against = ["–" if share is None else f"{share:.1%}" for share in (one.better, one.worse)]
        quartiles = [f"{value:.4f}" for value in one.quartiles]
        table.rows.append(
            [group.label, group.levels or "–", f"{one.none:.1%}", *quartiles, *against]
        )
    return table


def slices(found: Evidence, parts: Sequence[Slice], of: str) -> Table | None:
    """A metric over slices of users or items, the best of each marked."""
    if not parts:
        return None
    heads = [f"{part.name} ({part.users:,})" for part in parts]
    table = Table(
        [f"method, by {of}", "levels", *heads], numeric=frozenset(range(2, 2 + len(parts)))
    )
    for at, group in enumerate(found.groups):
        values = [part.means_M[at] for part in parts]
        cells = ["–" if value is None else f"{value:.4f}" for value in values]
        table.rows.append([group.label, group.levels or "–", *cells])
    for column, part in enumerate(parts):
        top = max((m for m in part.means_M if m), default=None)  # where all are 0 none is best
        table.best |= {(at, 2 + column) for at, m in enumerate(part.means_M) if m == top}
    return table


def costs(groups: Sequence[Group], spent: Mapping[str, Cost]) -> Table:
    """What each row took, beside what it reached."""
    metric, k = headline([run for group in groups for run in group.runs])
    head = ["method", "levels", f"{metric}@{k}", "seconds", "of the processor",
            "MiB at the peak", "MiB of the model", "candidates a positive", "tuned",
            "device"]  # fmt: skip
    table = Table(head, numeric=frozenset(range(2, 8)))
    for group in groups:
        one = spent[group.name]
        table.rows.append(
            [
                group.label,
                group.levels or "–",
                stat_text(group.stat(metric, k, group.full)),
                seconds_text(one.seconds),
                seconds_text(one.cpu_seconds),
                megabytes(one.peak_mb),
                megabytes(one.model_mb),
                text(one.candidates),
                one.tuned,
                one.device,
            ]
        )
    return table
