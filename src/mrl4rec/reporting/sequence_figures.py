"""Pictures that splits of sequences have besides: nothing masked, and several vectors a user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.evaluation.sequences import UNMASKED
from mrl4rec.reporting import sequence_views
from mrl4rec.reporting.figures import INK, SIZE, legend, name_of, panel
from mrl4rec.reporting.looks import PALETTE, looks
from mrl4rec.reporting.runs import Group, headline

with lazy.imports():
    import matplotlib.figure
    from matplotlib import ticker


def draw(groups: Sequence[Group]) -> dict[str, Any]:
    """The pictures by name; those without data are left out."""
    found = {
        "by_interests": by_interests(groups),
        "diversity": diversity(groups),
        "masked": masked(groups),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def by_interests(groups: Sequence[Group]) -> Any:
    """The metric against the number of vectors a user, a line for rows that differ in it alone."""
    families = sequence_views.families(groups)
    if not families:
        return None
    metric, k = headline([run for group in groups for run in group.runs])
    figure, axes = panel()
    look_of = looks(groups)
    counts = sorted({count for family in families for count, _ in family.rows})
    for family in families:
        points = [(n, s) for n, group in family.rows if (s := group.stat(metric, k, group.full))]
        look = look_of[family.rows[-1][1].name]
        axes.errorbar(
            [n for n, _ in points], [s.mean for _, s in points],
            yerr=[s.sd or 0 for _, s in points], label=family.label, capsize=2, elinewidth=0.8,
            **look,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.minorticks_off()
    axes.margins(y=0.15)
    axes.set_xlabel("K, vectors a user")
    axes.set_ylabel(name_of(metric, k))
    _name(figure, axes, len(families))
    return figure


def diversity(groups: Sequence[Group]) -> Any:
    """The metric against the mean cosine of a user's vectors, a point for each row with several."""
    points = sequence_views.several(groups)
    if len(points) < 2:
        return None
    metric, k = headline([run for group in groups for run in group.runs])
    figure, axes = panel()
    look_of, labels = looks(groups), [group.label for _, group, _, _ in points]
    for count, group, cosine, value in points:
        look = {**look_of[group.name], "linestyle": "none"}
        axes.errorbar(
            cosine.mean, value.mean, xerr=cosine.sd, yerr=value.sd, capsize=2, elinewidth=0.8,
            label=f"{group.label if labels.count(group.label) == 1 else group.name}, K {count}",
            **look,
        )  # fmt: skip
    axes.margins(0.1)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.set_xlabel("mean cosine of a user's vectors (1: all alike)")
    axes.set_ylabel(name_of(metric, k))
    legend(figure, axes)
    return figure


def masked(groups: Sequence[Group]) -> Any:
    """Each row's metric with the history masked and with nothing masked, joined by a line."""
    metric, k = headline([run for group in groups for run in group.runs])
    rows = [
        (group, with_it, without)
        for group in groups
        if (with_it := group.stat(metric, k, group.full))
        and (without := group.stat(metric + UNMASKED, k, group.full))
    ]
    if not rows:
        return None
    figure = matplotlib.figure.Figure(
        figsize=(SIZE[0], 1.1 + 0.24 * len(rows)), layout="constrained"
    )
    axes = figure.add_subplot()
    places = range(len(rows))
    means = [
        [stat.mean for stat in column] for column in zip(*[row[1:] for row in rows], strict=True)
    ]
    axes.hlines(places, *means, color=INK, linewidth=0.8)
    for values, marker, color, label in (
        (means[0], "o", PALETTE[0], "history masked, new targets"),
        (means[1], "s", PALETTE[1], "nothing masked, all targets"),
    ):
        axes.plot(values, places, linestyle="none", marker=marker, color=color, label=label)
    axes.set_yticks(places, [group.name.replace(" · ", "\n") for group, _, _ in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(left=0)
    axes.set_xlabel(name_of(metric, k))
    legend(figure, axes)
    return figure


def _name(figure: Any, axes: Any, lines: int) -> None:
    """A legend, also of one line."""
    if lines > 1:
        legend(figure, axes)
    else:
        axes.legend()
