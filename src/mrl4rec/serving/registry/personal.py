"""One user's list: looked up in the table where it is there, else computed from the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable

from mrl4rec.core import stage
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import dataset_of, read_table
from mrl4rec.serving.registry import ledger, recommendations
from mrl4rec.serving.registry.ledger import short
from mrl4rec.serving.registry.lists import Lists, Shape, dim
from mrl4rec.tables import versions

COLUMNS = ("rank", "item_id", "score")


@dataclass(frozen=True)
class Answer:
    """One user's list and where it comes from."""

    user_id: str
    by: Literal["model", "popularity"]
    """popularity: the model has no training pair of this user."""
    known: bool
    """Whether the user is in the table of users."""
    source: Literal["table", "model"]
    """Looked up in recommendations, or computed now."""
    model: str
    """Its stage key."""
    width: int | None
    rows: list[dict[str, Any]]
    """``rank`` from 1, ``item_id``, ``score`` (None for an item the model does not know)."""


def for_user(
    settings: Settings,
    dataset: str,
    user_id: str,
    n: int | None = None,
    width: int | None = None,
    *,
    model: str | None = None,
) -> Answer:
    """A model's best ``n`` items for a user, what the user has had left out.

    ``model`` is a stage key; None: the champion. ``n`` None: as many as the table has, else as the
    settings say. A user nobody has heard of gets the list that most people took. Raises UsageError
    where there is no champion or a width is impossible, ModelAmiss where the list has to be
    computed and the model does not load.
    """
    champion = model or ledger.champion(settings, dataset)
    if champion is None:
        raise UsageError(
            f"{dataset!r} has no champion yet",
            todo="let `mrl4rec retrain` promote one, or name it: mrl4rec promote MODEL --why '…'",
        )
    table = recommendations.state(settings, dataset)
    shape = recommendations.shape_of(settings, table, n, [] if width is None else [width])
    if table is not None and _has(table, champion, shape):
        found = _look_up(settings, dataset, table, user_id, shape)
        if found is not None:
            return found
        if not _is_user(settings, dataset, table, user_id):
            return _stranger(table, user_id, shape)
    return _compute(settings, dataset, champion, user_id, shape)


def _has(table: Commit, champion: str, shape: Shape) -> bool:
    told = table.summary
    if told["model"] != champion:  # that of another, or of none
        return False
    widths = {*told["widths"], told["dim"]}
    return shape.n <= told["n"] and set(shape.widths) <= widths


def _look_up(
    settings: Settings, dataset: str, table: Commit, user_id: str, shape: Shape
) -> Answer | None:
    (width,) = shape.widths or (None,)
    asked = None if width == table.summary["dim"] else width
    uri = settings.storage.table_uri(dataset, recommendations.NAME)
    same_width = ds.field("width").is_null() if asked is None else ds.field("width") == asked
    rows = read_table(
        DeltaTable(uri, table.version),
        [*COLUMNS, "by"],
        (ds.field("user_id") == user_id) & same_width & (ds.field("rank") <= shape.n),
    )
    if not rows.num_rows:  # came after the table was made, or has had everything
        return None
    by = rows["by"][0].as_py()
    return Answer(user_id, by, True, "table", table.summary["model"], width, _listed(rows))


def _is_user(settings: Settings, dataset: str, table: Commit, user_id: str) -> bool:
    """Whether the core the table was made for, or the newest, has this user."""
    newest = versions.newest_good(settings, dataset, "interactions")
    uri = settings.storage.table_uri(dataset, "interactions")
    for core in (newest, stage.find(uri, "interactions", table.summary["core"])):
        if core is not None and versions.complete(settings, dataset, core):
            place = settings.storage.table_uri(dataset, "users")
            users = dataset_of(DeltaTable(place, core.table_version("users")))
            if users.count_rows(filter=ds.field("user_id") == user_id):
                return True
    return False


def _stranger(table: Commit, user_id: str, shape: Shape) -> Answer:
    """The list that most people took, as the table's commit has it."""
    (width,) = shape.widths or (None,)
    best = table.summary["popular"][: shape.n]
    rows = [
        {"rank": n + 1, "item_id": item, "score": score} for n, (item, score) in enumerate(best)
    ]
    return Answer(user_id, "popularity", False, "table", table.summary["model"], width, rows)


def _compute(settings: Settings, dataset: str, champion: str, user_id: str, shape: Shape) -> Answer:
    loaded = recommendations.load(settings.storage.model_dir(dataset, champion))
    if shape.beyond(loaded.card):
        raise UsageError(
            f"width {shape.widths[0]} is not possible: {loaded.card.method_name} has "
            f"{dim(loaded.card) or 'no'} dimensions",
            todo=f"choose 1 … {dim(loaded.card)}" if dim(loaded.card) else "leave --width out",
        )
    found = recommendations.people(settings, dataset, loaded.ids)
    if found is None:
        raise Mrl4recError(
            f"no k-core that passed its gate goes on from the users and items of the model "
            f"{short(champion)}",
            where=settings.storage.table_uri(dataset, "users"),
            todo="run the k-core with the parameters the model was trained on",
        )
    _, people = found
    row = pc.index(people.user_ids, user_id).as_py()
    known = row >= 0
    if not known:
        people, row = people.with_stranger(user_id), len(people.user_ids)
    lists = Lists(loaded, people, shape.of(loaded.card), memory_mb=settings.ranking_memory_mb)
    rows = pa.Table.from_batches(list(lists.batches(np.array([row]))))
    (width,) = shape.widths or (None,)
    cut = None if width == dim(loaded.card) else width
    same = pc.is_null(rows["width"]) if cut is None else pc.equal(rows["width"], cut)
    by: Literal["model", "popularity"] = "model" if lists.served.known_U[row] else "popularity"
    return Answer(user_id, by, known, "model", champion, width, _listed(rows.filter(same)))


def _listed(rows: pa.Table) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = rows.select(COLUMNS).sort_by("rank").to_pylist()
    return listed
