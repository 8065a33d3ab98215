"""One simulation of weekly dumps: its options."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from flows.config.base import Cli, Config
from mrl4rec.core.choices import DataEngine
from mrl4rec.core.storage import folder_name


class SimulateConfig(Config):
    """A planted world, its weeks and the poisoned one. Raises UsageError where they do not fit."""

    dataset: str = Field("planted", description="folder in the warehouse")
    weeks: int = Field(12, ge=1, description="weeks after the history, which is the first dump")
    poisoned_week: Annotated[int, Cli("N")] = Field(7, ge=0, description="0: none is")
    poison: Literal["shuffled", "flood"] = Field(
        "shuffled",
        description="shuffled: item ids permuted among the rows; flood: one item takes 40% of them",
    )
    seed: int = Field(0, description="of the planted world")
    data_engine: DataEngine | None = Field(
        None,
        description="what runs ingest, k-core and split; unset: MRL4REC_DATA_ENGINE, else auto",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        folder_name(self.dataset, "--dataset")
        return self
