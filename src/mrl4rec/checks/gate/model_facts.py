"""Facts of a trained model's folder and of an evaluation, in NumPy and pandas, without a JVM.

Shapes: U users, I items, d dimensions, n rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mrl4rec.core import tensor_file
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import AnyPath, here
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import read_table, table_at
from mrl4rec.evaluation.diversity import intra_cosine
from mrl4rec.evaluation.sequences import COSINE
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder.tensors import NET
from mrl4rec.models.scorers import Scorer
from mrl4rec.models.sequential.model import SequenceModel
from mrl4rec.tables.results import GROWING
from mrl4rec.tables.vectors import RANK_FLOOR

ROWS = 4096
SAMPLE = 4096
"""Users whose histories are encoded to see what vectors come of them."""
MEAN_WITHIN = 1e-6
SHARES_WITHIN = 1e-4
ROUNDING = 1e-9
"""A spread below this is float64's own noise about equal rows."""
Asked = Sequence[tuple[str, int, int | None]]
"""(metric, k, width) of every value that must be there."""


@dataclass(frozen=True)
class Measured:
    """Facts by name, and what the numbers alone do not tell."""

    facts: dict[str, float]
    notes: dict[str, str]

    def frame(self) -> pd.DataFrame:
        """The facts as a frame of one row."""
        return pd.DataFrame([self.facts])


def vector_facts(
    folder: AnyPath, user_ids: NDArray[np.object_], item_ids: NDArray[np.object_]
) -> Measured:
    """Facts of a model's arrays, held against the ids of the split it was trained on.

    A folder that does not load as it was written has ``folder_amiss`` = 1 and, where its arrays
    cannot even be read, no other facts. Raises Mrl4recError where it has no card.
    """
    card = model_folder.read_card(folder)
    with here(folder) as copy:
        return _vector_facts(copy, card, (user_ids, item_ids))


def _vector_facts(
    folder: Path,
    card: model_folder.ModelCard,
    wanted: tuple[NDArray[np.object_], NDArray[np.object_]],
) -> Measured:
    facts: dict[str, float] = {"folder_amiss": 0}
    notes: dict[str, str] = {}
    model: Scorer | None = None
    try:
        model = model_folder.load(folder).model
    except Mrl4recError as error:
        facts["folder_amiss"], notes["folder_amiss"] = 1, error.what
    try:
        tensors = tensor_file.read(folder / model_folder.MODEL)
        ids = [_ids(folder / name) for name in (model_folder.USERS, model_folder.ITEMS)]
    except (Mrl4recError, OSError, pa.ArrowException) as error:
        facts["folder_amiss"], notes["folder_amiss"] = 1, str(error)
        return Measured(facts, notes)
    facts["ids_amiss"] = sum(not np.array_equal(*both) for both in zip(ids, wanted, strict=True))
    problems = _shape_problems(card, tensors, *map(len, wanted))
    facts["shapes_amiss"], notes["shapes_amiss"] = len(problems), "; ".join(problems)
    numbers = {name: t for name, t in tensors.items() if not name.endswith(("indptr", "indices"))}
    facts["values_not_finite"] = sum(_count(t, lambda b: ~np.isfinite(b)) for t in numbers.values())
    told = [t for name, t in numbers.items() if not name.startswith(NET)]  # a bias may stay 0
    facts["arrays_all_zero"] = sum(not t.any() for t in told)
    if isinstance(model, SequenceModel):
        facts |= sequential_facts(model)
        notes["mean_cosine"] = COLLAPSED
    elif not problems and card.kind in KIND_FACTS:
        facts |= KIND_FACTS[card.kind](tensors)
    return Measured(facts, notes)


def _ids(path: Path) -> NDArray[np.object_]:
    ids: NDArray[np.object_] = pq.read_table(path).column(0).to_numpy()
    return ids


def read_ids(settings: Settings, dataset: str, split: Commit, side: str) -> NDArray[np.object_]:
    """External ids of one side (user, item) of a split, by their number."""
    uri = settings.storage.table_uri(dataset, f"{side}s")
    table = read_table(table_at(uri, split.table_version(f"{side}s")))
    ordered = table.sort_by(f"{side}_idx")[f"{side}_id"]
    ids: NDArray[np.object_] = ordered.to_numpy(zero_copy_only=False)
    return ids


def count_test_users(settings: Settings, dataset: str, split: Commit) -> int:
    """Users of a split that have test pairs."""
    delta = table_at(settings.storage.table_uri(dataset, "splits"), split.table_version("splits"))
    users = read_table(delta, ["user_idx"], pc.field("fold") == "test")
    return int(pc.count_distinct(users["user_idx"]).as_py())


