"""The numbers of the hierarchy in their table: measured once for a model, read by the report."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import open_table, read_table
from mrl4rec.data.synthetic.truth import Truth, read_truth
from mrl4rec.evaluation.hierarchy.measure import measure, planted_groups
from mrl4rec.models import model_folder
from mrl4rec.tables import HIERARCHY
from mrl4rec.tables.store import commit_rows


def measured(
    settings: Settings, dataset: str, model: str, *, rotated: bool
) -> list[dict[str, Any]]:
    """The rows of one model, measured and kept where they are not there yet."""
    known = _of_model(settings, dataset, model, rotated)
    if known:
        return known
    loaded = model_folder.load(settings.storage.model_dir(dataset, model))
    truth = truth_of(settings, dataset)
    groups = planted_groups(loaded, truth) if truth else None
    card = loaded.card
    said = {
        "model": model,
        "method": card.method_name,
        "levels": ",".join(map(str, card.levels)) if card.levels else None,
        "seed": card.seed,
        "rotated": rotated,
    }
    rows = [{**said, **asdict(row)} for row in measure(loaded, groups, rotated=rotated)]
    table = pa.Table.from_pylist(rows, schema=HIERARCHY.schema)
    commit_rows(settings.storage.table_uri(dataset, HIERARCHY.name), HIERARCHY, table)
    return _of_model(settings, dataset, model, rotated)


def _of_model(settings: Settings, dataset: str, model: str, rotated: bool) -> list[dict[str, Any]]:
    rows = rows_of(settings, dataset)
    return [row for row in rows if (row["model"], row["rotated"]) == (model, rotated)]


def rows_of(settings: Settings, dataset: str) -> list[dict[str, Any]]:
    """All rows of a data set, in a fixed order."""
    delta = open_table(settings.storage.table_uri(dataset, HIERARCHY.name))
    rows = read_table(delta).to_pylist() if delta else []
    return sorted(rows, key=lambda row: tuple(str(row[name]) for name in HIERARCHY.key))


def truth_of(settings: Settings, dataset: str) -> Truth | None:
    """What was planted in the dump of a data set; None for one that was not planted."""
    delta = open_table(settings.storage.table_uri(dataset, "sources"))
    paths = read_table(delta, ["path"])["path"].to_pylist() if delta else []
    for path in paths:
        try:
            return read_truth(Path(path))
        except Mrl4recError:
            continue
    return None
