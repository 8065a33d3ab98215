"""A method that needs times or ratings on data without them is refused before any training."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from flows import needs
from flows.config.run import Cell, RunConfig
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.models import Method, item_pairs
from tests.flows import warehouse


class Rated(Method):
    """A method that nobody has: it needs ratings."""

    consumes: ClassVar[str] = "rated pairs"


def without(settings: Settings, table: str, column: str) -> int:
    """Overwrite a table with the column empty; its new version."""
    uri = settings.storage.table_uri(warehouse.DATASET, table)
    found = DeltaTable(uri).to_pyarrow_table()
    at = found.column_names.index(column)
    empty = pa.nulls(found.num_rows, found.schema.field(column).type)
    write_deltalake(uri, found.set_column(at, column, empty), mode="overwrite")
    return DeltaTable(uri).version()


@pytest.fixture
def stages(settings: Settings) -> warehouse.Stages:
    return warehouse.build(settings)


def test_times(settings: Settings, stages: warehouse.Stages) -> None:
    request = RunConfig(dataset=warehouse.DATASET, methods=("Pop", "RecentPop"))
    cells, left_out = needs.served(request, stages.ingest, stages.split, settings)
    assert (cells, left_out) == (list(request.cells), [])
    split = replace(stages.split, version=without(settings, "splits", "reviewed_at"))
    with pytest.raises(UsageError, match="RecentPop") as refused:
        needs.served(request, stages.ingest, split, settings)
    assert "splits" in str(refused.value)
    alone = RunConfig(dataset=warehouse.DATASET, methods=("Pop",))
    needs.served(alone, stages.ingest, split, settings)
    optional = RunConfig(
        dataset=warehouse.DATASET, methods=("Pop", "RecentPop"), optional="RecentPop"
    )
    cells, left_out = needs.served(optional, stages.ingest, split, settings)
    assert [cell.method.name for cell in cells] == ["Pop"]
    assert "RecentPop" in left_out[0]


def test_memory(
    settings: Settings, stages: warehouse.Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_pairs, "free_bytes", lambda: 0)
    request = RunConfig(dataset=warehouse.DATASET, methods=("Pop", "EASE"), optional="EASE")
    cells, left_out = needs.served(request, stages.ingest, stages.split, settings)
    assert [cell.method.name for cell in cells] == ["Pop"]
    assert "EASE" in left_out[0]


def test_users_that_are_not_trained_on(settings: Settings, stages: warehouse.Stages) -> None:
    split = replace(stages.split, summary={**stages.split.summary, "strategy": "by_user"})
    request = RunConfig(dataset=warehouse.DATASET, methods=("EASE", "BPR"))
    with pytest.raises(UsageError, match="BPR") as refused:
        needs.served(request, stages.ingest, split, settings)
    assert "EASE" not in str(refused.value)


def test_ratings(settings: Settings, stages: warehouse.Stages) -> None:
    cells = (Cell(Rated("Rated", "none"), None, None),)
    request: Any = SimpleNamespace(
        dataset=warehouse.DATASET, cells=cells, may_lack=lambda method: False
    )
    needs.served(request, stages.ingest, stages.split, settings)
    version = without(settings, "reviews", "rating")
    ingest: Commit = replace(stages.ingest, outputs={**stages.ingest.outputs, "reviews": version})
    with pytest.raises(UsageError, match="Rated"):
        needs.served(request, ingest, stages.split, settings)
