"""Methods that need more of the data than pairs: refused before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.config.run import RunConfig
from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.core.storage import dataset_of

with lazy.imports():
    import deltalake
    import pyarrow.compute as pc

    from mrl4rec import models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mrl4rec.core.settings import Settings
    from mrl4rec.core.stage import Commit
    from mrl4rec.formats.mapping import Mapping

WHERE = {"times": ("splits", "reviewed_at"), "ratings": ("reviews", "rating")}
"""Table and column in which each need shows."""


def check(request: RunConfig, ingest: Commit, split: Commit, settings: Settings) -> None:
    """Raise UsageError where a method of the request needs what these tables hold nowhere.

    The tables are looked at only where some method needs something.
    """
    _check_users(request, split)
    for need, (table, column) in WHERE.items():
        names = [cell.method.name for cell in request.cells if need == cell.method.needs]
        if not names:
            continue
        commit = split if table == split.table else ingest
        uri = settings.storage.table_uri(request.dataset, table)
        if not _has_any(uri, commit.table_version(table), column):
            raise _lacking(names, need, f"{request.dataset}, table {table}, column {column}")


def _check_users(request: RunConfig, split: Commit) -> None:
    """Raise UsageError where a method has no way to score for the users that the split judges."""
    if split.summary.get("strategy") != "by_user":
        return
    names = [cell.method.name for cell in request.cells if not cell.method.folds_in]
    if names:
        raise UsageError(
            f"{' and '.join(dict.fromkeys(names))} learns a vector of each user, and the split "
            "by_user judges users that are not trained on",
            where="--split by_user",
            todo="leave it out of --methods, or use --split last_out",
        )


def check_mappings(request: RunConfig, mappings: Sequence[Mapping]) -> None:
    """The same for a data set of which nothing was taken in yet, by how its files would be read."""
    for need, column in (("times", "time"), ("ratings", "rating"), ("order", "time")):
        names = [cell.method.name for cell in request.cells if need == cell.method.needs]
        if need == "order" and any(mapping.syntax == "sessions" for mapping in mappings):
            continue
        if names and not any(getattr(mapping, column) for mapping in mappings):
            raise _lacking(names, need, ", ".join(request.source))


def _lacking(names: Sequence[str], need: str, where: str) -> UsageError:
    return UsageError(
        f"{' and '.join(dict.fromkeys(names))} needs {models.NEEDS[need]}, and there are none",
        where=where,
        todo="leave it out of --methods, or bring a dump that has them",
    )


def _has_any(uri: str, version: int, column: str) -> bool:
    rows = dataset_of(deltalake.DeltaTable(uri, version)).filter(pc.field(column).is_valid())
    return bool(rows.head(1, columns=[column]).num_rows)