def _shape_problems(
    card: model_folder.ModelCard, tensors: tensor_file.Tensors, n_users: int, n_items: int
) -> list[str]:
    """Where the arrays differ from the card, or the card from the users and items there are."""
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    problems = [
        f"{name} is {shapes.get(name)}, the card says {card.shapes.get(name)}"
        for name in sorted(shapes.keys() | card.shapes.keys())
        if shapes.get(name) != card.shapes.get(name)
    ]
    rows = {"user_vectors": n_users, "user_vectors_0": n_users, "item_vectors": n_items,
            "item_vectors_0": n_items, "weights": n_items, "counts": n_items,
            "user_concepts": n_users, "mixing": n_items,
            "weights.indptr": n_items + 1, "history.indptr": n_users + 1}  # fmt: skip
    problems += [
        f"{name} has {shape[0]} rows, {rows[name]} are wanted"
        for name, shape in shapes.items()
        if name in rows and shape[0] != rows[name]
    ]
    sides = [shapes[name] for name in ("user_vectors", "item_vectors") if name in shapes]
    problems += [f"vectors of shape {shape} are no matrix" for shape in sides if len(shape) != 2]
    dims = {shape[-1] for shape in sides}
    widths = {width for width in card.widths if width is not None}
    if len(dims) > 1 or (dims and max(widths, default=0) > max(dims)):
        problems.append(f"vectors of {sorted(dims)} dimensions, widths {sorted(widths)}")
    if "weights" in shapes and shapes["weights"][0] != shapes["weights"][1]:
        problems.append(f"the item-item matrix is not square: {shapes['weights']}")
    return problems


def _factor_facts(tensors: tensor_file.Tensors) -> dict[str, float]:
    sides = {side: _finite(tensors[f"{side}_vectors"]) for side in ("user", "item")}
    facts = {f"{side}_spread": spread(rows) for side, rows in sides.items()}
    for side, rows in sides.items():  # one dimension is a line, and meant to be one
        rank = effective_rank(rows)
        facts[f"{side}_rank"] = max(rank, RANK_FLOOR) if rows.shape[1] == 1 else rank
    return facts


def _mixture_facts(tensors: tensor_file.Tensors) -> dict[str, float]:
    """A user's vector is all of its concepts', one after another."""
    concepts = tensors["user_concepts"]
    users = concepts.reshape(len(concepts), -1)
    facts = _factor_facts({"user_vectors": users, "item_vectors": tensors["item_vectors"]})
    shares = tensors["mixing"]
    amiss = (np.abs(shares.sum(axis=1) - 1) > SHARES_WITHIN) | (shares < 0).any(axis=1)
    return facts | {"shares_amiss": int(np.count_nonzero(amiss))}


def sequential_facts(model: SequenceModel) -> dict[str, float]:
    """Of users evenly spaced among those with a history; a user's vectors are one after another."""
    users = np.flatnonzero(model.histories.lengths > 0)
    users = users[np.linspace(0, len(users) - 1, min(len(users), SAMPLE)).astype(np.int64)]
    interests = model.encode(model.histories.of(users))
    rows = interests.reshape(len(interests), -1)
    facts = _factor_facts({"user_vectors": rows, "item_vectors": model.item_vectors})
    whole = _finite(rows).reshape(-1, *interests.shape[1:])
    several = interests.shape[1] > 1 and len(whole)
    return facts | {"mean_cosine": float(intra_cosine(whole).mean()) if several else 0.0}


