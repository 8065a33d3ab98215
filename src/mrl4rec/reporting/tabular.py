"""The leaderboard for a paper, a page or a spreadsheet: LaTeX, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from mrl4rec.reporting.leaderboard import Line, Row, best_of, boards, lines, scores
from mrl4rec.reporting.runs import Stat
from mrl4rec.reporting.widths import widths_markdown

SPECIAL = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"≥": r"$\geq$", "–": "--", "·": r"$\cdot$"}
)


def as_latex(rows: Sequence[Row]) -> str:
    """A ``table`` for each board, for the package booktabs.

    Values are of the full width; over several seeds mean ± standard deviation; the best of each
    column is bold. The caption says data set, core, split, protocol and seeds.
    """
    return "\n".join(_table(title, lines(of_it)) for title, of_it in boards(rows).items())


def _table(title: str, found: Sequence[Line]) -> str:
    columns, best = scores(found), best_of(found)
    heads = ["Method", "Levels", *(f"{metric.title() if metric != 'ndcg' else 'NDCG'}@{k}"
                                   for metric, k in columns)]  # fmt: skip
    body = [
        [line.label, line.levels, *(_cell(line.values.get(p), best[p]) for p in columns)]
        for line in found
    ]
    seeds = "/".join(sorted({line.seeds for line in found if line.seeds not in ("–", "1")}))
    spread = rf" Mean $\pm$ standard deviation over {seeds} seeds." if seeds else " One seed."
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_text(title)}.{spread} Best in bold.}}",
            r"\centering",
            rf"\begin{{tabular}}{{ll{'r' * len(columns)}}}",
            r"\toprule",
            " & ".join(heads) + r" \\",
            r"\midrule",
            *(" & ".join([_text(a), _text(b), *cells]) + r" \\" for a, b, *cells in body),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """A table for each board, the best of each column bold, then Recall@20 by width."""
    parts = []
    for title, of_it in boards(rows).items():
        found = lines(of_it)
        columns, best = scores(found), best_of(found)
        heads = ["method", "levels", "seeds", "epoch", *(f"{metric}@{k}" for metric, k in columns)]
        parts += [f"### {title}\n", _row(heads), "|---|---|" + "---:|" * (len(heads) - 2)]
        for line in found:
            values = [_bold(line.values.get(place), best[place]) for place in columns]
            parts.append(_row([line.label, line.levels, line.seeds, line.epoch, *values]))
        parts.append("")
    return "\n".join([*parts, widths_markdown(rows)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _bold(stat: Stat | None, best: float) -> str:
    if stat is None:
        return "–"
    value = f"**{stat.mean:.4f}**" if stat.mean == best else f"{stat.mean:.4f}"
    return value if stat.sd is None else f"{value} ± {stat.sd:.4f}"


def _cell(stat: Stat | None, best: float) -> str:
    if stat is None:
        return "--"
    value = f"{stat.mean:.4f}"
    value = rf"\textbf{{{value}}}" if stat.mean == best else value
    return value if stat.sd is None else rf"{value} $\pm$ {stat.sd:.4f}"


def _text(text: str) -> str:
    return text.translate(SPECIAL)


def as_csv(rows: Sequence[Row]) -> str:
    """A line a model at full width: what it may be compared with, and each metric's mean and sd."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    tables = [(of_it[0], lines(of_it)) for of_it in boards(rows).values()]
    columns = scores([line for _, found in tables for line in found])
    shared = ("dataset", "core", "split", "split_key", "protocol")
    names = [f"{metric}@{k}{end}" for metric, k in columns for end in ("", " sd")]
    writer.writerow([*shared, "method", "levels", "seeds", "epoch", *names])
    for row, found in tables:
        for line in found:
            stats = [line.values.get(place) for place in columns]
            cells = [value for s in stats for value in ((s.mean, s.sd) if s else (None, None))]
            said = (line.label, line.levels, line.seeds, line.epoch)
            writer.writerow([*(row[name] for name in shared), *said, *cells])
    return out.getvalue()
