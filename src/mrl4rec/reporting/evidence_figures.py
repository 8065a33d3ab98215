"""Pictures of evidence and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.reporting.costs import Cost
from mrl4rec.reporting.evidence import STEPS, Evidence, Slice
from mrl4rec.reporting.figures import INK, SIZE, legend, name_of, panel
from mrl4rec.reporting.looks import PALETTE, looks
from mrl4rec.reporting.runs import Group, headline

with lazy.imports():
    import matplotlib.figure
    from matplotlib import ticker

MOST_LEVEL = 6
"""Slices whose names have room side by side."""
MOST_COUNTED = 4
"""Slices under which there is room for the number of users."""
MOST = 8
"""Lines in one picture; the tables have all rows."""


def draw(found: Evidence, of_sequences: bool = False) -> dict[str, Any]:
    """The pictures of the evidence by name; None for one that has no data."""
    return {
        "standing": standing(found),
        "per_user": users(found),
        **_by_activity(found, of_sequences),
        "by_popularity": slices(found, found.popularity, "popularity of the test items"),
    }


def _by_activity(found: Evidence, of_sequences: bool) -> dict[str, Any]:
    if of_sequences:
        return {"by_history": slices(found, found.activity, "events of a user's history")}
    return {"by_activity": slices(found, found.activity, "training pairs of a user")}


def standing(found: Evidence) -> Any:
    """Each group's mean and interval; a bar joins groups that do not differ significantly."""
    n = len(found.groups)
    figure = matplotlib.figure.Figure(figsize=(SIZE[0], 0.8 + 0.36 * n), layout="constrained")
    axes = figure.add_subplot()
    axes.errorbar(
        found.means_M, range(n), xerr=found.half_M, linestyle="none", marker="o", markersize=4,
        color=PALETTE[0], capsize=2, elinewidth=0.9,
    )  # fmt: skip
    low = min(m - h for m, h in zip(found.means_M, found.half_M, strict=True))
    high = max(m + h for m, h in zip(found.means_M, found.half_M, strict=True))
    step = (high - low or 1.0) * 0.03
    for lane, (first, last) in enumerate(found.runs):
        at = high + step * (1.5 + lane)
        axes.plot([at, at], [first - 0.18, last + 0.18], color=INK, linewidth=2.2,
                  solid_capstyle="butt")  # fmt: skip
    axes.set_xlim(low - step, high + step * (2.5 + len(found.runs)))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(4))
    names = [group.name.replace(" · ", "\n") for group in found.groups]  # or no room is left
    axes.set_yticks(range(n), names, fontsize=8)
    axes.set_ylim(n - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"{name_of(found.place.metric, found.place.k)}, mean of {found.users:,} users")
    return figure


def users(found: Evidence) -> Any:
    """The share of users who have at least so much, a line for each of the best groups."""
    figure, axes = panel()
    look_of = looks(found.groups)
    for number, (group, one) in enumerate(zip(found.groups[:MOST], found.spread, strict=False)):
        axes.plot(
            STEPS, [100 * share for share in one.at_least], label=group.name,
            markevery=(number % 4, 4), **look_of[group.name],
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"{name_of(found.place.metric, found.place.k)} of a user, at least")
    axes.set_ylabel("users, %")
    legend(figure, axes)
    return figure


def slices(found: Evidence, parts: Sequence[Slice], axis: str) -> Any:
    """A metric over slices, a line for each of the best groups."""
    if len(parts) < 2:
        return None
    figure, axes = panel()
    shown = found.groups[:MOST]
    look_of = looks(found.groups)
    for at, group in enumerate(shown):
        points = [(x, part.means_M[at]) for x, part in enumerate(parts)]
        axes.plot(
            [x for x, y in points if y is not None],
            [y for _, y in points if y is not None],
            label=group.name,
            **look_of[group.name],
        )
    counted = len(parts) <= MOST_COUNTED
    names = [part.name + (f"\n{part.users:,} users" if counted else "") for part in parts]
    turned = {"rotation": 35, "ha": "right"} if len(parts) > MOST_LEVEL else {}
    axes.set_xticks(range(len(parts)), names, **turned)
    axes.margins(x=0.06)
    axes.set_xlabel(axis)
    axes.set_ylabel(name_of(found.place.metric, found.place.k))
    legend(figure, axes)
    return figure


def cost(groups: Sequence[Group], spent: Mapping[str, Cost]) -> Any:
    """What was reached against the seconds it took, a point a group."""
    metric, k = headline([run for group in groups for run in group.runs])
    points = [
        (group, one.mean, stat)
        for group in groups
        if (one := spent[group.name].seconds) is not None
        and (stat := group.stat(metric, k, group.full)) is not None
    ]
    if len(points) < 2:
        return None
    figure, axes = panel()
    look_of = looks(groups)
    for group, seconds, stat in points:
        look = {**look_of[group.name], "linestyle": "none"}
        axes.errorbar(max(seconds, 1e-2), stat.mean, yerr=stat.sd, capsize=2, elinewidth=0.8,
                      label=group.name, **look)  # fmt: skip
    axes.set_xscale("log")
    _plain(axes.xaxis)
    axes.margins(0.08)
    axes.set_xlabel("seconds to train, by the clock")
    axes.set_ylabel(name_of(metric, k))
    legend(figure, axes)
    return figure


def _plain(axis: Any) -> None:
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(ticker.NullFormatter())