def _finite(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows that are finite throughout: the others break an expectation of their own."""
    whole = np.isfinite(rows).all(axis=1)
    return rows if whole.all() else rows[whole]


def _item_item_facts(tensors: tensor_file.Tensors) -> dict[str, float]:
    if "weights" in tensors:
        return {"diagonal_not_zero": int(np.count_nonzero(np.diagonal(tensors["weights"])))}
    indptr, columns = tensors["weights.indptr"], tensors["weights.indices"]
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    on_diagonal = (rows == columns) & (tensors["weights.data"] != 0)
    return {"diagonal_not_zero": int(np.count_nonzero(on_diagonal))}


def _count_facts(tensors: tensor_file.Tensors) -> dict[str, float]:
    return {"counts_negative": int(np.count_nonzero(tensors["counts"] < 0))}


KIND_FACTS = {
    "factors": _factor_facts,
    "mixture": _mixture_facts,
    "item_item": _item_item_facts,
    "counts": _count_facts,
}
COLLAPSED = (
    "several vectors a user say hardly more than one: drive them apart more strongly in training, "
    "or train one"
)


def _count(tensor: NDArray[Any], condition: Callable[[NDArray[Any]], NDArray[np.bool_]]) -> int:
    """How many values meet a condition, some rows at a time: the matrix may be mapped."""
    blocks = (tensor[start : start + ROWS] for start in range(0, len(tensor), ROWS))
    return sum(int(np.count_nonzero(condition(block))) for block in blocks)


def spread(rows: NDArray[np.floating]) -> float:
    """(n, d) → root mean square distance of the rows from their mean, over their own; 0 to 1."""
    wide = rows.astype(np.float64)
    size = float((wide**2).sum())
    if not size > 0:
        return 0.0
    return float(np.sqrt(((wide - wide.mean(axis=0)) ** 2).sum() / size))


def effective_rank(rows: NDArray[np.floating]) -> float:
    """exp(entropy) of the shares that the squared singular values of the centred rows have.

    (n, d) → between 1 and d, or 0 where all rows are equal (Roy and Vetterli 2007, on the squares).
    """
    if spread(rows) < ROUNDING:
        return 0.0
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    squares = np.clip(np.linalg.eigvalsh(centred.T @ centred), 0, None)
    total = float(squares.sum())
    shares = squares[squares > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def result_facts(
    rows: pd.DataFrame, per_user: pd.DataFrame, asked: Asked, test_users: int
) -> Measured:
    """Facts of one evaluation: its ``rows`` of results and its users' own values.

    ``rows`` has metric, k, width, value; ``per_user`` has user_idx, k, width and a column a metric;
    a null width counts as 0, which no model has. ``test_users`` is how many the split has.
    """
    rows, per_user = (t.assign(width=t["width"].fillna(0).astype(int)) for t in (rows, per_user))
    cells = rows.set_index(["metric", "k", "width"])["value"]
    wanted = {(metric, k, width or 0) for metric, k, width in asked}
    missing = sorted(wanted - set(cells.index))
    least = np.where(rows["metric"] == COSINE, -1, 0)
    outside = rows[~rows["value"].between(least, 1)]
    falls, amiss = _falls(rows), _means_amiss(cells[~cells.index.duplicated()], per_user)
    judged = per_user[per_user["recall"].notna()]  # of others nothing but unmasked values is known
    users = judged.groupby(["k", "width"])["user_idx"].nunique()
    places = {(k, width) for _, k, width in cells.index}
    off = {place: int(users.get(place, 0)) for place in places}
    facts = {
        "rows": len(rows),
        "values_outside": len(outside),
        "falls_with_k": len(falls),
        "cells_missing": len(missing),
        "cells_twice": int(cells.index.duplicated().sum()),
        "users_beyond_split": sum(abs(n - test_users) for n in off.values()),
        "means_amiss": len(amiss),
    }
    notes = {
        "values_outside": _words(outside[["metric", "k", "width", "value"]].values.tolist()),
        "falls_with_k": _words(falls),
        "cells_missing": _words(missing),
        "users_beyond_split": f"the split has {test_users} users with test pairs; by (k, width): "
        + _words([(place, n) for place, n in sorted(off.items()) if n != test_users]),
        "means_amiss": _words(amiss),
    }
    return Measured({name: float(value) for name, value in facts.items()}, notes)


def _falls(rows: pd.DataFrame) -> list[tuple[Any, ...]]:
    growing = rows[rows["metric"].isin(GROWING)].sort_values("k")
    falls = []
    for (metric, width), group in growing.groupby(["metric", "width"]):
        steps = zip(group["k"], group["value"], group["k"][1:], group["value"][1:], strict=False)
        falls += [(metric, width, f"k={a}: {x}", f"k={b}: {y}") for a, x, b, y in steps if y < x]
    return falls


def _means_amiss(cells: pd.Series, per_user: pd.DataFrame) -> list[tuple[Any, ...]]:
    metrics = [name for name in per_user.columns if name in set(cells.index.get_level_values(0))]
    means = per_user.groupby(["k", "width"])[metrics].mean().stack()
    found = []
    for place, value in cells.items():
        metric, k, width = cast(tuple[str, int, int], place)
        mean = means.get((k, width, metric), np.nan) if metric in metrics else value
        if not abs(mean - value) <= MEAN_WITHIN:
            found.append((metric, k, width, f"value {value}", f"mean {mean}"))
    return found


def _words(rows: Sequence[Any]) -> str:
    shown = "; ".join(str(row) for row in rows[:5])
    return shown + (f"; and {len(rows) - 5} more" if len(rows) > 5 else "")
