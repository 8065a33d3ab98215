"""Metrics of fitted models on pairs they were not trained on, and paired tests between two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mrl4rec.api.model import Model
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.data.interactions import Interactions
from mrl4rec.evaluation import ranking, sequences
from mrl4rec.evaluation.ranking import significance
from mrl4rec.evaluation.ranking.bootstrap import resampled_means
from mrl4rec.evaluation.ranking.metrics import PER_USER

LEVEL = 0.05
"""Intervals hold with probability 1 − LEVEL."""
DRAWS = 2000

Place = tuple[str, int, int | None]
"""Metric, cut-off and width."""


def evaluate(
    model: Model,
    test: Interactions,
    *,
    k: Sequence[int] | int = (10, 20, 50),
    widths: Sequence[int | None] | str = "all",
    metrics: Sequence[str] = ("recall", "ndcg"),
) -> pd.DataFrame:
    """Rank for each user all items that the model was not trained on, and average over users.

    ``widths`` are ``"all"`` that the model was trained for, or numbers of dimensions; None is the
    whole model. Returns metric, k, width, value, and its 95 % interval over users (percentile
    bootstrap) as low and high; NaN for metrics that are not of single users. Raises UsageError for
    an unknown metric, cut-off or width, and where model and test are of different data sets.
    """
    k = (k,) if isinstance(k, int) else k
    measured = per_user(model, test, k, None if isinstance(widths, str) else widths, metrics)
    ends = intervals(measured)
    rows = [
        (*place, value.value, *ends.get(place, (np.nan, np.nan)))
        for value in measured.values
        for place in [(value.metric, value.k, value.width)]
    ]
    columns = ["metric", "k", "width", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).astype({"width": "Int64"})


def compare(
    a: Model,
    b: Model,
    test: Interactions,
    *,
    k: int = 20,
    metrics: Sequence[str] = ("recall", "ndcg"),
    width: int | None = None,
) -> pd.DataFrame:
    """Whether ``a`` is better than ``b`` for the same users, by paired tests.

    Returns for each metric the two means, their difference with its 95 % interval, and the
    two-sided p value of the sign-flip test, uncorrected. ``width`` None is each whole model.
    """
    check_metrics(metrics)
    sides = [per_user(model, test, (k,), (width,), metrics) for model in (a, b)]
    rows = []
    for metric in metrics:
        column = PER_USER.index(metric)
        values = np.stack([side.values_EWCM[:, 0, 0, column] for side in sides], axis=1)
        (found,) = significance.paired(values, [(0, 1)])
        rows.append(
            {
                "metric": metric,
                "k": k,
                "a": found.mean_a,
                "b": found.mean_b,
                "difference": found.difference,
                "low": found.low,
                "high": found.high,
                "p": found.p,
                "users": found.users,
            }
        )
    return pd.DataFrame(rows)


def check_metrics(metrics: Sequence[str]) -> None:
    """Raise UsageError for the first that is no metric of single users."""
    for metric in metrics:
        if metric not in PER_USER:
            raise UsageError(
                f"{metric!r} is no metric of single users", todo=nearest(metric, PER_USER)
            )


def per_user(
    model: Model,
    test: Interactions,
    ks: Sequence[int],
    widths: Sequence[int | None] | None,
    metrics: Sequence[str],
) -> ranking.Evaluation:
    """The ranking of a model, checked to be of the same users and items as ``test``."""
    found = model.loaded
    for known, asked in zip(found.ids, (test.user_ids, test.item_ids), strict=True):
        if len(known) != len(asked) or (known != asked).any():
            raise UsageError(
                "the model was trained on other users and items than these pairs are of",
                todo="test on the second part of the split whose first part it was trained on",
            )
    ready, seen, truth = found.model, found.seen, test.csr("test")
    if test.sequences is not None:  # what users had when their targets came, read and masked
        ready = sequences.bound(ready, test, "test")
        seen = test.sequences.before("test").csr()
        if not model.method.folds_in and not (found.seen.degrees[truth.degrees > 0]).any():
            raise UsageError(
                f"{model.method.name} learns a vector of each user, and none of the users of this "
                "split's test was trained on",
                todo="take a method that reads histories (SASRec, LastItem, EASE), or last_out",
            )
    return ranking.evaluate(ready, seen, truth, ks=ks, widths=widths, metrics=metrics)


def intervals(measured: ranking.Evaluation) -> dict[Place, tuple[float, float]]:
    """Of the metrics of single users: the percentile bootstrap's interval of the mean."""
    n_users, *places = measured.values_EWCM.shape
    means_BC = resampled_means(measured.values_EWCM.reshape(n_users, -1), DRAWS, 0)
    ends = np.quantile(means_BC, (LEVEL / 2, 1 - LEVEL / 2), axis=0).reshape(2, *places)
    return {
        (metric, k, width): (float(ends[0, w, c, m]), float(ends[1, w, c, m]))
        for w, width in enumerate(measured.widths)
        for c, k in enumerate(measured.ks)
        for m, metric in enumerate(PER_USER)
    }
