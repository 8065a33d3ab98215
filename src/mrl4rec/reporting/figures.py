"""The report's figures: each a matplotlib Figure made from what was read, none from global state.

Lines differ by colour, style and marker (``looks``), so that a print in grey can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.reporting.looks import LINES, MARKS, PALETTE, colour, looks
from mrl4rec.reporting.portrait import Portrait
from mrl4rec.reporting.runs import Group, Run, at_full_width, headline

with lazy.imports():
    import matplotlib as mpl
    import matplotlib.figure
    from matplotlib import dates, ticker

INK, RULE = "#222222", "#d9d9d9"
LEGEND = 18
"""Characters of a name up to which a legend has two columns."""
MOST = 12
"""Rows of a leaderboard that are drawn as lines, the best; the tables have all."""
SIZE = (3.6, 2.6)  # inches: on a phone, at full width, its 9 points are 12 pixels
STYLE = {
    "font.size": 9, "axes.titlesize": 9, "legend.fontsize": 9, "svg.fonttype": "none",
    "svg.hashsalt": "mrl4rec", "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": RULE, "grid.linewidth": 0.6,
    "axes.linewidth": 0.7, "legend.frameon": False, "lines.linewidth": 1.4, "lines.markersize": 4.5,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
}  # fmt: skip


def results(groups: Sequence[Group]) -> dict[str, Any]:
    """The figures of one protocol's groups, by name; those without data are left out."""
    runs = [run for group in groups for run in group.runs]
    metric, k = headline(runs)
    best = at_full_width(groups)[:MOST]
    with style():
        found = {
            "recall_by_width": by_width(groups[:MOST], metric, k),
            "level_sweep": level_sweep(groups, metric, k),
            "learning_curve": curves(best, watched(runs)),
            "loss": curves(best, "loss"),
        }
    return {name: figure for name, figure in found.items() if figure is not None}


def dump(portrait: Portrait) -> dict[str, Any]:
    """The figures of a dump's portrait, by name; those without data are left out."""
    with style():
        found = {
            "user_degrees": degrees(portrait, "users"),
            "item_degrees": degrees(portrait, "items"),
            "rows_over_time": over_time(portrait),
            "ratings": ratings(portrait),
            "quarantine": quarantine(portrait),
        }
    return {name: figure for name, figure in found.items() if figure is not None}


def by_width(groups: Sequence[Group], metric: str, k: int) -> Any:
    """Metric against the width kept (the paper's Fig. 3); models without prefixes as levels."""
    nested = [group for group in groups if len(group.widths) > 1]
    if not nested:
        return None
    figure, axes = panel()
    look_of = looks(groups)
    ticks = sorted({w for group in nested for w in group.widths})
    for group in groups:
        look = look_of[group.name]
        widths = group.widths
        stats = [(w, s) for w in widths if (s := group.stat(metric, k, w)) is not None]
        if len(widths) > 1:
            axes.errorbar(
                [w for w, _ in stats],
                [s.mean for _, s in stats],
                yerr=[s.sd or 0 for _, s in stats] if any(s.sd for _, s in stats) else None,
                capsize=2, elinewidth=0.8, label=group.name, **look,
            )  # fmt: skip
        elif not widths and (stat := group.stat(metric, k, None)) is not None:
            axes.plot(ticks, [stat.mean] * len(ticks), **look, linewidth=0.9, markersize=3.5,
                      alpha=0.7, label=f"{group.name} (whole)")  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(w) for w in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("width (first dimensions of a vector)")
    axes.set_ylabel(name_of(metric, k))
    legend(figure, axes)
    return figure


