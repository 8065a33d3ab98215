"""Dumps as rows in a warehouse that no JVM wrote, and a champion that knows their tastes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from mrl4rec.core import stage
from mrl4rec.core.hashing import chain
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.core.storage import open_table
from mrl4rec.kernels.csr import csr
from mrl4rec.models.model_folder import Ids, Loaded
from mrl4rec.models.scorers import FactorModel
from mrl4rec.tables import TABLES
from tests.mrl4rec.models.model_samples import card

DATASET = "d"
START = datetime(2014, 1, 1, tzinfo=UTC)
THIRDS = 3

Row = tuple[str, str, float | None, datetime | None]
"""user_id, item_id, rating, reviewed_at"""


@dataclass(frozen=True)
class World:
    """Users and items in three groups; everybody mostly takes what is in the own group."""

    users: int = 240
    items: int = 120
    a_day: int = 120

    def rows(self, first_day: int, days: int) -> list[Row]:
        """The reviews of some days: spread over users and items, 9 of 10 in the own group."""
        return [self._row(first_day * self.a_day + n) for n in range(days * self.a_day)]

    def _row(self, n: int) -> Row:
        word = chain(11, n)
        user = word % self.users
        group = user % THIRDS if word // 1000 % 10 else (word >> 24) % THIRDS
        skew = ((word >> 32) % 1000 / 1000) ** 2  # the first items of a group are taken more often
        item = group + THIRDS * int(skew * (self.items // THIRDS))
        at = START + timedelta(days=n / self.a_day)
        return f"u{user}", f"i{item}", float(1 + (word >> 44) % 5), at

    def champion(self, rows: Sequence[Row]) -> Loaded:
        """A model that knows the groups, as trained on these rows."""
        user_ids = np.array([f"u{n}" for n in range(self.users)], dtype=object)
        item_ids = np.array([f"i{n}" for n in range(self.items)], dtype=object)
        pairs = sorted({(int(row[0][1:]), int(row[1][1:])) for row in rows})
        users, items = np.array(pairs).T
        seen = csr(users, items, self.users, self.items)
        groups = np.eye(THIRDS, dtype=np.float32)
        model = FactorModel(
            groups[np.arange(self.users) % THIRDS], groups[np.arange(self.items) % THIRDS]
        )
        return Loaded(model, card(), Ids(user_ids, item_ids), seen, seen)


def take_in(
    settings: Settings, rows: Sequence[Row], digest: str, quarantined: int = 0, duplicate: int = 0
) -> Commit:
    """What an ingest of one file leaves: rows of reviews, then the marker."""
    n = len(rows)
    columns = dict(
        zip(("user_id", "item_id", "rating", "reviewed_at"), zip(*rows, strict=True), strict=True)
    )
    reviews = {**columns, "source_sha256": [digest] * n, "record_no": list(range(n))}
    outputs = {"reviews": _append(settings, "reviews", reviews)}
    outputs["quarantine"] = _append(settings, "quarantine", {})
    counts = {"rows_read": n + quarantined + duplicate, "rows_accepted": n,
              "rows_duplicate": duplicate, "rows_quarantined": quarantined}  # fmt: skip
    delta = open_table(settings.storage.table_uri(DATASET, "sources"))
    number = delta.count() if delta else 0
    commit = Commit("ingest", f"key of {digest}", "sources", -1, outputs, {"total": counts})
    row = {"source_sha256": [digest], "source_no": [number], "path": [f"{digest}.csv"],
           "bytes": [n], "format": ["ratings"], "mapping": [None],
           **{k: [v] for k, v in counts.items()}}  # fmt: skip
    version = _append(settings, "sources", row, commit.metadata())
    return Commit(**{**vars(commit), "version": version})


def _append(
    settings: Settings, table: str, columns: dict[str, object], metadata: str | None = None
) -> int:
    uri, schema = settings.storage.table_uri(DATASET, table), TABLES[table].schema
    data = pa.table(columns, schema=schema) if columns else schema.empty_table()
    write_deltalake(
        uri, data, mode="append",
        commit_properties=stage.properties(metadata) if metadata else None,
    )  # fmt: skip
    return DeltaTable(uri).version()
