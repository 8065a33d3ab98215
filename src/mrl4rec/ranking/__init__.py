"""Exact full ranking: top-K lists, metrics at every width in one pass, rotation."""

from mrl4rec.ranking.evaluate import Evaluation, Value, evaluate, recall_at
from mrl4rec.ranking.metrics import METRICS
from mrl4rec.ranking.recommend import recommend
from mrl4rec.ranking.rotation import rotate

__all__ = ["METRICS", "Evaluation", "Value", "evaluate", "recall_at", "recommend", "rotate"]
