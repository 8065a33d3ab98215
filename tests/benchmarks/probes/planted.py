"""Planted data of any size: a dump in JSON lines, or the tables that ingest would have written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from numpy.typing import NDArray

from mrl4rec.core import stage
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.data.synthetic import world
from mrl4rec.data.synthetic.dump import write
from mrl4rec.data.synthetic.spec import Planted
from mrl4rec.data.synthetic.world import ITEM_ID, USER_ID, World
from mrl4rec.tables import REVIEWS, SOURCES
from mrl4rec.tables.table import DELTA_PROPERTIES

ROWS_A_BATCH = 1 << 18
DIGEST = "b" * 64
TEXTS = ("Works well.", "It's fine, I'd buy it again.", "Too small", "Good value for money",
         "The \"best\" one I've had", "as described")  # fmt: skip
"""Texts of reviews, in turn."""


def dump(file: str, rows: int) -> dict[str, Any]:
    """A dump of so many lines, one in a hundred of them bad, two duplicates, one a repeat."""
    part = rows // 100
    spec = Planted(
        users=max(rows // 12, 600),
        items=max(rows // 60, 600),
        reviews=rows - 4 * part,
        repeats=part,
        duplicates=2 * part,
        bad=part,
        branching=(8, 8, 8),
    )
    truth = write(spec, Path(file))
    return {"counts": dict(truth.counts)}


def without_broken(dump: str, file: str) -> dict[str, Any]:
    """The dump without the lines that are no JSON, for a reader that stops at the first of them."""
    import json

    kept = 0
    part = Path(f"{file}.part")
    with Path(dump).open("rb") as lines, part.open("wb") as out:
        for line in lines:
            try:
                json.loads(line)
            except ValueError:
                continue
            out.write(line)
            kept += 1
    part.replace(file)
    return {"rows": kept}


def respelled(dump: str, file: str, syntax: str) -> dict[str, Any]:
    """The dump's records as ``csv`` (user, item, rating, time) or as ``loose`` Python literals, a
    third of which hold both kinds of quotes or one with a backslash; broken lines stay as they are.
    """
    import json

    part = Path(f"{file}.part")
    with Path(dump).open() as lines, part.open("w") as out:
        for n, line in enumerate(lines):
            try:
                record = json.loads(line)
            except ValueError:
                out.write(line)
                continue
            if syntax == "csv":
                cells = (record[k] for k in ("reviewerID", "asin", "overall", "unixReviewTime"))
                out.write(",".join(map(str, cells)) + "\n")
            else:
                said = TEXTS[n % len(TEXTS)]
                out.write(f"{record | {'reviewText': said}!r}\n")
    part.replace(file)
    return {"syntax": syntax}


def reviews(warehouse: str, dataset: str, rows: int) -> dict[str, Any]:
    """The tables ``reviews`` and ``sources`` of so many pairs; most users have only a few."""
    settings = Settings(warehouse=Path(warehouse))  # type: ignore[call-arg]
    shutil.rmtree(settings.storage.dataset_dir(dataset), ignore_errors=True)
    spec = Planted(
        users=max(rows // 6, 600), items=max(rows // 20, 600), reviews=rows, least=1,
        branching=(8, 8, 8),
    )  # fmt: skip
    made = world.build(spec)
    uri = settings.storage.table_uri(dataset, "reviews")
    stream = pa.RecordBatchReader.from_batches(REVIEWS.schema, _batches(spec, made))
    write_deltalake(uri, stream, configuration=DELTA_PROPERTIES)
    files = len(DeltaTable(uri).file_uris())
    _sources(settings, dataset, rows, DeltaTable(uri).version())
    return {"rows": rows, "files": files}


def _batches(spec: Planted, made: World) -> Iterator[pa.RecordBatch]:
    users = pa.array(world.external(spec, USER_ID, spec.users))
    items = pa.array(world.external(spec, ITEM_ID, spec.items))
    for begin in range(0, spec.reviews, ROWS_A_BATCH):
        place = np.arange(begin, min(begin + ROWS_A_BATCH, spec.reviews))
        user, item, rating, seconds = made.rows(place)
        yield pa.RecordBatch.from_arrays(
            [
                users.take(pa.array(user)),
                items.take(pa.array(item)),
                pa.array(rating.astype(np.float64)),
                _times(seconds),
                pa.array(np.full(len(place), DIGEST, dtype=object)),
                pa.array(place),
            ],
            schema=REVIEWS.schema,
        )


def _times(seconds: NDArray[np.int64]) -> pa.Array:
    return pa.array(seconds * 1_000_000).cast(REVIEWS.schema.field("reviewed_at").type)


def _sources(settings: Settings, dataset: str, rows: int, version: int) -> None:
    values: dict[str, list[Any]] = {name: [0] for name in SOURCES.schema.names}
    values |= {"source_sha256": [DIGEST], "path": ["planted"], "format": ["planted"]}
    values |= {"mapping": [None]}
    values |= {"rows_read": [rows], "rows_accepted": [rows]}
    key = stage.stage_key("ingest", 2, {"planted": rows}, {})
    commit = Commit("ingest", key, "sources", -1, {"reviews": version}, {"rows": rows})
    write_deltalake(
        settings.storage.table_uri(dataset, "sources"),
        pa.table(values, SOURCES.schema),
        commit_properties=stage.properties(commit.metadata()),
    )
