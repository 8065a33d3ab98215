"""What a request to the pyfunc asks for: users, histories and the form of the lists.

What cannot be answered raises MlflowException (INVALID_PARAMETER_VALUE), for which a server answers
with status 400.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from mrl4rec.evaluation.from_history import item_ids

USER, HISTORY = "user_id", "history"


@dataclass(frozen=True)
class Rows:
    """The rows of a request."""

    users: list[str | None]
    histories: list[list[str] | None]
    with_histories: bool
    """Whether the request has a column of histories, filled or not."""

    @property
    def given_B(self) -> NDArray[np.bool_]:
        """(B,) the rows with a history, be it empty."""
        return np.array([history is not None for history in self.histories], dtype=bool)


def rows(model_input: Any) -> Rows:
    """The users and histories of a frame. Raises MlflowException where a row has neither."""
    names = [name for name in (USER, HISTORY) if name in getattr(model_input, "columns", ())]
    if not names:
        raise refused(
            USER, f"the input has neither this column nor {HISTORY}", "give one row a user"
        )
    users = [_user(value) for value in _column(model_input, USER)]
    found = [_history(place, value) for place, value in enumerate(_column(model_input, HISTORY))]
    for place, row in enumerate(zip(users, found, strict=True)):
        if row == (None, None):
            raise refused(
                USER, f"row {place} has none, and no {HISTORY}", "give each row a user's id"
            )
    return Rows(users, found, HISTORY in names)


def whole(name: str, value: Any) -> int:
    """A parameter as a whole number from 1 on. Raises MlflowException."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise refused(
            name, f"{value!r} is no whole number from 1 on", "leave it out for the default"
        )
    return int(value)


def refused(name: str, what: str, todo: str | None) -> MlflowException:
    """The error for something in a request."""
    return MlflowException.invalid_parameter_value(f"{name}: {what}; what to do: {todo}")


def _column(frame: pd.DataFrame, name: str) -> list[Any]:
    return list(frame[name]) if name in frame.columns else [None] * len(frame)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


def _user(value: Any) -> str | None:
    return None if _is_missing(value) else str(value)


def _history(place: int, value: Any) -> list[str] | None:
    """Ids as text, of a list of text or whole numbers."""
    if _is_missing(value):
        return None
    items = item_ids(value)
    if items is None:
        raise refused(
            HISTORY,
            f"row {place} has {str(value)[:60]!r}, which is no list of item ids",
            'give item ids, oldest first, like ["12", "7"]',
        )
    return items
