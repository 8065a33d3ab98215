"""Recall@10 on valid: by it, and never by the window, one of several challengers is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mrl4rec.data.interactions import Interactions
from mrl4rec.evaluation import sequences
from mrl4rec.evaluation.ranking.evaluate import evaluate
from mrl4rec.models import Method, fit
from mrl4rec.tables.splits import BEFORE

K = 10
NAME = f"valid_recall@{K}"


def of_history(history: Sequence[Mapping[str, Any]]) -> float | None:
    """The best value of a learning curve, which chose the epoch. None where there is none."""
    values = [float(row[NAME]) for row in history if row.get(NAME) is not None]
    return max(values, default=None)


def of_closed_form(
    method: Method,
    data: Interactions,
    seed: int | None = None,
    *,
    device: str = "cpu",
    memory_mb: int = 512,
) -> float:
    """What a closed form, at its full width, reaches on valid when it is fitted on train alone."""
    model = fit(method, data, ("train",), seed, device)
    seen, truth = data.csr(*BEFORE["valid"]), data.csr("valid")
    found = evaluate(
        sequences.bound(model, data, "valid"),
        seen,
        truth,
        ks=(K,),
        metrics=("recall",),
        device=device,
        memory_mb=memory_mb,
    )
    return found.values[-1].value  # widths ascend


def users(data: Interactions) -> int:
    """Users with valid pairs."""
    return len(np.unique(data.pairs("valid")[0]))


def mean(values: Mapping[Any, float | None]) -> float | None:
    """The mean over seeds; None where one of them has no value."""
    found = list(values.values())
    if not found or any(value is None for value in found):
        return None
    return float(np.mean([value for value in found if value is not None]))
