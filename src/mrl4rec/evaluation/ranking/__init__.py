"""Exact full ranking: top-K lists, metrics at every width in one pass, rotation."""

from mrl4rec.evaluation.ranking.evaluate import Evaluation, Value, evaluate, recall_at
from mrl4rec.evaluation.ranking.metrics import METRICS, ndcg_hits
from mrl4rec.evaluation.ranking.recommend import recommend
from mrl4rec.evaluation.ranking.union import union_lists
from mrl4rec.models.rotation import rotate

__all__ = [
    "METRICS",
    "Evaluation",
    "Value",
    "evaluate",
    "ndcg_hits",
    "recall_at",
    "recommend",
    "rotate",
    "union_lists",
]
