"""Table ``recommendations``: the lists of everybody for one model, as one commit of a stage.

The newest version is of the model its commit names. The same lists are never computed twice: where
an older version has them, as after a rollback, the table goes back to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from deltalake import CommitProperties, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError

from mrl4rec.checks.gate.foreign_commits import HARMLESS
from mrl4rec.core import commits, stage
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit, stage_key
from mrl4rec.core.storage import open_table, read_table, table_at
from mrl4rec.data import known
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder import Ids, Loaded, ModelCard
from mrl4rec.serving.registry.lists import Lists, People, Shape, dim, in_order_of_ids
from mrl4rec.tables import versions
from mrl4rec.tables.recommendations import RECOMMENDATIONS

STAGE, NAME = "recommend", RECOMMENDATIONS.name
CODE = 1
"""Raised when other lists come out of the same model, core and shape."""
ROW_GROUP = 1 << 16
"""Rows that a reader of one user has to look through."""
_T = TypeVar("_T")

log = logging.getLogger("mrl4rec.serving.registry")


class ModelAmiss(Mrl4recError):
    """A model's folder is gone or does not load."""


def version(settings: Settings, dataset: str) -> int | None:
    """The table's newest version, or None where there is no table."""
    delta = open_table(settings.storage.table_uri(dataset, NAME))
    return None if delta is None else int(delta.version())


def state(settings: Settings, dataset: str) -> Commit | None:
    """The commit that the table's newest version is of.

    None where there is no table, its files are not all there, or somebody else wrote to it.
    """
    for entry in stage.log_entries(settings.storage.table_uri(dataset, NAME)):
        if str(entry.get("operation", "")).startswith(HARMLESS):
            continue
        found = stage.commit_of(entry, NAME)
        return found if found and versions.complete(settings, dataset, found) else None
    return None


def shape_of(
    settings: Settings,
    now: Commit | None,
    n: int | None = None,
    widths: Sequence[int] | None = None,
) -> Shape:
    """What to make: as asked, else as the settings were set, else as the table is, else 20 long."""
    told = now.summary if now else {}
    given = settings.model_fields_set
    if n is None:
        by_default = "recommend_n" not in given and "n" in told
        n = int(told["n"]) if by_default else settings.recommend_n
    if widths is None:
        by_default = "recommend_widths" not in given and "asked_widths" in told
        text = settings.recommend_widths
        widths = told["asked_widths"] if by_default else [int(w) for w in text.split(",") if w]
    return Shape(n, tuple(widths))


def run(settings: Settings, dataset: str, model: str, shape: Shape) -> Commit | None:
    """The table for the model with this stage key, in one commit; found done where it is.

    It is made for the users of the newest good core that goes on from the model's ids; None where
    there is no such core. Raises ModelAmiss where the model's folder does not load.
    """
    folder = settings.storage.model_dir(dataset, model)
    card = _sound(model_folder.read_card, folder)
    newest = versions.newest_good(settings, dataset, "interactions")
    now = state(settings, dataset)
    if newest and now and now.key == _key(settings, dataset, card, newest, shape):
        return replace(now, found=True)
    loaded = load(folder)
    found = people(settings, dataset, loaded.ids)
    if found is None:
        return None
    core, who = found
    key = _key(settings, dataset, card, core, shape)
    done = _done(settings, dataset, key)
    if done is not None:
        return done
    if shape.beyond(card):
        log.warning(
            "%s has no lists of widths %s: it has %s dimensions",
            card.method_name, ", ".join(map(str, shape.beyond(card))), dim(card) or "no",
        )  # fmt: skip
    lists = Lists(
        loaded,
        who,
        shape.of(card),
        device=_device(settings),
        memory_mb=settings.ranking_memory_mb,
    )
    summary = {
        "model": model,
        "core": core.key,
        "n": shape.n,
        "widths": list(shape.of(card).widths),
        "dim": dim(card),
        "asked_widths": list(shape.widths),
        "users": len(who.user_ids),
        "by_popularity": lists.n_popular,
        "popular": lists.popular(),  # for who is not in the table
    }
    order = in_order_of_ids(who.user_ids)
    commit = Commit(STAGE, key, NAME, -1, {}, summary)
    return _write(settings, dataset, commit, lambda: lists.batches(order))


def load(folder: AnyPath) -> Loaded:
    """The model in a folder. Raises ModelAmiss where it is gone or does not load."""
    return _sound(model_folder.load, folder)


def _sound(read: Callable[[AnyPath], _T], folder: AnyPath) -> _T:
    try:
        return read(folder)
    except Mrl4recError as error:
        raise ModelAmiss(error.what, where=error.where, todo=error.todo) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelAmiss(f"{type(error).__name__}: {error}", where=str(folder)) from error


def _key(settings: Settings, dataset: str, card: ModelCard, core: Commit, shape: Shape) -> str:
    made = shape.of(card)
    params: dict[str, Any] = {"n": made.n, "widths": list(made.widths)}
    if _device(settings) != "cpu":  # a GPU may order nearly equal scores otherwise
        params["device"] = _device(settings)
    inputs = {"model": card.stage_key, "core": core.key}
    ingest = known.source(settings, dataset, core)
    if ingest is not None:  # what the core leaves out is left out of the lists too
        inputs["ingest"] = ingest.key
    return stage_key(STAGE, CODE, inputs, params)


