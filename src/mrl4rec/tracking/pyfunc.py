"""A model folder behind MLflow's ``pyfunc``: top-N lists for user ids.

The saved model is the folder itself, as data, and this module as its loader: nothing is pickled.
Input: a frame with a column ``user_id``. Parameters: ``n``, items for each user, and ``width``,
null for the whole model. Output: one row a user and rank, best first; ``known`` is false for users
the model never saw, who get the most popular items.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from mrl4rec.core.errors import UsageError
from mrl4rec.evaluation.ranking import recommend
from mrl4rec.kernels.csr import Csr
from mrl4rec.models import model_folder
from mrl4rec.models.scorers import CountModel

DEFAULTS: dict[str, Any] = {"n": 10, "width": None}

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "user_id")]),
    outputs=Schema(
        [
            ColSpec(DataType.string, "user_id"),
            ColSpec(DataType.long, "rank"),
            ColSpec(DataType.string, "item_id"),
            ColSpec(DataType.float, "score"),
            ColSpec(DataType.boolean, "known"),
        ]
    ),
    params=ParamSchema(
        [ParamSpec(name, DataType.long, default) for name, default in DEFAULTS.items()]
    ),
)

LOADER = "mrl4rec.pyfunc"
"""The module that MLflow asks for a model; what is registered names it for good."""


class TopN:
    """Top-N lists of a model folder."""

    def __init__(self, folder: Path) -> None:
        self.loaded = model_folder.load(folder)
        self.rows = {user: row for row, user in enumerate(self.loaded.ids.user_ids)}
        counts = np.bincount(self.loaded.seen.indices, minlength=self.loaded.model.n_items)
        self.popular = CountModel(counts, 1)

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Frame of user_id → frame of user_id, rank (from 1), item_id, score, known.

        Items a user has seen are left out; who has seen nearly all gets a shorter list. Raises
        UsageError where the column is missing, ``n`` is below 1, or ``width`` is impossible.
        """
        if "user_id" not in getattr(model_input, "columns", ()):
            raise UsageError("the input has no column user_id", todo="give one row a user")
        asked = {**DEFAULTS, **{name: v for name, v in (params or {}).items() if v is not None}}
        n, width = int(asked["n"]), None if asked["width"] is None else int(asked["width"])
        users = [str(user) for user in model_input["user_id"]]
        rows = np.array([self.rows.get(user, -1) for user in users], dtype=np.int64)
        items, scores = recommend(self.loaded.model, rows[rows >= 0], self.loaded.seen, n, width)
        fallback = self._most_popular(n)
        at = np.cumsum(rows >= 0) - 1
        parts = [
            (items[place], scores[place], True) if row >= 0 else (*fallback, False)
            for row, place in zip(rows, at, strict=True)
        ]
        return _frame(users, parts, self.loaded.ids.item_ids)

    def _most_popular(self, n: int) -> tuple[Any, Any]:
        """The list of somebody who has seen nothing, by how often items were taken."""
        nothing = Csr(np.zeros(2, np.int64), np.empty(0, np.int32), self.popular.n_items)
        items, scores = recommend(self.popular, np.zeros(1, np.int64), nothing, n)
        return items[0], scores[0]


def _load_pyfunc(path: str) -> TopN:
    """What MLflow calls with the place of the model's data."""
    return TopN(Path(path))


def arguments(folder: Path) -> dict[str, Any]:
    """What ``mlflow.pyfunc.save_model`` and ``log_model`` both take for a model folder."""
    return {
        "loader_module": LOADER,
        "data_path": str(Path(folder).resolve()),
        "signature": SIGNATURE,
        "pip_requirements": ["mrl4rec"],  # named, else MLflow starts a process to guess them
    }


def save(folder: Path, path: Path) -> Path:
    """Save a model folder as a pyfunc at ``path`` (a folder that does not exist yet)."""
    mlflow.pyfunc.save_model(path=str(path), **arguments(folder))
    return Path(path)


def _frame(users: list[str], parts: list[tuple[Any, Any, bool]], item_ids: Any) -> pd.DataFrame:
    kept = [items >= 0 for items, _, _ in parts]
    counts = [int(mask.sum()) for mask in kept]
    places = [items[mask] for (items, _, _), mask in zip(parts, kept, strict=True)]
    values = [scores[mask] for (_, scores, _), mask in zip(parts, kept, strict=True)]
    ranks = [np.arange(1, count + 1) for count in counts]
    return pd.DataFrame(
        {
            "user_id": np.repeat(np.array(users, dtype=object), counts),
            "rank": np.concatenate([*ranks, np.empty(0, np.int64)]).astype(np.int64),
            "item_id": item_ids[np.concatenate([*places, np.empty(0, np.int32)]).astype(np.int64)],
            "score": np.concatenate([*values, np.empty(0, np.float32)]).astype(np.float32),
            "known": np.repeat(np.array([known for _, _, known in parts], dtype=bool), counts),
        }
    )
