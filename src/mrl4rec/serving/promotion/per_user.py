"""What two sides reached for the same users: all that a decision needs, as one Parquet file.

Shapes: E users judged, S models of a side (seeds of one recipe), W widths, G slices of items.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.storage import read_parquet, write_parquet
from mrl4rec.evaluation.slices import POPULARITY

K = 20
"""Length of the lists judged."""
METRICS = (f"ndcg@{K}", f"recall@{K}")
SIDES = ("champion", "challenger")
META = b"mrl4rec.duel"
SLICED = tuple(f"ndcg@{K}_{name}" for name in POPULARITY)

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """What a side is."""

    method: str
    levels: tuple[int, ...] | None
    kind: str
    """``factors``, ``mixture``, ``sequential``, ``item_item`` or ``counts``."""
    models: tuple[str, ...]
    """Stage key of each model."""
    seeds: tuple[int | None, ...]
    """Training seed of each; None for a method that draws nothing."""

    @property
    def deterministic(self) -> bool:
        """Another training would give the same model."""
        return all(seed is None for seed in self.seeds)


@dataclass(frozen=True, eq=False)
class Side:
    """One recipe's models and what each user got from each."""

    recipe: Recipe
    ndcg_ESW: Values
    recall_ESW: Values
    sliced_ESG: Values
    """NDCG at full width over the test items in a slice of items; NaN for users without any."""


@dataclass(frozen=True, eq=False)
class Duel:
    """Champion and challenger for the same users over the same candidates."""

    split_key: str
    users_E: NDArray[np.int32]
    """user_idx, ascending."""
    history_E: NDArray[np.int32]
    """Training pairs of each before the window."""
    widths: tuple[int | None, ...]
    """None, the whole model, and then the widths that both sides have."""
    champion: Side
    challenger: Side

    @property
    def n_users(self) -> int:
        """Users judged."""
        return len(self.users_E)

    @property
    def sides(self) -> tuple[Side, Side]:
        """Champion, challenger."""
        return self.champion, self.challenger

    def write(self, path: AnyPath) -> AnyPath:
        """Write one Parquet file, whole or not at all: a row a user, side, model and width."""
        tables = [
            self._rows(number, side, model, w)
            for number, side in enumerate(self.sides)
            for model in range(len(side.recipe.models))
            for w in range(len(self.widths))
        ]
        table = pa.concat_tables(tables).replace_schema_metadata({META: self._meta()})
        write_parquet(path, table, compression="zstd")
        return path

    def _meta(self) -> bytes:
        recipes = {name: asdict(side.recipe) for name, side in zip(SIDES, self.sides, strict=True)}
        body = {"split_key": self.split_key, "widths": self.widths, "sides": recipes}
        return json.dumps(body, sort_keys=True).encode()

    def _rows(self, number: int, side: Side, model: int, w: int) -> pa.Table:
        n, whole = self.n_users, self.widths[w] is None
        nothing = pa.nulls(n, pa.float64())
        sliced = {
            name: pa.array(side.sliced_ESG[:, model, g], from_pandas=True) if whole else nothing
            for g, name in enumerate(SLICED)
        }
        return pa.table(
            {
                "user_idx": self.users_E,
                "history": self.history_E,
                "side": pa.DictionaryArray.from_arrays(
                    pa.array(np.full(n, number, dtype=np.int8)), list(SIDES)
                ),
                "model": pa.array(np.full(n, model, dtype=np.int16)),
                "seed": pa.array([side.recipe.seeds[model]] * n, pa.int64()),
                "width": pa.array([self.widths[w]] * n, pa.int32()),
                METRICS[0]: side.ndcg_ESW[:, model, w].copy(),
                METRICS[1]: side.recall_ESW[:, model, w].copy(),
                **sliced,
            }
        )


def read(path: AnyPath) -> Duel:
    """The duel that ``Duel.write`` wrote. Raises Mrl4recError where the file is no such thing."""
    try:
        table = read_parquet(path)
        meta = json.loads((table.schema.metadata or {})[META])
        return _duel(table, meta)
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise Mrl4recError(
            f"this is no file of per-user values of a duel: {error!r}", where=str(path)
        ) from error


def _duel(table: pa.Table, meta: dict[str, Any]) -> Duel:
    """The rows as arrays again, whatever order they stand in."""
    widths = tuple(meta["widths"])
    recipes = [_recipe(meta["sides"][name]) for name in SIDES]
    frame = table.to_pandas()
    frame["side"] = frame["side"].map(SIDES.index).astype(int)
    frame["at"] = frame["width"].fillna(0).astype(int).map([w or 0 for w in widths].index)
    frame = frame.sort_values(["side", "user_idx", "model", "at"])
    sides = []
    for number, recipe in enumerate(recipes):
        rows = frame[frame["side"] == number]
        shape = (-1, len(recipe.models), len(widths))
        ndcg, recall = (rows[name].to_numpy(float).reshape(shape) for name in METRICS)
        sliced = rows[rows["at"] == 0][list(SLICED)].to_numpy(float)
        sides.append(Side(recipe, ndcg, recall, sliced.reshape(*shape[:2], len(SLICED))))
    first = rows[(rows["at"] == 0) & (rows["model"] == 0)]
    users, history = (first[name].to_numpy(np.int32) for name in ("user_idx", "history"))
    return Duel(meta["split_key"], users, history, widths, *sides)


def _recipe(values: dict[str, Any]) -> Recipe:
    levels = values["levels"]
    return Recipe(
        values["method"],
        tuple(levels) if levels else None,
        values["kind"],
        tuple(values["models"]),
        tuple(values["seeds"]),
    )