def _device(settings: Settings) -> str:
    return "cuda" if settings.device == "cuda" else "cpu"


def people(settings: Settings, dataset: str, ids: Ids) -> tuple[Commit, People] | None:
    """The newest good core whose first users and items are a model's, and who is in it.

    None where there is none: in a core of other parameters the numbers are of other people.
    """
    for core in versions.good(settings, dataset, "interactions"):
        sides = [_ids(settings, dataset, core, side) for side in ("user", "item")]
        if all(begins(side, mine) for side, mine in zip(sides, ids, strict=True)):
            pairs = _table(settings, dataset, core, "interactions", ["user_idx", "item_idx"])
            more = known.left_out(settings, dataset, core, *sides)
            users, items = (
                np.concatenate([pairs[name].to_numpy(), left])
                for name, left in zip(("user_idx", "item_idx"), more, strict=True)
            )
            return core, People(sides[0], sides[1], users, items)
    return None


def clear(settings: Settings, dataset: str, shape: Shape) -> Commit:
    """No champion, no recommendations: the table without rows, in one commit."""
    params = {"n": shape.n, "widths": list(shape.widths)}
    key = stage_key(STAGE, CODE, {"model": None}, params)
    summary = {"model": None, "n": shape.n, "widths": [], "asked_widths": list(shape.widths)}
    done = _done(settings, dataset, key)
    commit = Commit(STAGE, key, NAME, -1, {}, summary)
    return done or _write(settings, dataset, commit, lambda: iter(()))


def _done(settings: Settings, dataset: str, key: str) -> Commit | None:
    """The newest version, where it has this key; or the table brought back to one that has it."""
    now = state(settings, dataset)
    if now is not None and now.key == key:
        return replace(now, found=True)
    uri = settings.storage.table_uri(dataset, NAME)
    same = (old for old in stage.history(uri, NAME) if old.key == key and old.summary["model"])
    back = next((old for old in same if versions.complete(settings, dataset, old)), None)
    if back is None:
        return None
    delta, version = table_at(uri), back.version
    commits.once(uri, lambda told: delta.restore(version, commit_properties=told), back.metadata())
    log.info("recommendations are back at what they were in version %d", version)
    return replace(_committed(settings, dataset, key), found=True)


def _write(
    settings: Settings, dataset: str, commit: Commit, rows: Callable[[], Iterator[pa.RecordBatch]]
) -> Commit:
    failure: list[Exception] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from rows()
        except Exception as error:  # delta-rs would keep its words and lose its kind
            failure.append(error)
            raise

    # Of two that overwrite one version, both remove the same files: one of the commits fails.
    delta = versions.create(settings, dataset, NAME)

    def write(told: CommitProperties) -> None:
        write_deltalake(
            delta,
            pa.RecordBatchReader.from_batches(RECOMMENDATIONS.schema, watched()),
            mode="overwrite",
            schema_mode="overwrite",  # somebody may have changed the columns
            commit_properties=told,
            writer_properties=WriterProperties(max_row_group_size=ROW_GROUP),
        )

    try:
        commits.once(delta.table_uri, write, commit.metadata())
    except Exception as error:
        if failure:
            raise failure[0] from error
        if isinstance(error, DeltaError):
            raise Mrl4recError(
                f"recommendations could not be written: {error}",
                where=delta.table_uri,
                todo="run `mrl4rec registry` again; the version before is untouched",
            ) from error
        raise
    return _committed(settings, dataset, commit.key)


def _committed(settings: Settings, dataset: str, key: str) -> Commit:
    found = stage.find(settings.storage.table_uri(dataset, NAME), NAME, key)
    if found is None:
        raise Mrl4recError(
            "the commit just made is not in the table's history",
            where=settings.storage.table_uri(dataset, NAME),
        )
    return replace(found, found=False)


def begins(ids: pa.StringArray, mine: Any) -> bool:
    """Whether ids begin with a model's own."""
    return len(mine) <= len(ids) and bool(ids[: len(mine)].equals(pa.array(mine, pa.string())))


def _ids(settings: Settings, dataset: str, core: Commit, side: str) -> pa.StringArray:
    """External ids of one side, by their number."""
    names = [f"{side}_idx", f"{side}_id"]
    table = _table(settings, dataset, core, f"{side}s", names)
    place = table[names[0]].to_numpy()
    order = np.empty(len(place), dtype=np.int64)
    order[place] = np.arange(len(place))
    column = table[names[1]].combine_chunks()
    ids: pa.StringArray = column.cast(pa.string()).take(pa.array(order))
    return ids


def _table(
    settings: Settings, dataset: str, core: Commit, name: str, columns: list[str]
) -> pa.Table:
    uri = settings.storage.table_uri(dataset, name)
    return read_table(table_at(uri, core.table_version(name)), columns)
