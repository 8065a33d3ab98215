"""The hierarchy in the prefixes, as `mrl4rec hierarchy` measured it: tables and pictures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.evaluation.hierarchy.measure import SIDES
from mrl4rec.reporting.cells import Table, stat_text
from mrl4rec.reporting.figures import LEGEND, RULE, SIZE, style
from mrl4rec.reporting.looks import LINES, MARKS, PALETTE, colour
from mrl4rec.reporting.runs import Stat
from mrl4rec.reporting.runs import group as group_runs
from mrl4rec.reporting.warehouse import Context

with lazy.imports():
    import matplotlib.figure

Row = Mapping[str, Any]
CHANCE = "random vectors"
UNKNOWN = "models that were not evaluated"


def by_place(rows: Sequence[Row], contexts: Sequence[Context]) -> list[tuple[str, list[Row]]]:
    """Rows by the protocol, core and split of their model, each model under its row's name.

    Models that were not evaluated come last, under their method's name.
    """
    known: dict[str, tuple[str, str]] = {}
    for context in contexts:
        for group in group_runs([run for run in context.runs if run.model and not run.rotated]):
            where = f"protocol {group.protocol}, {context.name}"
            known |= {str(run.model): (where, group.label) for run in group.runs}
    found: dict[str, list[Row]] = {}
    for row in rows:
        where, label = known.get(row["model"], (UNKNOWN, row["method"]))
        found.setdefault(where, []).append({**row, "method": label})
    return sorted(found.items(), key=lambda pair: (pair[0] == UNKNOWN, pair[0]))


def tables(rows: Sequence[Row]) -> dict[str, Table]:
    """Title → table, for each side and measure that there is."""
    found: dict[str, Table] = {}
    for side in SIDES:
        for measure, title in (("ami", "planted groups found"), ("contained", "clusters nested")):
            table = _table([r for r in rows if (r["side"], r["measure"]) == (side, measure)])
            if table is not None:
                found[f"{title}, {side}"] = table
    return found


def figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Name → figure; the names end in the side."""
    found: dict[str, Any] = {}
    with style():
        for side in SIDES:
            of_side = [row for row in rows if row["side"] == side]
            drawn = {
                f"planted_{side}": _planted([r for r in of_side if r["measure"] == "ami"]),
                f"nested_{side}": _nested([r for r in of_side if r["measure"] == "contained"]),
            }
            found |= {name: figure for name, figure in drawn.items() if figure is not None}
    return found


def figure_tables(rows: Sequence[Row]) -> dict[str, Table]:
    """The table that stands under each figure."""
    found = tables(rows)
    names = {f"planted_{side}": f"planted groups found, {side}" for side in SIDES}
    names |= {f"nested_{side}": f"clusters nested, {side}" for side in SIDES}
    return {name: found[title] for name, title in names.items() if title in found}


def _lines(rows: Sequence[Row]) -> dict[tuple[str, int], dict[int, Stat]]:
    """(model, depth) → width → mean and sd over seeds, chance last. Depth 0 where there is none."""
    values: dict[tuple[str, int], dict[int, list[float]]] = {}
    chance: dict[tuple[str, int], dict[int, list[float]]] = {}
    for row in rows:
        depth = row["depth"] if row["measure"] == "ami" else 0
        values.setdefault((_name(row), depth), {}).setdefault(row["width"], []).append(row["value"])
        chance.setdefault((CHANCE, depth), {}).setdefault(row["width"], []).append(row["chance"])
    return {
        place: {width: _stat(v, place[0] != CHANCE) for width, v in sorted(by_width.items())}
        for place, by_width in {**dict(sorted(values.items())), **chance}.items()
    }


def _stat(values: Sequence[float], several: bool) -> Stat:
    """Mean and sd over seeds; random vectors are the same beside every model, so they have none."""
    sd = statistics.stdev(values) if several and len(values) > 1 else None
    return Stat(statistics.fmean(values), sd, len(values))


def _name(row: Row) -> str:
    levels = f" · {row['levels']}" if row["levels"] else ""
    return f"{row['method']}{levels}{' rotated' if row['rotated'] else ''}"


def _table(rows: Sequence[Row]) -> Table | None:
    if not rows:
        return None
    planted = rows[0]["measure"] == "ami"
    widths = sorted({row["width"] for row in rows})
    groups = {row["depth"]: row["clusters"] for row in rows}
    head = ["model", *(["groups"] if planted else []), *(f"{w}" for w in widths)]
    if not planted:
        after = {row["width"]: row["depth"] for row in rows}
        head = ["model", *(f"{after[w]} in {w}" for w in widths)]
    table = Table(head, numeric=frozenset(range(1, len(head))))
    for (name, depth), by_width in sorted(_lines(rows).items(), key=lambda pair: pair[0][1]):
        cells = [stat_text(by_width.get(width)) for width in widths]
        table.rows.append([name, *([str(groups[depth])] if planted else []), *cells])
    return table


def _planted(rows: Sequence[Row]) -> Any:
    depths = sorted({row["depth"] for row in rows})
    if not depths:
        return None
    figure = matplotlib.figure.Figure(
        figsize=(SIZE[0], 0.7 + 1.7 * len(depths)), layout="constrained"
    )
    panels = figure.subplots(len(depths), 1, sharex=True, squeeze=False)[:, 0]
    lines = _lines(rows)
    count = {row["depth"]: row["clusters"] for row in rows}
    for axes, depth in zip(panels, depths, strict=True):
        at_depth = {name: by for (name, d), by in lines.items() if d == depth}
        _draw(axes, at_depth)
        axes.set_title(f"{count[depth]} planted groups", loc="left")
        axes.set_ylabel("AMI")
    panels[-1].set_xlabel("width (first dimensions of a vector)")
    _legend(figure, panels[0])
    return figure


def _nested(rows: Sequence[Row]) -> Any:
    if not rows:
        return None
    figure = matplotlib.figure.Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    _draw(axes, {name: by for (name, _), by in _lines(rows).items()})
    axes.set_xlabel("width of the narrower prefix")
    axes.set_ylabel("contained, above chance")
    _legend(figure, axes)
    return figure


def _draw(axes: Any, lines: Mapping[str, Mapping[int, Stat]]) -> None:
    bases = list(dict.fromkeys(name.removesuffix(" rotated") for name in lines if name != CHANCE))
    for name, by_width in lines.items():
        base, turned = name.removesuffix(" rotated"), name.endswith(" rotated")
        number = bases.index(base) if base in bases else 0
        look = {
            "color": colour(base.split(" ·")[0], number),
            "linestyle": LINES[1 if turned else 0],
            "marker": MARKS[number % len(MARKS)],
        }
        if name == CHANCE:
            look = {"color": PALETTE[6], "linestyle": ":", "marker": ""}
        widths, stats = list(by_width), list(by_width.values())
        axes.errorbar(
            widths, [s.mean for s in stats],
            yerr=[s.sd or 0 for s in stats] if any(s.sd for s in stats) else None,
            capsize=2, elinewidth=0.8, label=name, **look,
        )  # fmt: skip
    ticks = sorted({width for by_width in lines.values() for width in by_width})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(width) for width in ticks])
    axes.minorticks_off()
    axes.axhline(0, color=RULE, linewidth=0.6)
    axes.set_ylim(top=1.02)


def _legend(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = 1 if max(map(len, labels)) > LEGEND else 2
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, handlelength=2.6)
    figure.set_figheight(figure.get_figheight() + 0.185 * -(-len(labels) // columns))