def level_sweep(groups: Sequence[Group], metric: str, k: int) -> Any:
    """Metric at full width for every level set (the paper's Table 4)."""
    swept = sweep(groups)
    if not swept:
        return None
    sets = sorted({g.levels for found in swept.values() for g in found if g.levels}, key=_order)

    figure, axes = panel(height=1.4 + 0.42 * len(sets))
    for number, (method, found) in enumerate(swept.items()):
        points = [(sets.index(g.levels), s) for g in found
                  if g.levels and (s := g.stat(metric, k, g.full)) is not None]  # fmt: skip
        axes.errorbar(
            [s.mean for _, s in points], [at for at, _ in points],
            xerr=[s.sd or 0 for _, s in points] if any(s.sd for _, s in points) else None,
            linestyle="none", marker=MARKS[number % len(MARKS)], color=colour(method, number),
            capsize=2, elinewidth=0.8, label=method,
        )  # fmt: skip
    axes.set_yticks(range(len(sets)), sets)
    axes.set_ylim(-0.5, len(sets) - 0.5)
    axes.margins(x=0.1)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.set_ylabel("level set")
    axes.set_xlabel(f"{name_of(metric, k)} at full width")
    legend(figure, axes)
    return figure


def curves(groups: Sequence[Group], name: str | None) -> Any:
    """A learning curve against the epoch, a thin line for each seed; a star at the best epoch."""
    drawn = [(g, run, points) for g in groups for run in g.runs
             if name and (points := curve(run, name))]  # fmt: skip
    if not drawn:
        return None
    figure, axes = panel()
    look_of = looks(groups)
    named: set[str] = set()
    for group, _, points in drawn:
        look = {**look_of[group.name], "markevery": max(1, len(points) // 6)}
        label = group.name if group.name not in named else None
        named.add(group.name)
        xs, ys = [x for x, _ in points], [y for _, y in points]
        axes.plot(xs, ys, **look, alpha=0.85, label=label)
        if name != "loss":
            best = max(range(len(ys)), key=ys.__getitem__)
            axes.plot(xs[best], ys[best], "*", color=look["color"], markersize=10)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch (from 0)")
    axes.set_ylabel("training loss" if name == "loss" else _watched_name(str(name)))
    legend(figure, axes)
    return figure


def degrees(portrait: Portrait, side: str) -> Any:
    """Share of users (or items) with at least so many reviews, on two logarithmic axes."""
    lines = {p: portrait.degrees[key] for p in ("dump", "core")
             if (key := f"{side} in the {p}") in portrait.degrees}  # fmt: skip
    if not lines:
        return None
    figure, axes = panel()
    for number, (place, found) in enumerate(lines.items()):
        total, left, xs, ys = sum(n for _, n in found), 0, [], []
        for degree, n in reversed(found):
            left += n
            xs.append(degree)
            ys.append(100 * left / total)
        axes.plot(xs, ys, LINES[number], color=PALETTE[number], label=f"{place}: {total:,} {side}",
                  marker="o" if len(xs) < 3 else "")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(f"reviews of one {side[:-1]}, at least")
    axes.set_ylabel(f"{side}, %")
    _plain_numbers(axes)
    legend(figure, axes)
    return figure


def over_time(portrait: Portrait) -> Any:
    """Accepted reviews per month (or day)."""
    if len(portrait.over_time) < 2:
        return None
    figure, axes = panel()

    times = [at.replace(tzinfo=None) for at, _ in portrait.over_time]
    counts = [n for _, n in portrait.over_time]
    axes.fill_between(times, counts, step="post", alpha=0.35, color=PALETTE[0], linewidth=0)
    axes.step(times, counts, where="post", color=PALETTE[0], lw=1)
    axes.set_ylim(bottom=0)
    locator = dates.AutoDateLocator(minticks=2, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, show_offset=False))
    axes.set_xlabel("time of the review, UTC")
    axes.set_ylabel(f"reviews a {portrait.span}")
    thousands(axes.yaxis)
    return figure


def ratings(portrait: Portrait) -> Any:
    """Reviews by rating."""
    found = [(r, n) for r, n in portrait.ratings if r is not None]
    if len(found) < 2:
        return None
    figure, axes = panel()
    axes.bar([f"{rating:g}" for rating, _ in found], [n for _, n in found], color=PALETTE[0])
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("rating, as in the dump")
    axes.set_ylabel("reviews")
    thousands(axes.yaxis)
    return figure


def quarantine(portrait: Portrait) -> Any:
    """Records set aside, by rule."""
    if len(portrait.rules) < 2:  # one bar says no more than its number
        return None
    figure, axes = panel(height=1.0 + 0.3 * len(portrait.rules))
    rules = list(reversed(portrait.rules))
    bars = axes.barh([rule for rule, _, _ in rules], [n for _, n, _ in rules], color=PALETTE[1])
    axes.bar_label(bars, [f"{n:,}" for _, n, _ in rules], padding=3)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.15)
    axes.set_xlabel("records set aside")
    thousands(axes.xaxis)
    return figure


