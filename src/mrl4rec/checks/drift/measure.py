"""Measuring a dump: its new rows and the stretch before them, read by delta-rs in SQL, no JVM.

DataFusion (inside delta-rs) compares two versions of `reviews` in native code; what comes into
Python are the dump's own new rows, as many before them, and the different ids of the history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from mrl4rec.checks.drift.change import Change, compare
from mrl4rec.checks.drift.portrait import Portrait, portray
from mrl4rec.checks.drift.taste import Taste, taste
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.models.model_folder import Loaded
from mrl4rec.tables import REVIEWS

COLUMNS = "user_id, item_id, rating, reviewed_at"
SAME = (
    "n.user_id = o.user_id AND n.item_id = o.item_id AND n.reviewed_at IS NOT DISTINCT FROM "
    "o.reviewed_at"
)
NO_RELATION = 0.5
"""The AUC of a champion that a dump has nothing to do with."""
NEUTRAL_AUC = 1.0
"""The fact of an AUC that nobody could measure: within any limit."""


@dataclass(frozen=True)
class Drift:
    """One ingest: what it brought, beside what was there before."""

    ingest: Commit
    sources: Sequence[Mapping[str, Any]]
    """The rows of `sources` that are new with it."""
    dump: Portrait
    before: Portrait = field(default_factory=Portrait)
    """As many rows, the newest of what was there; empty for a first load."""
    change: Change = field(default_factory=Change)
    taste: Taste | None = None
    auc_before: float | None = None
    """What the champion of then reached on the last dump that was let in; None: not known."""
    judged: bool = False
    """Whether there is enough to judge: a first load is not, nor is a handful of rows."""

    def counts(self, name: str) -> int:
        """The sum of one count of the new sources, such as ``rows_read``."""
        return sum(int(row[name]) for row in self.sources)

    def facts(self) -> dict[str, float]:
        """What the gate judges, by name."""
        upper = self.taste.upper if self.taste else NEUTRAL_AUC
        return {**vars(self.change), "auc_upper": upper, "taste_lost": self._lost(upper)}

    def _lost(self, auc: float) -> float:
        """The share that the AUC has lost of what it was above no relation; 0: not known."""
        if self.taste is None or self.auc_before is None or self.auc_before <= NO_RELATION:
            return 0.0
        return 1 - (auc - NO_RELATION) / (self.auc_before - NO_RELATION)


def measure(
    settings: Settings,
    dataset: str,
    ingest: Commit,
    base: Commit | None,
    champion: Loaded | None = None,
) -> Drift:
    """The drift of what ``ingest`` added to the reviews of ``base`` (None: there was nothing).

    Raises Mrl4recError where a version of the tables cannot be read.
    """
    sources = _new_sources(settings, dataset, ingest, base)
    asker = _Asker(settings, dataset, ingest, base)
    rows = asker.new_rows([row["source_sha256"] for row in sources])
    if base is None or not rows.num_rows:
        return Drift(ingest, sources, portray(rows))
    since = asker.stretch_begins(rows.num_rows)
    stretch, older = asker.stretch(since), asker.ids_before(since)
    known = tuple(
        pa.chunked_array([ids, *stretch[name].chunks]).unique()
        for ids, name in zip(older, ("user_id", "item_id"), strict=True)
    )
    dump, before = portray(rows, (known[0], known[1])), portray(stretch, older)
    return Drift(
        ingest,
        sources,
        dump,
        before,
        compare(dump, before),
        taste(rows, champion) if champion is not None else None,
        judged=dump.rows >= settings.drift_min_rows,
    )


def _new_sources(
    settings: Settings, dataset: str, ingest: Commit, base: Commit | None
) -> list[dict[str, Any]]:
    uri = settings.storage.table_uri(dataset, ingest.table)
    old = set()
    if base is not None:
        table = read_table(_open(uri, base.version), ["source_sha256"])
        old = set(table.column(0).to_pylist())
    rows = read_table(_open(uri, ingest.version)).to_pylist()
    fresh = [row for row in rows if row["source_sha256"] not in old]
    return sorted(fresh, key=lambda row: row["source_no"])


class _Asker:
    """Questions about two versions of `reviews`: ``new`` and, where there is one, ``old``."""

    def __init__(
        self, settings: Settings, dataset: str, ingest: Commit, base: Commit | None
    ) -> None:
        uri = settings.storage.table_uri(dataset, "reviews")
        self.builder = QueryBuilder().register("new", _open(uri, ingest.table_version("reviews")))
        self.has_old = base is not None
        if base is not None:
            self.builder.register("old", _open(uri, base.table_version("reviews")))

    def __call__(self, sql: str) -> pa.Table:
        """The answer, with ids as the table declares them: DataFusion gives views of strings."""
        found = pa.table(self.builder.execute(sql).read_all())
        types = REVIEWS.schema
        return found.cast(
            pa.schema([types.field(f.name) if f.name in types.names else f for f in found.schema])
        )

    def new_rows(self, sources: Sequence[str]) -> pa.Table:
        """Rows of these sources whose key was not there before.

        A row that only gave its rating to an older one with its key belongs to a new source too,
        and is not new.
        """
        if not sources:
            return self(f"SELECT {COLUMNS} FROM new WHERE false")
        named = ", ".join(f"'{digest}'" for digest in sources)  # hexadecimal digits
        anti = f" LEFT ANTI JOIN old AS o ON {SAME}" if self.has_old else ""
        columns = ", ".join(f"n.{name}" for name in COLUMNS.split(", "))
        return self(f"SELECT {columns} FROM new AS n{anti} WHERE n.source_sha256 IN ({named})")

    def stretch_begins(self, rows: int) -> str | None:
        """The time from which on so many old rows are; None: all of them are wanted."""
        found = self(
            f"SELECT min(reviewed_at) AS since, count(*) AS n FROM (SELECT reviewed_at FROM old "
            f"WHERE reviewed_at IS NOT NULL ORDER BY reviewed_at DESC LIMIT {rows}) AS newest"
        ).to_pylist()[0]
        return found["since"].isoformat() if found["n"] == rows else None

    def stretch(self, since: str | None) -> pa.Table:
        return self(f"SELECT {COLUMNS} FROM old" + (f" WHERE {_from(since)}" if since else ""))

    def ids_before(self, since: str | None) -> tuple[pa.Array, pa.Array]:
        """Different users and items of the old rows that are before the stretch."""
        if since is None:
            return pa.array([], pa.string()), pa.array([], pa.string())
        users, items = (
            self(f"SELECT DISTINCT {name} FROM old WHERE NOT coalesce({_from(since)}, false)")[name]
            for name in ("user_id", "item_id")
        )
        return users.combine_chunks(), items.combine_chunks()


def _from(since: str) -> str:
    return f"reviewed_at >= timestamp '{since}'"


def _open(uri: str, version: int) -> DeltaTable:
    delta = open_table(uri, version)
    if delta is None:
        raise Mrl4recError("the table does not exist", where=uri, todo="ingest a dump first")
    return delta
