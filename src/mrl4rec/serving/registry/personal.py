"""One user's list: looked up in the table where it is there, else computed from the model.

Or the list for a history, of whomever: always computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from mrl4rec.core import stage
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import dataset_of, read_table, table_at
from mrl4rec.evaluation.from_history import HistoryLists
from mrl4rec.models.model_folder import Loaded
from mrl4rec.models.sequential.model import SequenceModel
from mrl4rec.serving.registry import ledger, recommendations
from mrl4rec.serving.registry.ledger import short
from mrl4rec.serving.registry.lists import Lists, Shape, dim
from mrl4rec.tables import versions

COLUMNS = ("rank", "item_id", "score")


@dataclass(frozen=True)
class Answer:
    """One user's list and where it comes from."""

    user_id: str | None
    """None: for a history."""
    by: Literal["model", "popularity"]
    """popularity: the model has nothing of this user, or no item of this history."""
    known: bool
    """Whether the user is in the table of users, or the history has a known item."""
    source: Literal["table", "model"]
    """Looked up in recommendations, or computed now."""
    model: str
    """Its stage key."""
    width: int | None
    rows: list[dict[str, Any]]
    """``rank`` from 1, ``item_id``, ``score`` (None for an item the model does not know)."""
    left_out: int = 0
    """Items of the history that the model does not know."""


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
    champion = _model(settings, dataset, model)
    table = recommendations.state(settings, dataset)
    shape = recommendations.shape_of(settings, table, n, [] if width is None else [width])
    if table is not None and _has(table, champion, shape):
        found = _look_up(settings, dataset, table, user_id, shape)
        if found is not None:
            return found
        if not _is_user(settings, dataset, table, user_id):
            return _stranger(table, user_id, shape)
    return _compute(settings, dataset, champion, user_id, shape)


def for_history(
    settings: Settings,
    dataset: str,
    items: Sequence[str],
    n: int | None = None,
    width: int | None = None,
    *,
    model: str | None = None,
) -> Answer:
    """A model's best ``n`` items for whoever had these (ids, oldest first), which are left out.

    ``model`` and ``n`` as in ``for_user``. A history without an item that the model knows gets the
    list that most people took. Raises UsageError where the model reads no histories, and as
    ``for_user``.
    """
    key = _model(settings, dataset, model)
    table = recommendations.state(settings, dataset)
    shape = recommendations.shape_of(settings, table, n, [] if width is None else [width])
    loaded = _loaded(settings, dataset, key, shape)
    found = HistoryLists(loaded).recommend([items], shape.n, width)
    best = zip(found.items_BN[0], found.scores_BN[0], strict=True)
    rows = [
        {"rank": rank, "item_id": loaded.ids.item_ids[item], "score": float(score)}
        for rank, (item, score) in enumerate(best, 1)
        if item >= 0
    ]
    known, lost = bool(found.known_B[0]), int(found.left_out_B[0])
    by: Literal["model", "popularity"] = "model" if known else "popularity"
    return Answer(None, by, known, "model", key, width, rows, lost)


def _model(settings: Settings, dataset: str, model: str | None) -> str:
    """The stage key asked for, else the champion's."""
    champion = model or ledger.champion(settings, dataset)
    if champion is None:
        raise UsageError(
            f"{dataset!r} has no champion yet",
            todo="let `mrl4rec retrain` promote one, or name it: mrl4rec promote MODEL --why '…'",
        )
    return champion


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
        table_at(uri, table.version),
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
            users = dataset_of(table_at(place, core.table_version("users")))
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
    loaded = _loaded(settings, dataset, champion, shape)
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
    if isinstance(loaded.model, SequenceModel) and row < loaded.model.n_users:
        loaded = loaded._replace(model=loaded.model.alone(np.array([row])))
    lists = Lists(loaded, people, shape.of(loaded.card), memory_mb=settings.ranking_memory_mb)
    rows = pa.Table.from_batches(list(lists.batches(np.array([row]))))
    (width,) = shape.widths or (None,)
    cut = None if width == dim(loaded.card) else width
    same = pc.is_null(rows["width"]) if cut is None else pc.equal(rows["width"], cut)
    by: Literal["model", "popularity"] = "model" if lists.served.known_U[row] else "popularity"
    return Answer(user_id, by, known, "model", champion, width, _listed(rows.filter(same)))


def _loaded(settings: Settings, dataset: str, model: str, shape: Shape) -> Loaded:
    """The model. Raises UsageError where it has no such width."""
    loaded = recommendations.load(settings.storage.model_dir(dataset, model))
    if shape.beyond(loaded.card):
        raise UsageError(
            f"width {shape.widths[0]} is not possible: {loaded.card.method_name} has "
            f"{dim(loaded.card) or 'no'} dimensions",
            todo=f"choose 1 … {dim(loaded.card)}" if dim(loaded.card) else "leave --width out",
        )
    return loaded


def _listed(rows: pa.Table) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = rows.select(COLUMNS).sort_by("rank").to_pylist()
    return listed
