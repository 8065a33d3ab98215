"""A model folder behind MLflow's ``pyfunc``: top-N lists for users, or for histories.

The saved model is the folder itself, as data, and this module as its loader: nothing is pickled.
Input: a frame with a column ``user_id``, or ``history`` (lists of item ids, oldest first), or both.
Parameters: ``n``, items for each row, and ``width``, null for the whole model. Output: one row a
user and rank, best first; ``known`` is false where the model knows nothing of the user or the
history, and the list has the most popular items. Asked with histories it also has ``row``, the
place of the request's row, and ``left_out``, how many items of its history are unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError
from mrl4rec.evaluation.from_history import Answer, HistoryLists
from mrl4rec.evaluation.ranking import recommend
from mrl4rec.kernels.csr import Csr
from mrl4rec.models import histories, model_folder
from mrl4rec.models.scorers import CountModel
from mrl4rec.models.sequential.model import SequenceModel
from mrl4rec.tracking import asked
from mrl4rec.tracking.asked import HISTORY, USER

DEFAULTS: dict[str, Any] = {"n": 10, "width": None}

SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(DataType.string, USER, required=False),
            # As an array of text MLflow would read a null in it as the id "None", and refuse
            # records of which only some have a history: ``asked`` checks the lists instead.
            ColSpec(AnyType(), HISTORY, required=False),
        ]
    ),
    outputs=Schema(
        [
            ColSpec(DataType.string, USER),
            ColSpec(DataType.long, "rank"),
            ColSpec(DataType.string, "item_id"),
            ColSpec(DataType.float, "score"),
            ColSpec(DataType.boolean, "known"),
            ColSpec(DataType.long, "row", required=False),
            ColSpec(DataType.long, "left_out", required=False),
        ]
    ),
    params=ParamSchema(
        [ParamSpec(name, DataType.long, default) for name, default in DEFAULTS.items()]
    ),
)

Places = NDArray[np.int64]
"""Rows of users in the model's folder."""

LOADER = "mrl4rec.pyfunc"
"""The module that MLflow asks for a model; what is registered names it for good."""


class TopN:
    """Top-N lists of a model folder."""

    def __init__(self, folder: Path) -> None:
        self.loaded = model_folder.load(folder)
        self.rows = {user: row for row, user in enumerate(self.loaded.ids.user_ids)}
        known = histories.known_users(self.loaded.model, self.loaded.seen)
        self.known = np.append(known, False)  # the last row is of who is unknown
        had = self.loaded.consumed
        self.consumed = Csr(np.append(had.indptr, had.indptr[-1]), had.indices, had.n_columns)
        self.lists = HistoryLists(self.loaded)

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Frame of user_id, history or both → frame of user_id, rank (from 1), item_id, score,
        known.

        All items of a history, and all that a user is known to have had, are left out; who has had
        nearly all gets a shorter list. Raises MlflowException (INVALID_PARAMETER_VALUE, which a
        server answers with status 400) where a row has neither user nor history, a history is no
        list of ids or the model reads none, ``n`` is no whole number from 1 on, or ``width`` is
        impossible.
        """
        given = {**DEFAULTS, **(params or {})}
        rows = asked.rows(model_input)
        n = min(asked.whole("n", given["n"]), self.loaded.model.n_items)
        width = None if given["width"] is None else asked.whole("width", given["width"])
        places = np.array([self.rows.get(user, len(self.rows)) for user in rows.users], np.int64)
        try:
            found = self._answer(rows, places, n, width)
        except UsageError as error:
            unread = rows.given_B.any() and not histories.reads(self.loaded.model)
            name = HISTORY if unread else "width"
            raise asked.refused(name, error.what, error.todo) from error
        return _frame(rows, found, self.loaded.ids.item_ids)

    def _answer(self, rows: asked.Rows, places_B: Places, n: int, width: int | None) -> Answer:
        given = rows.given_B
        answer = Answer(
            np.empty((len(given), n), dtype=np.int32),
            np.empty((len(given), n), dtype=np.float32),
            np.where(given, False, self.known[places_B]),
            np.zeros(len(given), dtype=np.int64),
        )
        parts: list[tuple[NDArray[np.bool_], tuple[NDArray[Any], ...]]] = []
        if given.any():
            read = [history for history in rows.histories if history is not None]
            had = self.consumed.of(places_B[given])
            parts.append((given, self.lists.recommend(read, n, width, had)))
        by_user, popular = answer.known_B.copy(), ~given & ~answer.known_B
        parts.append((by_user, self._by_user(places_B[by_user], n, width)))
        parts.append((popular, self._popular(places_B[popular], n)))
        whole: tuple[NDArray[Any], ...] = answer
        for part, found in parts:
            for values, some in zip(whole, found, strict=False):
                values[part] = some
        return answer

    def _by_user(self, places_B: Places, n: int, width: int | None) -> tuple[Any, Any]:
        model, had = self.loaded.model, self.loaded.consumed
        if isinstance(model, SequenceModel):  # encode those who are asked for, and nobody else
            model, had = model.bound(model.histories.of(places_B)), had.of(places_B)
            places_B = np.arange(len(places_B))
        return recommend(model, places_B, had, n, width)

    def _popular(self, places_B: Places, n: int) -> tuple[Any, Any]:
        had = self.consumed.of(places_B)
        return recommend(CountModel(self.lists.popular, had.n_rows), np.arange(had.n_rows), had, n)


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


def _frame(rows: asked.Rows, answer: Answer, item_ids: NDArray[np.object_]) -> pd.DataFrame:
    """Lists as rows; −1 marks the end of a shorter one."""
    there = answer.items_BN >= 0
    at_B, at_N = np.nonzero(there)
    columns = {
        USER: np.array(rows.users, dtype=object)[at_B],
        "rank": at_N.astype(np.int64) + 1,
        "item_id": item_ids[answer.items_BN[there]],
        "score": answer.scores_BN[there],
        "known": answer.known_B[at_B],
    }
    if rows.with_histories:
        columns |= {"row": at_B.astype(np.int64), "left_out": answer.left_out_B[at_B]}
    return pd.DataFrame(columns)
