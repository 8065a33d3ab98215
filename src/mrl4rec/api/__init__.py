"""What a notebook uses: a frame of interactions in, a split, a model, its metrics and lists.

::

    import mrl4rec as mr

    data = mr.Dataset.from_frame(frame, user="user_id", item="item_id", time="timestamp")
    train, test = data.split("random", seed=0)
    model = mr.MRL(levels=(4, 8, 16, 32, 64)).fit(train)
    mr.evaluate(model, test, k=(10, 20, 50))
    model.recommend(["u1", "u2"], n=10, width=16)

These are the functions of the pipeline: the same split, the same vectors, the same metrics. No
warehouse, no Prefect and no MLflow are needed. Frames that are given may be pandas, Polars or
Arrow; frames that come back are pandas.
"""

from mrl4rec.api.board import leaderboard, to_latex
from mrl4rec.api.data import Dataset
from mrl4rec.api.judge import compare, evaluate
from mrl4rec.api.model import BPR, DNS, EASE, IALS, MRL, MTMI, Model, SASRec, methods
from mrl4rec.api.warehouse import Warehouse, load

__all__ = [
    "BPR",
    "DNS",
    "EASE",
    "IALS",
    "MRL",
    "MTMI",
    "Dataset",
    "Model",
    "SASRec",
    "Warehouse",
    "compare",
    "evaluate",
    "leaderboard",
    "load",
    "methods",
    "to_latex",
]
