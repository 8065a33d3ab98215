"""The leaderboard as rows (``--json``) and as a table for the terminal."""

from __future__ import annotations

import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings
from mrl4rec.reporting.runs import Run, group, load_runs, need_runs
from mrl4rec.reporting.warehouse import Context, contexts

with lazy.imports():
    import rich.box
    import rich.console
    import rich.table

SHOWN = ("recall", "ndcg")

Row = Mapping[str, Any]


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
    variants = {run.stage_key: one.variant for one in group(context.runs) for run in one.runs}
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
        keys = {"model_key": run.model, "stage_key": run.stage_key}
        order = sorted(run.values, key=lambda at: (at[2] or 0, SORTED.get(at[0], 9), *at))
        for metric, k, width in order:
            value = run.values[metric, k, width]
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


def label(row: Row) -> str:
    """The method, and what sets the model apart from others of that name."""
    return f"{row['method']} ({row['settings']})" if row["settings"] else str(row["method"])


SORTED = {name: n for n, name in enumerate(("recall", "ndcg", "hr", "mrr", "map", "precision"))}

Cells = dict[tuple[str, int], dict[Any, float]]
"""(metric, k) → seed → value, at full width."""


def print_leaderboard(rows: Sequence[Row], file: Any = None) -> None:
    """Print rows of ``leaderboard`` as tables, best first: one a data set, split and protocol.

    Values are of the full width; over several seeds mean ± standard deviation. ``*`` marks the
    best of a column.
    """
    out = file or sys.stdout
    console = rich.console.Console(file=out, width=None if out.isatty() else 160, highlight=False)
    for title, of_it in boards(rows).items():
        models: Models = {}
        for row in of_it:
            models.setdefault((label(row), row["levels"]), []).append(row)
        console.print(_table(title, models, console.width))
    if not rows:
        console.print("no model has been evaluated yet")


Models = dict[tuple[str, str | None], list[Row]]
"""(label, levels) → their rows."""
WIDE = 152
"""Columns of a terminal from which every NDCG is shown, not one alone."""


def _table(title: str, models: Models, width: int) -> Any:
    cells = {name: _cells(rows) for name, rows in models.items()}
    columns = sorted(
        {place for found in cells.values() for place in found if place[0] in SHOWN},
        key=lambda place: (SORTED[place[0]], place[1]),
    )
    first = ("recall", 20) if ("recall", 20) in columns else (columns or [("", 0)])[0]
    if width < WIDE:
        columns = [place for place in columns if place[0] == "recall" or place[1] == first[1]]
    means = {
        name: {
            place: statistics.fmean(found[place].values()) for place in columns if place in found
        }
        for name, found in cells.items()
    }
    best = {p: max(m[p] for m in means.values() if p in m) for p in columns}
    several = any(len(seeds) > 1 for found in cells.values() for seeds in found.values())
    grid = rich.table.Table(
        title=title,
        title_justify="left",
        header_style="bold",
        box=rich.box.SIMPLE_HEAD,
        pad_edge=False,
    )
    grid.add_column("method", no_wrap=True)
    grid.add_column("levels", overflow="fold")
    for name in ("seeds", "epoch", *(f"{metric}@{k}" for metric, k in columns)):
        grid.add_column(name, justify="right", no_wrap=True)
    for key in sorted(cells, key=lambda key: -means[key].get(first, -1)):
        values = [_value(cells[key].get(p), means[key].get(p), best[p], several) for p in columns]
        grid.add_row(key[0], key[1] or "–", *_seeds(models[key]), *values)
    return grid


def _cells(rows: Sequence[Mapping[str, Any]]) -> Cells:
    full = max((row["width"] for row in rows if row["width"] is not None), default=None)
    out: Cells = {}
    for row in rows:
        if row["width"] == full:  # of two runs with one seed the later row is the newer run's
            out.setdefault((row["metric"], row["k"]), {})[row["seed"]] = float(row["value"])
    return out


def _seeds(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    newest = {row["seed"]: row["epoch"] for row in rows}
    seeds = [seed for seed in newest if seed is not None]
    epochs = sorted({epoch for epoch in newest.values() if epoch is not None})
    span = "–" if not epochs else str(epochs[0])
    if len(epochs) > 1:
        span += f"–{epochs[-1]}"
    return str(len(seeds)) if seeds else "–", span


def _value(
    found: Mapping[Any, float] | None, mean: float | None, best: float, several: bool
) -> str:
    """``.1234* ±.0005``; all cells of a table are as long, so that their digits line up."""
    if found is None or mean is None:
        return "–"
    text = f"{mean:.4f}" + ("*" if mean == best else " ")
    if mean == best:
        text = f"[bold]{text}[/bold]"
    if len(found) > 1:
        return f"{text}±{statistics.stdev(found.values()):.4f}".replace("±0.", "±.")
    return text + " " * (6 if several else 0)