def sweep(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Groups by method, for methods that were trained with two level sets or more."""
    by_method: dict[str, list[Group]] = {}
    for group in groups:
        if group.levels:
            by_method.setdefault(group.label, []).append(group)
    return {m: found for m, found in by_method.items() if len({g.levels for g in found}) > 1}


def curve(run: Run, name: str) -> list[tuple[int, float]]:
    """(epoch, value) of one quantity of the learning curve, of the phase that chose the epoch."""
    phase = run.curve[0].get("phase") if run.curve else None
    return [
        (int(row["epoch"]), float(row[name]))
        for row in run.curve
        if row.get("phase") == phase and isinstance(row.get(name), int | float)
    ]


def watched(runs: Sequence[Run]) -> str | None:
    """The metric that early stopping watched, as the learning curves name it."""
    names = (name for run in runs for row in run.curve for name in row)
    return next((name for name in names if name.startswith(("valid_", "test_"))), None)


def save(found: Mapping[str, Any], folder: Path, where: str) -> list[Path]:
    """Write figures as PNG on white, ``where`` above them (for MLflow); answer their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with style():
        for name, figure in found.items():
            path = folder / f"{name}.png"
            figure.suptitle(where, fontsize=7, x=0.01, ha="left")
            figure.savefig(path, dpi=160, facecolor="white")
            paths.append(path)
    return paths


@contextmanager
def style() -> Iterator[None]:
    """Within it figures are made and saved in the report's style."""
    with mpl.rc_context(STYLE):
        yield


def panel(height: float = SIZE[1]) -> tuple[Any, Any]:
    """A figure of one panel, and its axes; ``height`` in inches."""
    figure = matplotlib.figure.Figure(figsize=(SIZE[0], height), layout="constrained")
    return figure, figure.add_subplot()


def legend(figure: Any, axes: Any) -> None:
    """A legend below, where there is more than one thing to name."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1 or (labels and len(axes.lines) > 1):
        columns = 1 if max(map(len, labels)) > LEGEND else 2
        figure.legend(handles, labels, loc="outside lower left", ncols=columns,
                      handlelength=2.6, columnspacing=1.2)  # fmt: skip
        rows = -(-len(labels) // columns)
        figure.set_figheight(figure.get_figheight() + 0.185 * rows)


def _order(levels: str) -> tuple[int, tuple[int, ...]]:
    numbers = tuple(int(n) for n in levels.split(",") if n.strip().isdigit())
    return len(numbers), numbers


def name_of(metric: str, k: int) -> str:
    """``Recall@20``, ``NDCG@20``."""
    return f"{metric.upper() if len(metric) <= 4 else metric.capitalize()}@{k}"


def _watched_name(name: str) -> str:
    fold, _, rest = name.partition("_")
    words = {"valid": "validation", "test": "test"}
    return f"{rest.capitalize()}, {words.get(fold, fold)}"


def thousands(axis: Any) -> None:
    """Whole numbers with commas along an axis."""
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _plain_numbers(axes: Any) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(ticker.NullFormatter())
