"""What is evaluated besides where a split is of sequences: nothing masked, and several vectors.

``recall``, ``ndcg`` … mask the history and judge by the targets that are not in it, which is what
can be recommended. ``recall_unmasked`` … mask nothing and judge by all targets, as the public code
of models with several interests does: where people take the same items again, that is much easier.

Shapes: E users with targets, W widths, C cut-offs.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from mrl4rec.data.interactions import Interactions
from mrl4rec.evaluation.diversity import intra_cosine
from mrl4rec.evaluation.ranking.evaluate import Evaluation, Value, evaluate
from mrl4rec.evaluation.ranking.metrics import ndcg_hits
from mrl4rec.evaluation.ranking.topk import plain
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.scorers import InterestModel, ItemItemModel, Scorer
from mrl4rec.models.sequential.model import SequenceModel

JUDGED = ("recall", "ndcg", "hr")
UNMASKED = "_unmasked"
HITS = f"ndcg_hits{UNMASKED}"
"""NDCG with an ideal of as many hits as there are, as in public code: not comparable with NDCG."""
UNION = "recall_union"
"""Recall@k of lists of ⌈k/K⌉ neighbours of each of K vectors, put together."""
COSINE = "cosine"
"""Mean cosine between the pairs of a user's vectors."""


def bound(model: Scorer, data: Interactions, fold: str | None = None) -> Scorer:
    """The model as it scores before the targets of ``fold``: by the histories of then.

    None: by all that is known, as it is served. One whose users have fixed vectors, or none, stays
    as it is.
    """
    if data.sequences is None:
        return model
    rows = data.sequences.before(fold) if fold else data.sequences.events
    if isinstance(model, SequenceModel):
        return model.bound(rows)
    if isinstance(model, ItemItemModel):
        return replace(model, history=model.read(rows))
    return model


def besides(
    model: Scorer,
    data: Interactions,
    evaluation: Evaluation,
    seen: Csr,
    *,
    device: str,
    memory_mb: int,
) -> list[Value]:
    """The values that a split of sequences has besides those of ``evaluation``.

    ``model`` is bound, ``seen`` what ``evaluation`` masked.
    """
    assert data.sequences is not None
    how = {"device": device, "memory_mb": memory_mb}
    targets = data.sequences.targets("test")
    nothing = Csr(np.zeros(seen.n_rows + 1, dtype=np.int64), np.empty(0, np.int32), seen.n_columns)
    asked = {"ks": evaluation.ks, "widths": evaluation.widths}
    free = evaluate(model, nothing, targets, metrics=JUDGED, **asked, **how)  # type: ignore[arg-type]
    values = [replace(value, metric=value.metric + UNMASKED) for value in free.values]
    hits_WC = ndcg_hits(free.values_EWCM, targets.degrees[free.users], free.ks).mean(axis=0)
    values += _values(HITS, free, hits_WC)
    several = plain(model)
    if not isinstance(several, InterestModel) or several.n_interests < 2:
        return values
    judged = several.user_interests[evaluation.users]
    for width in evaluation.widths:
        cosine = float(intra_cosine(judged[:, :, : several.width(width)]).mean())
        values += [Value(COSINE, k, width, cosine) for k in evaluation.ks]
    truth = data.csr("test")
    for k in evaluation.ks:
        union = evaluate(
            model, seen, truth, ks=(k,), widths=evaluation.widths, metrics=("recall",),
            per_list=ceil(k / several.n_interests), **how,  # type: ignore[arg-type]
        )  # fmt: skip
        values += [replace(value, metric=UNION) for value in union.values]
    return values


def _values(metric: str, evaluation: Evaluation, values_WC: NDArray[np.float64]) -> list[Value]:
    return [
        Value(metric, k, width, float(values_WC[w, c]))
        for w, width in enumerate(evaluation.widths)
        for c, k in enumerate(evaluation.ks)
    ]
