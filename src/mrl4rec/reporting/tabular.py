"""The leaderboard for a paper, a page or a spreadsheet: LaTeX, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from mrl4rec.core.settings import Settings
from mrl4rec.reporting import latex
from mrl4rec.reporting.caveats import notes
from mrl4rec.reporting.leaderboard import boards
from mrl4rec.reporting.lines import Line, Row, best_of, lines, marks_of, scores
from mrl4rec.reporting.marks import Marks
from mrl4rec.reporting.runs import Stat
from mrl4rec.reporting.widths import widths_markdown

_DEVIATION = r"{\scriptsize $\pm$ %.4f}"
_NO_DEVIATION = rf"\phantom{{ {_DEVIATION % 0}}}"


def as_latex(rows: Sequence[Row], settings: Settings | None = None) -> str:
    """A ``table`` for each board, for the package booktabs.

    Values are of the full width; over several seeds mean ± standard deviation; the best of each
    column is bold; with ``settings``, which say where the users' values are, a dagger marks what is
    not significantly different from it. The caption says data set, core, split, protocol and seeds.
    """
    tables = []
    for title, of_it in boards(rows).items():
        found = lines(of_it)
        tables.append(_table(title, found, marks_of(settings, of_it, found)))
    return "\n".join(tables)


def _table(title: str, found: Sequence[Line], marks: Marks) -> str:
    columns, best = scores(found), best_of(found)
    several = any(stat.sd is not None for line in found for stat in line.values.values())
    heads = ["Method", "Levels", *(latex.heading(metric, k) for metric, k in columns)]
    body = [
        [
            latex.escape(line.label),
            latex.escape(line.levels),
            *(_cell(line.values.get(p), best[p], marks.of(at, p), several) for p in columns),
        ]
        for at, line in enumerate(found)
    ]
    several_seeds = "/".join(sorted({line.seeds for line in found} - {"–", "1"}))
    one = " One seed." if any(line.seeds == "1" for line in found) else ""
    spread = f" Mean ± standard deviation over {several_seeds} seeds." if several_seeds else one
    caption = " ".join(
        [f"{title}.{spread} Best in bold.", *marks.notes, *notes(line.label for line in found)]
    )
    letters = f"ll{'r' * len(columns)}"
    return latex.table(latex.escape(caption), letters, heads, body)


def as_markdown(rows: Sequence[Row], settings: Settings | None = None) -> str:
    """A table for each board, the best of each column bold, then Recall@20 by width.

    ``settings`` as for ``as_latex``.
    """
    parts = []
    for title, of_it in boards(rows).items():
        found = lines(of_it)
        marks = marks_of(settings, of_it, found)
        columns, best = scores(found), best_of(found)
        heads = ["method", "levels", "seeds", "epoch", *(f"{metric}@{k}" for metric, k in columns)]
        parts += [f"### {title}\n", _row(heads), "|---|---|" + "---:|" * (len(heads) - 2)]
        for at, line in enumerate(found):
            values = [_bold(line.values.get(p), best[p], marks.of(at, p)) for p in columns]
            parts.append(_row([line.label, line.levels, line.seeds, line.epoch, *values]))
        parts.append("")
        for note in (marks.legend, *notes(line.label for line in found)):
            parts += [f"{note}\n"] if note else []
    return "\n".join([*parts, widths_markdown(rows)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _bold(stat: Stat | None, best: float, mark: str) -> str:
    if stat is None:
        return "–"
    value = f"**{stat.mean:.4f}**" if stat.mean == best else f"{stat.mean:.4f}{mark}"
    return value if stat.sd is None else f"{value} ± {stat.sd:.4f}"


def _cell(stat: Stat | None, best: float, mark: str, several: bool) -> str:
    """A cell; where others of the table (``several``) have a deviation, as wide as those."""
    if stat is None:
        return "--"
    value = f"{stat.mean:.4f}"
    value = rf"\textbf{{{value}}}" if stat.mean == best else value + latex.escape(mark)
    if stat.sd is not None:
        return rf"{value} {_DEVIATION % stat.sd}"
    return value + _NO_DEVIATION if several else value


def as_csv(rows: Sequence[Row], settings: Settings | None = None) -> str:
    """A line a model at full width: what it may be compared with, and each metric's mean and sd.

    With ``settings`` (as for ``as_latex``) also how it compares with the best of its table:
    ``best``, ``worse``, ``not significant``, or nothing where that was not tested.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    tables = [(of_it, lines(of_it)) for of_it in boards(rows).values()]
    columns = scores([line for _, found in tables for line in found])
    shared = ("dataset", "core", "split", "split_key", "protocol")
    names = [f"{metric}@{k}{end}" for metric, k in columns for end in ("", " sd", " vs best")]
    writer.writerow([*shared, "method", "levels", "seeds", "epoch", *names])
    for of_it, found in tables:
        marks, best = marks_of(settings, of_it, found), best_of(found)
        for at, line in enumerate(found):
            cells: list[object] = []
            for place in columns:
                stat = line.values.get(place)
                cells += [stat.mean, stat.sd] if stat else [None, None]
                cells.append(_verdict(stat, best.get(place), marks.worse.get((at, place))))
            said = (line.label, line.levels, line.seeds, line.epoch)
            writer.writerow([*(of_it[0][name] for name in shared), *said, *cells])
    return out.getvalue()


def _verdict(stat: Stat | None, best: float | None, worse: bool | None) -> str | None:
    if stat is not None and stat.mean == best:
        return "best"
    return None if worse is None else "worse" if worse else "not significant"
