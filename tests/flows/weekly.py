"""Dumps that land one after the other: the world of the drift tests, written as rating files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.mrl4rec.checks.drift_samples import Row, World

WORLD = World(users=300, items=300, a_day=300)

RETRAIN = ["retrain", "--dataset", "weekly", "--methods", "MRL-M", "--levels", "4,16",
           "--set", "MRL-M.dim=16", "--set", "MRL-M.batch=256", "--set", "MRL-M.lr=0.02",
           "--epochs", "11", "--seeds", "0,1"]  # fmt: skip
"""A retraining that takes seconds once Spark has done its part."""
FEW_USERS = {"MRL4REC_RETRAIN_MIN_USERS": "60"}


def write(folder: Path, name: str, rows: Sequence[Row]) -> Path:
    """One dump; times in whole seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["userId,movieId,rating,timestamp"]
    lines += [
        f"{user[1:]},{item[1:]},{rating},{int(at.timestamp())}"
        for user, item, rating, at in rows
        if at is not None
    ]
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def week(
    folder: Path, number: int, spoil: Callable[[list[Row]], list[Row]] = list, first_days: int = 30
) -> Path:
    """Dump 0 is the history, then a week each."""
    days = (0, first_days) if number == 0 else (first_days + 7 * (number - 1), 7)
    return write(folder, f"week-{number:02}.csv", spoil(WORLD.rows(*days)))
