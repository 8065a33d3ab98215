"""Per-user values beside the results of a warehouse made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import write_parquet
from mrl4rec.evaluation.ranking.metrics import PER_USER
from mrl4rec.reporting.runs import Run


def write(
    settings: Settings,
    run: Run,
    values: Sequence[float] | np.ndarray,
    users: Sequence[int] | None = None,
    extra: Mapping[str, Sequence[float | None]] | None = None,
) -> None:
    """Give a run's users these values in every metric, k and width it has."""
    column = np.asarray(values, dtype=np.float64)
    who = np.arange(len(column)) if users is None else np.asarray(users)
    places = sorted({(k, w) for _, k, w in run.values}, key=str)
    rows: dict[str, list[object]] = {"user_idx": [], "width": [], "k": []}
    for k, width in places:
        rows["user_idx"] += who.tolist()
        rows["width"] += [width] * len(who)
        rows["k"] += [k] * len(who)
    table = {
        "user_idx": pa.array(rows["user_idx"], pa.int32()),
        "width": pa.array(rows["width"], pa.int32()),
        "k": pa.array(rows["k"], pa.int32()),
        **{name: np.tile(column, len(places)) for name in PER_USER},
        **{name: _column(v, len(places)) for name, v in (extra or {}).items()},
    }
    write_parquet(settings.storage.per_user_file(run.dataset, run.stage_key), pa.table(table))


def _column(values: Sequence[float | None], places: int) -> pa.Array:
    return pa.array(np.tile(np.asarray(values, float), places), from_pandas=True)
