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
from mrl4rec.models import Method
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
    needs.check(request, stages.ingest, stages.split, settings)
    split = replace(stages.split, version=without(settings, "splits", "reviewed_at"))
    with pytest.raises(UsageError, match="RecentPop") as refused:
        needs.check(request, stages.ingest, split, settings)
    assert "splits" in str(refused.value)
    needs.check(
        RunConfig(dataset=warehouse.DATASET, methods=("Pop",)), stages.ingest, split, settings
    )


def test_ratings(settings: Settings, stages: warehouse.Stages) -> None:
    cells = (Cell(Rated("Rated", "none"), None, None),)
    request: Any = SimpleNamespace(dataset=warehouse.DATASET, cells=cells)
    needs.check(request, stages.ingest, stages.split, settings)
    version = without(settings, "reviews", "rating")
    ingest: Commit = replace(stages.ingest, outputs={**stages.ingest.outputs, "reviews": version})
    with pytest.raises(UsageError, match="Rated"):
        needs.check(request, ingest, stages.split, settings)
