"""A model folder behind MLflow's ``pyfunc``: top-N lists for user ids.

The saved model is this file as code (MLflow's *models from code*) and the model folder as an
artifact, so that nothing is pickled. Input: a frame with a column ``user_id``; parameters ``n``
(items for each user) and ``width`` (0: the whole model). Output: one row a user and rank, best
first, with ``known`` false for users the model never saw, who get the most popular items.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from mrl4rec import model_folder
from mrl4rec.errors import UsageError
from mrl4rec.interactions import Csr
from mrl4rec.ranking import recommend
from mrl4rec.scorers import CountModel

ARTIFACT = "model_folder"
DEFAULTS: dict[str, Any] = {"n": 10, "width": 0}


class TopN(PythonModel):
    """Top-N lists of a model folder."""

    def load_context(self, context: Any) -> None:
        """Load and verify the model folder, once a process."""
        self.loaded = model_folder.load(Path(context.artifacts[ARTIFACT]))
        self.rows = {user: row for row, user in enumerate(self.loaded.ids.user_ids)}
        counts = np.bincount(self.loaded.seen.indices, minlength=self.loaded.model.n_items)
        self.popular = CountModel(counts, 1)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """Frame of user_id → frame of user_id, rank (from 1), item_id, score, known.

        Unannotated: MLflow reads type hints here as a schema of its own. Raises UsageError where
        the column is missing, ``n`` is below 1, or the model cannot be cut to ``width``.
        """
        if "user_id" not in getattr(model_input, "columns", ()):
            raise UsageError("the input has no column user_id", todo="give one row a user")
        asked = {**DEFAULTS, **{name: v for name, v in (params or {}).items() if v is not None}}
        n, width = int(asked["n"]), int(asked["width"]) or None
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


def model() -> PythonModel:
    """The Python model; its one artifact, ``model_folder``, is the folder to serve."""
    return TopN()


def signature() -> ModelSignature:
    """Columns and parameters, with their defaults."""
    return ModelSignature(
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


def arguments(folder: Path) -> dict[str, Any]:
    """What ``mlflow.pyfunc.save_model`` and ``log_model`` both take for a model folder."""
    from importlib.metadata import version

    packages = ("numpy", "pandas", "pyarrow", "numba", "scipy", "safetensors", "deltalake")
    return {
        "python_model": str(Path(__file__).resolve()),
        "artifacts": {ARTIFACT: str(Path(folder).resolve())},
        "signature": signature(),
        "code_paths": [str(Path(__file__).resolve().parent)],
        # named, because MLflow would otherwise load the model in a second process to find out
        "pip_requirements": [
            f"mlflow=={version('mlflow')}",
            "pydantic-settings",
            *(f"{name}=={version(name)}" for name in packages),
        ],
    }


def save(folder: Path, path: Path) -> Path:
    """Save a model folder as a pyfunc at ``path`` (a folder that does not exist yet)."""
    mlflow.pyfunc.save_model(path=str(path), **arguments(folder))
    return Path(path)


def log(folder: Path, name: str = "model", **options: Any) -> Any:
    """Log a model folder as a pyfunc to the active MLflow run."""
    return mlflow.pyfunc.log_model(name=name, **arguments(folder), **options)


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
