"""Several fitted models side by side: a table to read, and the same for a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mrl4rec.api.judge import LEVEL, check_metrics, intervals, per_user
from mrl4rec.api.model import Model
from mrl4rec.core.errors import UsageError
from mrl4rec.data.interactions import Interactions
from mrl4rec.evaluation.ranking import significance
from mrl4rec.evaluation.ranking.metrics import PER_USER
from mrl4rec.reporting import latex

TIED = "tied"
"""Column: whether a model is not significantly different from the best."""
NOTE = (
    "95 % intervals over {users:,} users (percentile bootstrap). † not significantly different "
    "from the best in {metric} (paired sign-flip test, Holm, 5 %). One training a model."
)


def leaderboard(
    models: Mapping[str, Model],
    test: Interactions,
    *,
    k: int = 20,
    metrics: Sequence[str] = ("recall", "ndcg"),
    width: int | None = None,
) -> pd.DataFrame:
    """A row for each model, the best in the first metric on top.

    Columns: model; for each metric its value and 95 % interval over users, such as ``recall@20``,
    ``recall@20 low``, ``recall@20 high``; ``tied``: not significantly different from the best in
    the first metric (paired sign-flip test, Holm's correction, 5 %). ``width`` None is each whole
    model.
    Raises UsageError without models, and for an unknown metric, cut-off or width.
    """
    if not models:
        raise UsageError("there is no model to compare", todo='give {"a name": a fitted model, …}')
    check_metrics(metrics)
    measured = [per_user(model, test, (k,), (width,), metrics) for model in models.values()]
    first = PER_USER.index(metrics[0])
    values_EM = np.stack([each.values_EWCM[:, 0, 0, first] for each in measured], axis=1)
    best = int(values_EM.mean(axis=0).argmax())
    others = [at for at in range(len(models)) if at != best]
    found = significance.paired(values_EM, [(best, at) for at in others]) if others else []
    p_of = dict(zip(others, significance.holm([pair.p for pair in found]), strict=True))
    rows = []
    for at, (name, each) in enumerate(zip(models, measured, strict=True)):
        row: dict[str, object] = {"model": name}
        ends = {metric: end for (metric, _, _), end in intervals(each).items()}
        for metric in metrics:
            mean = float(each.values_EWCM[:, 0, 0, PER_USER.index(metric)].mean())
            low, high = ends[metric]
            row |= {f"{metric}@{k}": mean, f"{metric}@{k} low": low, f"{metric}@{k} high": high}
        rows.append({**row, TIED: at == best or p_of[at] >= LEVEL})
    board = pd.DataFrame(rows).sort_values(f"{metrics[0]}@{k}", ascending=False, kind="stable")
    board.attrs["note"] = NOTE.format(users=len(values_EM), metric=f"{metrics[0]}@{k}")
    return board.reset_index(drop=True)


def to_latex(board: pd.DataFrame, caption: str = "") -> str:
    """A leaderboard as a LaTeX table, for the package booktabs.

    The best of each column is bold, a dagger marks what is not significantly different from the
    best, and the caption ends with how intervals and tests were made. Say in ``caption`` what only
    you know: data set, split, settings.
    """
    columns = [name for name in board.columns if f"{name} low" in board.columns]
    rows = []
    for at, row in enumerate(board.to_dict("records")):
        mark = " †" if row[TIED] and at else ""  # the best itself is bold
        cells = [_cell(row, name, best=row[name] == board[name].max()) for name in columns]
        rows.append([latex.escape(f"{row['model']}{mark}"), *cells])
    text = " ".join(filter(None, [caption, board.attrs.get("note")]))
    heads = ["Model", *(latex.heading(*name.split("@")) for name in columns)]
    return latex.table(latex.escape(text), "l" + "r" * len(columns), heads, rows)


def _cell(row: Mapping[Any, Any], name: str, best: bool) -> str:
    value = f"{row[name]:.4f}"
    value = rf"\textbf{{{value}}}" if best else value
    return f"{value} [{row[f'{name} low']:.4f}, {row[f'{name} high']:.4f}]"
