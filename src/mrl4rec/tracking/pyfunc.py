"""A model folder behind MLflow's ``pyfunc``: top-N lists for user ids.

The saved model is the folder itself, as data, and this module as its loader: nothing is pickled.
Input: a frame with a column ``user_id``. Parameters: ``n``, items for each user, and ``width``,
null for the whole model. Output: one row a user and rank, best first; ``known`` is false for users
without a training pair, who get the most popular items.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from numpy.typing import NDArray

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
        self.strange = _strangers(self.loaded)

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Frame of user_id → frame of user_id, rank (from 1), item_id, score, known.

        All items that a user is known to have had are left out; who has had nearly all gets a
        shorter list. Raises MlflowException (INVALID_PARAMETER_VALUE, which a server answers with
        status 400) where the column is missing or has nulls, ``n`` is no whole number from 1 on,
        or ``width`` is impossible.
        """
        users = _users(model_input)
        asked = {**DEFAULTS, **(params or {})}
        n = min(_whole("n", asked["n"]), self.loaded.model.n_items)
        width = None if asked["width"] is None else _whole("width", asked["width"])
        rows = np.array([self.rows.get(user, len(self.rows)) for user in users], dtype=np.int64)
        known = np.append(self.loaded.seen.degrees > 0, False)[rows]
        items = np.empty((len(rows), n), dtype=np.int32)
        scores = np.empty((len(rows), n), dtype=np.float32)
        model, consumed = self.loaded.model, self.loaded.consumed
        try:
            items[known], scores[known] = recommend(model, rows[known], consumed, n, width)
        except UsageError as error:
            raise _refused("width", error.what, error.todo) from error
        popular, theirs = self.strange
        items[~known], scores[~known] = recommend(popular, rows[~known], theirs, n)
        return _frame(users, items, scores, known, self.loaded.ids.item_ids)


def _strangers(loaded: model_folder.Loaded) -> tuple[CountModel, Csr]:
    """How often items were trained on, and what users have had; the last row is of the unknown."""
    counts = np.bincount(loaded.seen.indices, minlength=loaded.model.n_items)
    had = loaded.consumed
    consumed = Csr(np.append(had.indptr, had.indptr[-1]), had.indices, had.n_columns)
    return CountModel(counts, consumed.n_rows), consumed


def _users(model_input: Any) -> list[str]:
    if "user_id" not in getattr(model_input, "columns", ()):
        raise _refused("user_id", "the input has no such column", "give one row a user")
    missing = np.flatnonzero(model_input["user_id"].isna())
    if len(missing):
        raise _refused("user_id", f"row {missing[0]} has none", "give each row a user's id")
    return [str(user) for user in model_input["user_id"]]


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise _refused(
            name, f"{value!r} is no whole number from 1 on", "leave it out for the default"
        )
    return int(value)


def _refused(name: str, what: str, todo: str | None) -> MlflowException:
    return MlflowException.invalid_parameter_value(f"{name}: {what}; what to do: {todo}")


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


def _frame(
    users: list[str],
    items_BN: NDArray[np.int32],
    scores_BN: NDArray[np.float32],
    known_B: NDArray[np.bool_],
    item_ids: NDArray[np.object_],
) -> pd.DataFrame:
    """Lists as rows; −1 marks the end of a shorter one."""
    there = items_BN >= 0
    at_B, at_N = np.nonzero(there)
    return pd.DataFrame(
        {
            "user_id": np.array(users, dtype=object)[at_B],
            "rank": at_N.astype(np.int64) + 1,
            "item_id": item_ids[items_BN[there]],
            "score": scores_BN[there],
            "known": known_B[at_B],
        }
    )
