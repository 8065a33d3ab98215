"""The leaderboard as rows (``--json``) and as a table for the terminal."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings
from mrl4rec.reporting.caveats import notes
from mrl4rec.reporting.lines import SORTED, Line, Row, best_of, lines, marks_of, scores
from mrl4rec.reporting.marks import Marks
from mrl4rec.reporting.runs import Run, Stat, load_runs, need_runs, variants_of
from mrl4rec.reporting.warehouse import Context, contexts

with lazy.imports():
    import rich.box
    import rich.console
    import rich.table


def leaderboard(settings: Settings, dataset: str | None = None) -> list[dict[str, Any]]:
    """Every value of every evaluated model: the newest split first, on it the oldest model first.

    A row names what it may be compared with (dataset, core, split, split_key, protocol), the model
    (method, settings: what sets it apart from others of its name, levels, seed, epochs asked, the
    epoch kept, model_key), and the value (width, k, metric, value, stage_key).

    Raises UsageError where there is no such data set, Mrl4recError where nothing was evaluated.
    """
    rows: list[dict[str, Any]] = []
    runs: list[Run] = []
    for name in settings.storage.chosen([dataset] if dataset else None):
        found = load_runs(settings, name)
        runs += found
        for context in contexts(settings, name, found) if found else []:
            rows += _rows_of(context)
    need_runs(runs, str(settings.warehouse.absolute()))
    return rows


def _rows_of(context: Context) -> Iterator[dict[str, Any]]:
    variants = variants_of(context.runs)
    shared = {
        "dataset": context.dataset,
        "core": context.core_name,
        "split": context.split_name,
        "split_key": context.split.key if context.split else None,
    }
    for run in sorted(context.runs, key=lambda run: (run.age, run.stage_key)):
        said = {
            **shared,
            "protocol": run.protocol,
            "method": run.method,
            "settings": variants[run.stage_key],
            "levels": run.levels,
            "seed": run.seed,
            "epochs_asked": (run.card or {}).get("epochs_asked"),
            "epoch": run.epoch,
        }
        order = sorted(run.values, key=lambda at: (at[2] or 0, SORTED.get(at[0], 9), *at))
        for metric, k, width in order:
            value = run.values[metric, k, width]
            keys = {"model_key": run.model, "stage_key": run.evaluation((metric, k, width))}
            yield {**said, "width": width, "k": k, "metric": metric, "value": value, **keys}


def boards(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by what they may be compared with, under a title that says it."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        place = tuple(row[n] for n in ("dataset", "core", "split", "protocol", "split_key"))
        found.setdefault(place, []).append(row)
    titles = {
        place: f"{dataset} · {core} · split {split} · protocol {protocol}"
        for place in found
        for dataset, core, split, protocol, _ in [place]
    }
    several = Counter(titles.values())
    return {
        title if several[title] == 1 else f"{title} · {(place[-1] or 'unknown')[:8]}": found[place]
        for place, title in titles.items()
    }


WIDE = 152
"""Columns of a terminal from which every NDCG is shown, not one alone."""


def print_leaderboard(
    rows: Sequence[Row], file: Any = None, *, settings: Settings | None = None
) -> None:
    """Print rows of ``leaderboard`` as tables, best first: one a data set, split and protocol.

    Values are of the full width; over several seeds mean ± standard deviation. ``*`` marks the
    best of a column, ``†`` (where ``settings`` say in which warehouse the users' values are) what
    is not significantly different from it.
    """
    out = file or sys.stdout
    console = rich.console.Console(file=out, width=None if out.isatty() else 160, highlight=False)
    for title, of_it in boards(rows).items():
        found = lines(of_it)
        marks = marks_of(settings, of_it, found)
        console.print(_table(title, found, marks, console.width))
        known = ("*: best of its column.", *marks.notes) if len(found) > 1 else ()
        for sentence in (*known, *notes(line.label for line in found)):
            console.print(sentence, markup=False)
        console.print()
    if not rows:
        console.print("no model has been evaluated yet")


def model_grid(title: str) -> Any:
    """An empty table of models for the terminal, with the columns that name them."""
    grid = rich.table.Table(
        title=title,
        title_justify="left",
        header_style="bold",
        box=rich.box.SIMPLE_HEAD,
        pad_edge=False,
    )
    grid.add_column("method", no_wrap=True)
    grid.add_column("levels", overflow="fold")
    return grid


def _table(title: str, found: Sequence[Line], marks: Marks, width: int) -> Any:
    columns = scores(found)
    if width < WIDE and columns:
        k = 20 if ("recall", 20) in columns else columns[0][1]
        columns = [place for place in columns if place[0] == "recall" or place[1] == k]
    best = best_of(found)
    several = any(stat.sd is not None for line in found for stat in line.values.values())
    grid = model_grid(title)
    for name in ("seeds", "epoch", *(f"{metric}@{k}" for metric, k in columns)):
        grid.add_column(name, justify="right", no_wrap=True)
    for at, line in enumerate(found):
        values = [
            _value(line.values.get(place), best[place], marks.of(at, place), several)
            for place in columns
        ]
        grid.add_row(line.label, line.levels, line.seeds, line.epoch, *values)
    return grid


def _value(stat: Stat | None, best: float, mark: str, several: bool) -> str:
    """``.1234* ±.0005``; all cells of a table are as long, so that their digits line up."""
    if stat is None:
        return "–"
    text = f"{stat.mean:.4f}" + ("*" if stat.mean == best else mark or " ")
    if stat.mean == best:
        text = f"[bold]{text}[/bold]"
    if stat.sd is not None:
        return f"{text}±{stat.sd:.4f}".replace("±0.", "±.")
    return text + " " * (6 if several else 0)
