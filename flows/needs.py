"""Methods that need more than the data have: refused, or left out, before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.config.run import RunConfig
from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.core.storage import dataset_of, table_at

with lazy.imports():
    import pyarrow.compute as pc

    from mrl4rec import models
    from mrl4rec.models import item_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flows.config.run import Cell
    from mrl4rec.core.settings import Settings
    from mrl4rec.core.stage import Commit
    from mrl4rec.formats.mapping import Mapping
    from mrl4rec.models import Method

    Lack = tuple[UsageError, list[Method]]

WHERE = {"times": ("splits", "reviewed_at"), "ratings": ("reviews", "rating")}
"""Table and column in which each need shows."""


def served(
    request: RunConfig, ingest: Commit, split: Commit, settings: Settings
) -> tuple[list[Cell], list[str]]:
    """The cells of the request that these tables can serve, and why others are left out.

    Raises UsageError where a method that may not be left out needs what they hold nowhere. The
    tables are looked at only where some method needs something.
    """
    refused: dict[str, str] = {}
    for error, methods in _lacks(request, ingest, split, settings):
        if any(not request.may_lack(method) for method in methods):
            raise error
        refused |= {method.name: error.what for method in methods}
    cells = [cell for cell in request.cells if cell.method.name not in refused]
    if not cells:
        raise UsageError("the data can serve no method of this run", where=request.dataset)
    return cells, [f"left out: {what}" for what in dict.fromkeys(refused.values())]


def _lacks(request: RunConfig, ingest: Commit, split: Commit, settings: Settings) -> Iterator[Lack]:
    """Methods that cannot be served, by what they need; those that may not be left out first."""
    methods = {cell.method.name: cell.method for cell in request.cells}.values()
    for may_lack in (False, True):
        some = [method for method in methods if request.may_lack(method) is may_lack]
        yield from _lacks_users(some, split)
        for need, (table, column) in WHERE.items():
            of_it = [method for method in some if method.needs == need]
            if not of_it:
                continue
            commit = split if table == split.table else ingest
            uri = settings.storage.table_uri(request.dataset, table)
            if not _has_any(uri, commit.table_version(table), column):
                where = f"{request.dataset}, table {table}, column {column}"
                yield _lacking(_names(of_it), need, where), of_it
    optional = [method for method in methods if request.may_lack(method)]
    uri = settings.storage.table_uri(request.dataset, "items")
    yield from _lacks_memory(optional, uri, split.table_version("items"))


def _lacks_users(methods: Sequence[Method], split: Commit) -> Iterator[Lack]:
    """Those that have no way to score for the users that the split judges."""
    if split.summary.get("strategy") != "by_user":
        return
    of_it = [method for method in methods if not method.folds_in]
    if of_it:
        yield (
            UsageError(
                f"{_names(of_it)} learns a vector of each user, and the split by_user judges users "
                "that are not trained on",
                where="--split by_user",
                todo="leave it out of --methods, or use --split last_out",
            ),
            of_it,
        )


def _lacks_memory(methods: Sequence[Method], uri: str, version: int) -> Iterator[Lack]:
    """Those that would not fit into the memory that is free, with the items of this table."""
    n_items = table_at(uri, version).count() if methods else 0
    for method in methods:
        needed = method.needed_bytes(n_items)
        if needed and needed > (free := item_pairs.free_bytes()):
            yield (
                UsageError(
                    f"{method.name} on {n_items:,} items needs {needed / 2**30:.1f} GiB of memory, "
                    f"{free / 2**30:.1f} are free"
                ),
                [method],
            )


def check_mappings(request: RunConfig, mappings: Sequence[Mapping]) -> None:
    """The same for a data set of which nothing was taken in yet, by how its files would be read."""
    for need, column in (("times", "time"), ("ratings", "rating"), ("order", "time")):
        methods = {cell.method.name: cell.method for cell in request.cells}.values()
        of_it = [m for m in methods if m.needs == need and not request.may_lack(m)]
        if need == "order" and any(mapping.syntax == "sessions" for mapping in mappings):
            continue
        if of_it and not any(getattr(mapping, column) for mapping in mappings):
            raise _lacking(_names(of_it), need, ", ".join(request.source))


def _names(methods: Sequence[Method]) -> str:
    return " and ".join(method.name for method in methods)


def _lacking(names: str, need: str, where: str) -> UsageError:
    return UsageError(
        f"{names} needs {models.NEEDS[need]}, and there are none",
        where=where,
        todo="leave it out of --methods, or bring a dump that has them",
    )


def _has_any(uri: str, version: int, column: str) -> bool:
    rows = dataset_of(table_at(uri, version)).filter(pc.field(column).is_valid())
    return bool(rows.head(1, columns=[column]).num_rows)
