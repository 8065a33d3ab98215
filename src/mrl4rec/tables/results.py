"""Table ``results``: metrics of trained models; the marker of the evaluate stage."""

from __future__ import annotations

import pyarrow as pa

from mrl4rec.tables.expectation import Expectation, Suite, none
from mrl4rec.tables.table import Column, Table

RESULTS = Table(
    name="results",
    key=("stage_key", "metric", "k", "width"),
    meaning="metrics of trained models; the marker of the evaluate stage",
    columns={
        "stage_key": Column(pa.string(), "key of the evaluate stage"),
        "metric": Column(
            pa.string(),
            "recall, ndcg, hr, mrr, map, precision or coverage; of sequences also "
            "recall_unmasked, ndcg_unmasked, hr_unmasked, ndcg_hits_unmasked, recall_union, cosine",
        ),
        "k": Column(pa.int32(), "length of the ranked list"),
        "width": Column(
            pa.int32(), "first so many dimensions; null for a model without prefixes", nullable=True
        ),
        "dataset": Column(pa.string(), "name of the data set"),
        "method": Column(
            pa.string(), "name of the method; with ` rotated` where its vectors were turned"
        ),
        "levels": Column(
            pa.string(),
            "nested widths it was trained with, as 4,8,16; null for a method without levels",
            nullable=True,
        ),
        "seed": Column(pa.int64(), "training seed; null for a deterministic method", nullable=True),
        "protocol": Column(pa.string(), "clean or paper"),
        "epoch": Column(
            pa.int32(), "epoch of the model, from 0; null for a closed form", nullable=True
        ),
        "value": Column(pa.float64(), "in [0, 1]; cosine in [−1, 1]"),
        "run_id": Column(pa.string(), "MLflow run; null when the server was away", nullable=True),
    },
)

GROWING = ("recall", "hr")
"""Metrics that cannot fall as the list grows longer."""

RESULTS_SUITE = Suite(
    name="results",
    tables=("results",),
    expectations=(
        Expectation("not_empty", "rows", "there are results", low=1),
        none("values_in_range", "values_outside", "every value lies in [0, 1]"),
        none("grow_with_k", "falls_with_k", "recall and hit rate never fall as k grows"),
        none("all_asked", "cells_missing", "every metric, k and width that was asked for is there"),
        none("none_twice", "cells_twice", "no metric, k and width is there twice"),
        none(
            "users_counted",
            "users_beyond_split",
            "as many users were judged, at every k and width, as the split has with test pairs",
        ),
        none(
            "means_true",
            "means_amiss",
            "every value is the mean of the users' values, within 1e-6",
        ),
    ),
)
