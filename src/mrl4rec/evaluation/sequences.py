"""What is evaluated besides where a split is of sequences: nothing masked, and several vectors.

``recall``, ``ndcg`` … mask the history and judge by the targets that are not in it, which is what
can be recommended. ``recall_unmasked`` … mask nothing and judge by all targets, as the public code
of models with several interests does: where people take the same items again, that is much easier.

Shapes: E users with targets, W widths, C cut-offs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from mrl4rec.data.interactions import Interactions
from mrl4rec.evaluation.diversity import intra_cosine
from mrl4rec.evaluation.ranking.evaluate import Evaluation, Value, evaluate
from mrl4rec.evaluation.ranking.metrics import PER_USER, ndcg_hits
from mrl4rec.evaluation.ranking.topk import plain
from mrl4rec.kernels.csr import Csr
from mrl4rec.models import histories
from mrl4rec.models.scorers import InterestModel, Scorer

CODE = 2
"""Raised when what is here changes for the same model and split."""
JUDGED = ("recall", "ndcg", "hr")
UNMASKED = "_unmasked"
HITS = f"ndcg_hits{UNMASKED}"
"""NDCG with an ideal of as many hits as there are, as in public code: not comparable with NDCG."""
UNION = "recall_union"
"""Recall@k of lists of ⌈k/K⌉ neighbours of each of K vectors, put together."""
COSINE = "cosine"
"""Mean cosine between the pairs of a user's vectors."""
METRICS = (*(name + UNMASKED for name in JUDGED), HITS, UNION, COSINE)
"""Each is one of users too. With several vectors a user there are the last two."""


@dataclass(frozen=True, eq=False)
class Besides:
    """The values that a split of sequences has besides those with the history masked."""

    values: list[Value]
    users: NDArray[np.int64]
    """(F,) users with targets, ascending: more than those with targets not in their history."""
    by_user: Mapping[str, NDArray[np.float64]]
    """Metric → (F, W, C); NaN for users without a value."""


def bound(model: Scorer, data: Interactions, fold: str | None = None) -> Scorer:
    """The model as it scores before the targets of ``fold``: by the histories of then.

    None: by all that is known, as it is served. One whose users have fixed vectors, or none, stays
    as it is.
    """
    if data.sequences is None or not histories.reads(model):
        return model
    rows = data.sequences.before(fold) if fold else data.sequences.events
    return histories.bound(model, rows)


def besides(
    model: Scorer,
    data: Interactions,
    evaluation: Evaluation,
    seen: Csr,
    *,
    device: str,
    memory_mb: int,
) -> Besides:
    """What a split of sequences has besides ``evaluation``.

    ``model`` is bound, ``seen`` what ``evaluation`` masked.
    """
    assert data.sequences is not None
    targets = data.sequences.targets("test")
    nothing = Csr(np.zeros(seen.n_rows + 1, dtype=np.int64), np.empty(0, np.int32), seen.n_columns)
    free = evaluate(
        model, nothing, targets, ks=evaluation.ks, widths=evaluation.widths, metrics=JUDGED,
        device=device, memory_mb=memory_mb,
    )  # fmt: skip
    values = [replace(value, metric=value.metric + UNMASKED) for value in free.values]
    by_user = {name + UNMASKED: free.values_EWCM[..., PER_USER.index(name)] for name in JUDGED}
    by_user[HITS] = ndcg_hits(free.values_EWCM, targets.degrees[free.users], free.ks)
    values += _means(HITS, free, by_user[HITS])
    several = plain(model)
    if isinstance(several, InterestModel) and several.n_interests > 1:
        rows = np.searchsorted(free.users, evaluation.users)
        truth = data.csr("test")
        union_EWC = _union(
            model, several.n_interests, evaluation, seen, truth, device=device, memory_mb=memory_mb
        )
        for name, values_EWC in ((COSINE, _cosines(several, evaluation)), (UNION, union_EWC)):
            values += _means(name, evaluation, values_EWC)
            by_user[name] = np.full(by_user[HITS].shape, np.nan)
            by_user[name][rows] = values_EWC
    return Besides(values, free.users, by_user)


def _cosines(model: InterestModel, evaluation: Evaluation) -> NDArray[np.float64]:
    """(E, W, C), the same at each cut-off."""
    judged = model.user_interests[evaluation.users]
    columns = [intra_cosine(judged[:, :, : model.width(width)]) for width in evaluation.widths]
    return np.repeat(np.stack(columns, axis=1)[:, :, None], len(evaluation.ks), axis=2)


def _union(
    model: Scorer,
    n_interests: int,
    evaluation: Evaluation,
    seen: Csr,
    truth: Csr,
    *,
    device: str,
    memory_mb: int,
) -> NDArray[np.float64]:
    """(E, W, C) recall of lists put together, of the full width; NaN at others."""
    out = np.full((evaluation.n_users, len(evaluation.widths), len(evaluation.ks)), np.nan)
    for c, k in enumerate(evaluation.ks):
        found = evaluate(
            model, seen, truth, ks=(k,), widths=evaluation.widths[-1:], metrics=("recall",),
            per_list=ceil(k / n_interests), device=device, memory_mb=memory_mb,
        )  # fmt: skip
        out[:, -1, c] = found.values_EWCM[:, 0, 0, PER_USER.index("recall")]
    return out


def _means(metric: str, evaluation: Evaluation, values_EWC: NDArray[np.float64]) -> list[Value]:
    means_WC = values_EWC.mean(axis=0)
    return [
        Value(metric, k, width, float(means_WC[w, c]))
        for w, width in enumerate(evaluation.widths)
        for c, k in enumerate(evaluation.ks)
        if not np.isnan(means_WC[w, c])
    ]
